//! Errors of the command line that clap detects, in the program's own words.

use std::ffi::OsString;
use std::io::Write as _;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind as ClapErrorKind};
use vmroot::ErrorKind;

use crate::failure::Failure;
use crate::similar::similar;
use crate::{failure, output};

/// The exit code of errors of usage.
const EXIT_CODE: u8 = 2;

/// The number of similar words that a hint lists.
const MAX_SIMILAR: usize = 3;

/// Words of docker, podman, skopeo and other tools that are no commands here, and hints for them.
const OTHER_TOOLS: [(&[&str], &str); 21] = [
    (&["catalog"], "`vmroot repos REGISTRY` lists the repositories of a registry"),
    (&["auth"], "`vmroot login REGISTRY` stores a user and password"),
    (&["mutate", "config-change"], "`vmroot commit IMAGE --change 'ENV A=b'` changes the config of an image"),
    (&["run", "create", "start", "shell"], "`vmroot boot IMAGE --kernel FILE` runs an image in a guest"),
    (&["exec"], "`vmroot boot IMAGE --kernel FILE -- COMMAND` runs a command of an image in a guest"),
    (&["stop", "kill", "attach", "logs", "wait"], "Ctrl-C or the end of its command ends a guest of `vmroot boot`"),
    (&["ps", "top", "container"], "vmroot has no containers; `vmroot mounts` lists the mounts of images"),
    (&["rmi", "remove", "uninstall"], "`vmroot rm IMAGE` removes images"),
    (&["image", "list"], "`vmroot images` lists images; other verbs on images are commands too, such as `vmroot rm`"),
    (&["push", "upload"], "`vmroot copy vmroot:IMAGE docker://NAME` copies an image of the cache to a registry"),
    (&["fetch", "download", "install", "get"], "`vmroot pull IMAGE` fetches an image"),
    (&["build", "bud"], "`vmroot commit` adds a layer or changes of the config to an image"),
    (&["search"], "`vmroot repos REGISTRY` and `vmroot tags REPOSITORY` list what a registry has"),
    (&["version"], "`vmroot --version` prints the version"),
    (&["info", "system"], "`vmroot df` prints the space of the cache, `vmroot registries explain` the configuration"),
    (
        &["prune", "clean", "cleanup", "clear"],
        "`vmroot gc` frees space; `vmroot gc --unused` also removes unused images",
    ),
    (
        &["import", "unpack", "extract", "convert"],
        "`vmroot export IMAGE OUT` writes a root; `vmroot pull tarball:FILE` reads one",
    ),
    (&["unmount"], "`vmroot umount DIR` unmounts an image"),
    (&["manifest"], "`vmroot inspect --raw IMAGE` prints a manifest, `vmroot manifest-digest FILE` its digest"),
    (&["show", "describe"], "`vmroot inspect IMAGE` describes an image"),
    (&["check", "fsck", "repair", "validate"], "`vmroot verify` checks the cache; --repair repairs it"),
];

/// Options of other tools by command, and hints for them.
const HABITS: [(&str, &[&str], &str); 8] = [
    ("export", &["-o", "--output"], "the output is the second argument: `vmroot export IMAGE OUT`"),
    ("pull", &["-a", "--all-tags"], "`vmroot tags REPOSITORY` lists the tags, and `vmroot sync` copies all of them"),
    ("rm", &["-a", "--all"], "`vmroot gc --unused` removes all images that nothing uses"),
    ("gc", &["-a", "--all"], "`vmroot gc --unused` removes all images that nothing uses"),
    ("cp", &["-r", "-R", "--recursive"], "cp copies a directory with its contents"),
    ("mount", &["-o", "--options"], "a mount is read-only; --upper DIR makes it writable"),
    ("mount", &["-r", "--read-only"], "a mount is read-only, unless --upper is given"),
    ("images", &["-a", "--all"], "all images are listed"),
];

