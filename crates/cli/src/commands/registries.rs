//! `registries explain`.

use vmroot::{Cancel, ImageName};

use super::repository::refuse_registry;
use crate::args::RegistriesCommand;
use crate::context::Context;
use crate::exit::Advised;
use crate::output;
use crate::registry_access::RegistryAccess;

/// Runs a command on the configuration of registries.
pub(crate) fn registries(context: &Context, command: RegistriesCommand) -> anyhow::Result<()> {
    match command {
        RegistriesCommand::Explain { reference } => explain(context, &reference),
    }
}

/// Prints the settings that the configuration has for a reference.
fn explain(context: &Context, name: &str) -> anyhow::Result<()> {
    refuse_registry(name)?;
    let arguments = context.registry_arguments();
    let access = RegistryAccess::of(arguments);
    access.check_files()?;
    let configuration = access.configuration(arguments);
    let cancel: Cancel = context.cancel();
    let explanation = match ImageName::has_transport(name).then(|| ImageName::parse(name)).transpose() {
        Ok(Some(ImageName::Docker(reference))) => {
            let reference = match (reference.tag(), reference.digest()) {
                (None, None) => reference.with_tag("latest").map_err(vmroot::Error::from)?,
                _ => reference,
            };
            configuration.explain_reference(&reference, &cancel)
        }
        // An image without a tag, which can be written only.
        Ok(Some(ImageName::Untagged(reference))) => configuration.explain_reference(&reference, &cancel),
        // Other transports reach no registry.
        Ok(Some(_)) => {
            let message = format!("{name}: only images of registries have a configuration of registries");
            return Err(Advised::usage(message, "name an image as NAME, or docker://NAME").into());
        }
        Ok(None) => configuration.explain(name, &cancel),
        Err(error) => return Err(vmroot::Error::from(error).into()),
    };
    let mut explanation = explanation.map_err(vmroot::Error::from)?;
    if let Some(credential) = access.explained_credential()? {
        explanation.credential = credential;
    }
    if context.json() {
        let json = serde_json::to_string_pretty(&explanation).expect("an explanation has string keys only");
        return Ok(output::print_json_text(&json)?);
    }
    Ok(output::print_text(format!("{explanation}\n").as_bytes())?)
}
