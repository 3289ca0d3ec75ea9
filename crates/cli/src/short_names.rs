//! The choice between the meanings of a short name, which the user makes on a terminal.

use std::io::{self, IsTerminal as _};

use vmroot::config_files::is_short;
use vmroot::{Cancel, Client, ImageName, Reference, is_id};

use crate::exit::Advised;
use crate::{output, prompt};

/// A name that is not ambiguous.
pub(crate) struct ChosenName {
    /// The name for the library.
    pub(crate) name: String,
    /// The short name, and the repository that the user chose for it.
    choice: Option<(String, Reference)>,
}

impl ChosenName {
    /// Asks the user for the meaning of a short name that has several, if there is a terminal.
    pub(crate) fn ask(client: &Client, name: &str, cancel: &Cancel) -> anyhow::Result<Self> {
        let unchanged = || Self { name: name.to_owned(), choice: None };
        let may_ask = io::stdin().is_terminal() && io::stdout().is_terminal();
        if !may_ask || !is_short(name) || is_id(name) || ImageName::has_transport(name) {
            return Ok(unchanged());
        }
        let Some(configuration) = client.configuration() else { return Ok(unchanged()) };
        let resolved = configuration.resolve_name(name).map_err(vmroot::Error::from)?;
        if !resolved.should_choose {
            return Ok(unchanged());
        }
        let chosen = choose(&resolved.candidates, cancel)?;
        let repository = Reference::parse(&chosen.name()).map_err(vmroot::Error::from)?;
        let short = name.split([':', '@']).next().unwrap_or(name).to_owned();
        Ok(Self { name: chosen.to_string(), choice: Some((short, repository)) })
    }

    /// Records the user's choice, after the image was pulled. A failure is only a note, because the image is there.
    pub(crate) fn record(&self, client: &Client) {
        let Some((short, repository)) = &self.choice else { return };
        let Some(aliases) = client.configuration().and_then(|configuration| configuration.aliases()) else { return };
        if let Err(error) = aliases.record(short, repository) {
            output::print_note(&format!("the choice for {short:?} is not recorded: {}", vmroot::with_causes(&error)));
        }
    }
}

/// Asks for one of several references.
fn choose<'a>(candidates: &'a [Reference], cancel: &Cancel) -> anyhow::Result<&'a Reference> {
    let numbered = candidates.iter().enumerate().map(|(number, candidate)| format!("{}) {candidate}\n", number + 1));
    let mut question = numbered.collect::<String>();
    loop {
        question += &format!("Select an image [1-{}]: ", candidates.len());
        let Some(line) = prompt::ask(&question, cancel)? else {
            let hint = "give the name with its registry, as in docker.io/library/alpine";
            return Err(Advised::new("no image was selected", hint).into());
        };
        question.clear();
        let number: Option<usize> = line.trim().parse().ok();
        if let Some(candidate) = number.and_then(|number| candidates.get(number.checked_sub(1)?)) {
            return Ok(candidate);
        }
    }
}