/// Prints an error of clap, or the help or the version, and ends the process.
pub(crate) fn exit(error: &clap::Error, root: Command, words: &[OsString]) -> ! {
    use ClapErrorKind::{DisplayHelp, DisplayVersion};
    if matches!(error.kind(), DisplayHelp | DisplayVersion) {
        let printed = error.print().and_then(|()| std::io::stdout().flush());
        // A reader that has seen enough closes the pipe.
        if let Err(error) = printed
            && error.kind() != std::io::ErrorKind::BrokenPipe
        {
            output::print_error(&format!("cannot write standard output: {error}"));
            std::process::exit(1);
        }
        std::process::exit(0);
    }
    let failure = of_clap(error, root.clone(), words);
    if matches!(error.kind(), ClapErrorKind::MissingSubcommand) && !failure::is_json() {
        let mut command = root;
        command.build();
        let command = named_command(&command, words, "").clone();
        output::print_help_on_stderr(&command.clone().render_help().to_string());
    }
    failure.print();
    std::process::exit(failure.exit_code.into())
}

/// Returns the failure for an error of clap. `words` is the command line.
fn of_clap(error: &clap::Error, mut root: Command, words: &[OsString]) -> Failure {
    root.build();
    let unknown = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) if error.kind() == ClapErrorKind::InvalidSubcommand => word,
        _ => "",
    };
    let command = named_command(&root, words, unknown);
    let error = ClapError { error, command, words };
    let name = command.get_bin_name().unwrap_or("vmroot").to_owned();
    let mut failure = Failure::new(ErrorKind::Usage, error.message(), EXIT_CODE);
    failure.option = error.option();
    if error.is_about_the_number() {
        failure.usage = Some(usage(command));
    }
    failure.hint = Some(error.hint().unwrap_or_else(|| match error.error.kind() {
        ClapErrorKind::InvalidSubcommand
        | ClapErrorKind::MissingSubcommand
        | ClapErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            format!("`{name} --help` lists the commands")
        }
        _ => format!("`{name} --help` describes the arguments"),
    }));
    failure
}

/// Returns the usage of a command. clap's own depends on the arguments and the environment.
fn usage(command: &Command) -> String {
    let text = command.clone().render_usage().to_string();
    let lines = text.strip_prefix("Usage:").unwrap_or(&text).lines().map(str::trim);
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the command that the words before `unknown` name: `vmroot`, `vmroot lease` or `vmroot lease create`.
fn named_command<'a>(root: &'a Command, words: &[OsString], unknown: &str) -> &'a Command {
    let words = words.iter().skip(1).take_while(|word| *word != "--" && *word != unknown);
    words.fold(root, |command, word| word.to_str().and_then(|word| command.find_subcommand(word)).unwrap_or(command))
}

/// Returns the reason for which a text is not an accepted number, in place of that of the standard library or clap.
fn reason_of_number(reason: &str) -> Option<String> {
    if let Some((_, range)) = reason.split_once(" is not in ") {
        let (least, most) = range.split_once("..")?;
        return Some(match most.strip_prefix('=').unwrap_or(most) {
            "" => format!("expected {least} or more"),
            most => format!("expected {least} to {most}"),
        });
    }
    match reason {
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            Some("expected a number".to_owned())
        }
        "number too large to fit in target type" => Some("the number is too large".to_owned()),
        _ => None,
    }
}

struct ClapError<'a> {
    error: &'a clap::Error,
    command: &'a Command,
    /// The command line.
    words: &'a [OsString],
}

