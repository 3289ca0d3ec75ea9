//! Switches with values, such as `--all=false`. clap's switches have none, but scripts for skopeo contain them.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::{ArgAction, Command};

/// Parses a boolean as Go does (strconv.ParseBool).
pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// The long options of a command and its subcommands.
#[derive(Default)]
struct LongOptions {
    /// Options without a value.
    switches: BTreeSet<String>,
    /// Options with a value.
    with_value: BTreeSet<String>,
    /// Options whose value may be the next argument even if that starts with a hyphen.
    with_hyphen_value: BTreeSet<String>,
}

impl LongOptions {
    fn of(command: &Command) -> Self {
        let mut options = Self::default();
        options.add(command);
        options
    }

    fn add(&mut self, command: &Command) {
        for argument in command.get_arguments() {
            let names = argument.get_long().into_iter().chain(argument.get_all_aliases().unwrap_or_default());
            let is_switch = matches!(argument.get_action(), ArgAction::SetTrue | ArgAction::Count);
            for name in names {
                let names = if is_switch { &mut self.switches } else { &mut self.with_value };
                names.insert(name.to_owned());
                if argument.is_allow_hyphen_values_set() {
                    self.with_hyphen_value.insert(name.to_owned());
                }
            }
        }
        command.get_subcommands().for_each(|subcommand| self.add(subcommand));
    }

    fn is_switch(&self, name: &str) -> bool {
        self.switches.contains(name) && !self.with_value.contains(name)
    }
}

/// Replaces the `h` in groups of letters such as `-lh` of `ls` by `--human-readable`. Alone, `-h` prints help.
pub(crate) fn with_human_sizes(arguments: Vec<OsString>) -> Vec<OsString> {
    let Some(verb) = arguments.iter().position(|word| word == "ls") else { return arguments };
    let mut expanded = Vec::with_capacity(arguments.len() + 1);
    let mut is_option = true;
    for (position, argument) in arguments.into_iter().enumerate() {
        is_option &= argument != "--";
        let letters =
            argument.to_str().filter(|_| is_option && position > verb).and_then(|text| text.strip_prefix('-'));
        let is_group = |letters: &&str| letters.len() > 1 && letters.chars().all(|letter| "lRdahqv".contains(letter));
        match letters.filter(is_group).filter(|letters| letters.contains('h')) {
            Some(letters) if letters.chars().any(|letter| letter != 'h') => {
                expanded.push(format!("-{}", letters.replace('h', "")).into());
                expanded.push("--human-readable".into());
            }
            _ => expanded.push(argument),
        }
    }
    expanded
}

/// Replaces `--SWITCH=true` by `--SWITCH`, and removes `--SWITCH=false` together with the same switch before it. The
/// values are those of [`parse_bool`]; clap reports others. Arguments after `--` stay as they are.
pub(crate) fn without_values(command: &Command, arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // Most command lines have none, and need no list of all options.
    let may_be_switch = |argument: &OsString| argument.to_str().is_some_and(|text| text.contains('='));
    if !arguments.iter().any(may_be_switch) {
        return arguments;
    }
    let options = LongOptions::of(command);
    let mut kept: Vec<OsString> = Vec::new();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            kept.push(argument);
            break;
        }
        let long = argument.to_str().and_then(|text| text.strip_prefix("--"));
        if long.is_some_and(|name| options.with_hyphen_value.contains(name)) {
            kept.push(argument);
            kept.extend(arguments.next());
            continue;
        }
        let switch = long.and_then(|long| long.split_once('=')).filter(|(name, _)| options.is_switch(name));
        match switch.and_then(|(name, value)| Some((format!("--{name}"), parse_bool(value).ok()?))) {
            Some((switch, true)) => kept.push(switch.into()),
            Some((switch, false)) => kept.retain(|earlier| *earlier != *switch),
            None => kept.push(argument),
        }
    }
    kept.extend(arguments);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Arguments;

    /// Options are looked up by their names alone, without regard to the command.
    #[test]
    fn no_switch_of_skopeo_is_an_option_with_a_value_elsewhere() {
        let options = LongOptions::of(&Arguments::program());
        for name in [
            "all",
            "config",
            "debug",
            "dest-compress",
            "dest-decompress",
            "dest-force-compress-format",
            "dest-no-creds",
            "dest-oci-accept-uncompressed-layers",
            "dest-precompute-digests",
            "dry-run",
            "get-login",
            "insecure-policy",
            "keep-going",
            "no-creds",
            "no-tags",
            "password-stdin",
            "preserve-digests",
            "quiet",
            "raw",
            "remove-signatures",
            "require-signed",
            "scoped",
            "src-no-creds",
            "verbose",
        ] {
            assert!(options.is_switch(name), "{name}");
        }
    }

    #[test]
    fn letters_of_ls_may_include_that_of_human_readable() {
        let expand = |text: &str| {
            let expanded = with_human_sizes(text.split(' ').map(OsString::from).collect());
            expanded.iter().map(|it| it.to_str().unwrap()).collect::<Vec<_>>().join(" ")
        };
        for (given, expected) in [
            ("vmroot ls -lh x", "vmroot ls -l --human-readable x"),
            ("vmroot ls -hlR x", "vmroot ls -lR --human-readable x"),
            ("vmroot ls -h", "vmroot ls -h"),
            ("vmroot ls x -- -lh", "vmroot ls x -- -lh"),
            ("vmroot cat -lh", "vmroot cat -lh"),
        ] {
            assert_eq!(expand(given), expected);
        }
    }

    #[test]
    fn the_last_value_decides() {
        let expand = |text: &str| {
            let arguments = text.split(' ').map(OsString::from);
            let kept = without_values(&Arguments::program(), arguments);
            kept.iter().map(|it| it.to_str().unwrap()).collect::<Vec<_>>().join(" ")
        };
        for (given, expected) in [
            ("vmroot copy --all=true a b", "vmroot copy --all a b"),
            ("vmroot copy --all=1 --quiet=T --json=True a b", "vmroot copy --all --quiet --json a b"),
            ("vmroot copy --all=false --quiet=0 a b", "vmroot copy a b"),
            ("vmroot copy --all --all=F a b", "vmroot copy a b"),
            ("vmroot copy --all=FALSE --all a b", "vmroot copy --all a b"),
            ("vmroot copy --all=yes a b", "vmroot copy --all=yes a b"),
            ("vmroot copy --all= a b", "vmroot copy --all= a b"),
            ("vmroot copy --tls-verify=false --format=oci a b", "vmroot copy --tls-verify=false --format=oci a b"),
            ("vmroot login --verbose=true x", "vmroot login --verbose x"),
            ("vmroot boot x -- run --quiet=true", "vmroot boot x -- run --quiet=true"),
            ("vmroot boot x --append --quiet=true", "vmroot boot x --append --quiet=true"),
            ("vmroot copy --encrypt-layer -1 --all=true a b", "vmroot copy --encrypt-layer -1 --all a b"),
        ] {
            assert_eq!(expand(given), expected);
        }
    }
}