impl ClapError<'_> {
    fn texts(&self, kind: ContextKind) -> Vec<String> {
        match self.error.get(kind) {
            Some(ContextValue::String(text)) => vec![text.clone()],
            Some(ContextValue::Strings(texts)) => texts.clone(),
            Some(ContextValue::StyledStr(text)) => vec![text.to_string()],
            Some(ContextValue::StyledStrs(texts)) => texts.iter().map(ToString::to_string).collect(),
            Some(ContextValue::Number(number)) => vec![number.to_string()],
            _ => Vec::new(),
        }
    }

    fn text(&self, kind: ContextKind) -> String {
        self.texts(kind).join(", ")
    }

    /// Returns what is wrong, on one line.
    fn message(&self) -> String {
        let arguments: Vec<String> =
            self.texts(ContextKind::InvalidArg).iter().map(|text| text.trim_end_matches("...").to_owned()).collect();
        let argument = arguments.join(" and ");
        let value = self.text(ContextKind::InvalidValue);
        match self.error.kind() {
            ClapErrorKind::InvalidSubcommand => {
                format!("unknown command `{}`", self.text(ContextKind::InvalidSubcommand))
            }
            ClapErrorKind::MissingSubcommand | ClapErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                "the command is missing".to_owned()
            }
            // An error of this program's own checks.
            _ if self.error.context().next().is_none() => self.own_text(),
            ClapErrorKind::UnknownArgument if argument.starts_with('-') => format!("unknown option {argument}"),
            ClapErrorKind::UnknownArgument => format!("unexpected argument `{argument}`"),
            // With --from-upper, the only argument is OUT.
            ClapErrorKind::MissingRequiredArgument if argument.contains("IMAGE") && self.has_word("--from-upper") => {
                "<OUT> is missing".to_owned()
            }
            ClapErrorKind::MissingRequiredArgument => match self.texts(ContextKind::InvalidArg).len() {
                1 => format!("{argument} is missing"),
                _ => format!("{argument} are missing"),
            },
            ClapErrorKind::InvalidValue if value.is_empty() => format!("{argument} needs a value"),
            ClapErrorKind::InvalidValue => format!("{argument}{}: invalid value `{value}`", self.variable()),
            ClapErrorKind::ValueValidation => {
                let reason = std::error::Error::source(self.error).map(ToString::to_string).unwrap_or_default();
                let reason = reason_of_number(&reason).unwrap_or(reason);
                let of = self.variable();
                match reason.contains(&value) {
                    true => format!("{argument}{of}: {reason}"),
                    false => format!("{argument}{of}: invalid value `{value}`: {reason}"),
                }
            }
            ClapErrorKind::ArgumentConflict => match self.text(ContextKind::PriorArg) {
                prior if prior == argument => format!("{argument} is given more than once"),
                prior if prior.is_empty() => format!("{argument} does not go with the other arguments"),
                prior => format!("{argument} does not go with {prior}"),
            },
            ClapErrorKind::NoEquals => format!("{argument} needs an equals sign before its value"),
            ClapErrorKind::TooManyValues => format!("{argument}: one value too many, `{value}`"),
            ClapErrorKind::TooFewValues | ClapErrorKind::WrongNumberOfValues => {
                if let Some(last) = argument.split_whitespace().next_back().filter(|last| *last != argument)
                    && self.text(ContextKind::ActualNumValues) == "1"
                {
                    return format!("{last} is missing");
                }
                format!("{argument} has the wrong number of values")
            }
            ClapErrorKind::InvalidUtf8 => match self.words.iter().find(|word| word.to_str().is_none()) {
                Some(word) => format!("the argument {word:?} is not valid UTF-8"),
                None => "an argument is not valid UTF-8".to_owned(),
            },
            _ => self.own_text(),
        }
    }

    /// Returns whether an option is on the command line of `export`.
    fn has_word(&self, option: &str) -> bool {
        let is_option = |word: &OsString| word.to_str().is_some_and(|it| it.split('=').next() == Some(option));
        self.command.get_name() == "export" && self.words.iter().any(is_option)
    }

    /// Returns the first line of the text that clap prints.
    fn own_text(&self) -> String {
        let text = self.error.render().to_string();
        let line = text.lines().next().unwrap_or_default();
        line.strip_prefix("error: ").unwrap_or(line).to_owned()
    }

    /// Returns the option that the error is about, such as `--format`.
    fn option(&self) -> Option<String> {
        let argument = self.texts(ContextKind::InvalidArg).into_iter().next().unwrap_or_else(|| self.own_text());
        let option = argument.split([' ', '=', ':', ',']).find(|word| word.starts_with('-'))?;
        Some(option.to_owned())
    }

    /// Returns the environment variable that gave the option its value, for the message. Empty if the command line did.
    fn variable(&self) -> String {
        let named = self.option().unwrap_or_default();
        let is_named = |option: &clap::Arg| option.get_long().is_some_and(|long| format!("--{long}") == named);
        let on_command_line = self
            .words
            .iter()
            .filter_map(|word| word.to_str())
            .any(|word| word.strip_prefix(&*named).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')));
        let variable = self.command.get_arguments().find(|option| is_named(option)).and_then(clap::Arg::get_env);
        match variable {
            Some(name) if !on_command_line && std::env::var_os(name).is_some() => format!(" (from {})", name.display()),
            _ => String::new(),
        }
    }

    /// Returns whether arguments are missing or too many, so that the usage shows what is wrong.
    fn is_about_the_number(&self) -> bool {
        match self.error.kind() {
            ClapErrorKind::MissingRequiredArgument
            | ClapErrorKind::TooManyValues
            | ClapErrorKind::TooFewValues
            | ClapErrorKind::WrongNumberOfValues => true,
            ClapErrorKind::UnknownArgument => self.option().is_none(),
            _ => false,
        }
    }

    /// Returns the hint for an option of another tool.
    fn habit(&self) -> Option<&'static str> {
        let option = self.option()?;
        let habits = HABITS.iter().filter(|(verb, ..)| *verb == self.command.get_name());
        habits
            .flat_map(|(_, options, hint)| options.iter().map(move |known| (known, *hint)))
            .find_map(|(known, hint)| (*known == option).then_some(hint))
    }

    /// Returns what to do, if it is more than reading the help.
    fn hint(&self) -> Option<String> {
        let list = |texts: Vec<String>| {
            let quoted = texts.iter().take(MAX_SIMILAR).map(|text| format!("`{text}`"));
            quoted.collect::<Vec<_>>().join(" or ")
        };
        match self.error.kind() {
            ClapErrorKind::InvalidSubcommand => {
                let word = self.text(ContextKind::InvalidSubcommand);
                let name = self.command.get_bin_name().unwrap_or("vmroot");
                if name == "vmroot"
                    && let Some((_, hint)) = OTHER_TOOLS.iter().find(|(words, _)| words.contains(&&*word))
                {
                    return Some((*hint).to_owned());
                }
                let known: Vec<_> = self.command.get_subcommands().map(Command::get_name).collect();
                let near = similar(&word, known.iter().map(|name| (*name).to_owned()));
                // `vmroot help` has a copy of each command below it.
                let name = name.strip_suffix(" help").unwrap_or(name);
                match (near.is_empty(), name) {
                    (false, _) => Some(format!("did you mean {}? `{name} --help` lists the commands", list(near))),
                    (true, "vmroot") => Some("`vmroot --help` lists the commands".to_owned()),
                    (true, _) => Some(format!("the commands of `{name}` are {}", known.join(", "))),
                }
            }
            ClapErrorKind::UnknownArgument => {
                let similar = self.texts(ContextKind::SuggestedArg);
                let name = self.command.get_bin_name().unwrap_or("vmroot");
                if let Some(hint) = self.habit() {
                    return Some(hint.to_owned());
                }
                (!similar.is_empty())
                    .then(|| format!("did you mean {}? `{name} --help` lists the options", list(similar)))
            }
            ClapErrorKind::MissingRequiredArgument if self.text(ContextKind::InvalidArg).contains("--kernel") => {
                Some(crate::remedy::KERNEL.to_owned())
            }
            ClapErrorKind::MissingRequiredArgument if self.text(ContextKind::InvalidArg).contains("PATH") => {
                // As `cp` names a file.
                let name = self.command.get_bin_name().unwrap_or("vmroot");
                let word =
                    self.words.iter().skip(2).filter_map(|word| word.to_str()).find(|word| word.contains(":/"))?;
                let (image, path) = word.split_once(":/")?;
                Some(format!("the path is an argument of its own: `{name} {image} /{path}`"))
            }
            ClapErrorKind::InvalidValue => {
                let valid = self.texts(ContextKind::ValidValue);
                let similar = self.texts(ContextKind::SuggestedValue);
                match (valid.is_empty(), similar.is_empty()) {
                    (true, _) => None,
                    (_, true) => Some(format!("the values are {}", valid.join(", "))),
                    _ => Some(format!("did you mean {}? The values are {}", list(similar), valid.join(", "))),
                }
            }
            ClapErrorKind::ValueValidation if self.message().contains("unsupported architecture") => {
                Some(crate::remedy::ARCHITECTURES.to_owned())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Arguments;

    /// Each command that a hint names exists, and none of the words is a command.
    #[test]
    fn hints_name_existing_commands() {
        let root = Arguments::program();
        for (words, hint) in OTHER_TOOLS {
            for word in words {
                assert!(root.find_subcommand(word).is_none(), "{word} is a command");
            }
            for named in hint.split("`vmroot ").skip(1) {
                let verb = named.split([' ', '`']).next().unwrap();
                assert!(verb.starts_with('-') || root.find_subcommand(verb).is_some(), "{hint}");
            }
        }
    }
}
