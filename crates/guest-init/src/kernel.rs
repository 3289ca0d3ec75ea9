//! The kernel's command line and clock.

use std::ffi::OsString;
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

use crate::document;

/// The maximum number of bytes that are read of the command line. Architectures allow 2 to 4 KiB.
const MAX_COMMAND_LINE: u64 = 64 << 10;

/// The parts of the kernel's command line that concern the init.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// `vmroot.reboot`: restart at the end, for VMMs without power-off that exit on a restart.
    pub(crate) reboot: bool,
    /// `vmroot.trace`: write timestamps to the console.
    pub(crate) trace: bool,
    /// `vmroot.verity=HASH`: the root hash of the root's disk.
    pub(crate) verity: Option<String>,
    /// The words before `--` without `=`. The kernel passes unknown ones to the init.
    words: Vec<String>,
}

impl CommandLine {
    /// Reads `/proc/cmdline`. If it cannot be read, all options are off.
    pub(crate) fn read() -> Self {
        let line = document::read(Path::new("/proc/cmdline"), MAX_COMMAND_LINE).unwrap_or_default();
        Self::parse(&String::from_utf8_lossy(&line))
    }

    fn parse(line: &str) -> Self {
        let before = line.split_whitespace().take_while(|&word| word != "--");
        let verity = before.clone().find_map(|word| word.strip_prefix("vmroot.verity=")).map(str::to_owned);
        let words: Vec<String> = before.filter(|word| !word.contains('=')).map(str::to_owned).collect();
        let has = |name: &str| words.iter().any(|word| word == name);
        Self { reboot: has("vmroot.reboot"), trace: has("vmroot.trace"), verity, words }
    }

    /// Returns the init's own arguments: those after `--`, without unknown words before it, such as `splash`, which the
    /// kernel also passes. The kernel keeps their order.
    pub(crate) fn init_arguments<'a>(&self, arguments: &'a [OsString]) -> &'a [OsString] {
        let mut words = self.words.iter();
        let strays = arguments.iter().take_while(|&argument| words.any(|word| argument == word.as_str())).count();
        &arguments[strays..]
    }
}

/// Returns the nanoseconds since the kernel started.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn init_arguments(line: &str, arguments: &[&str]) -> Vec<String> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let init_arguments = CommandLine::parse(line).init_arguments(&arguments).to_vec();
        init_arguments.into_iter().map(|argument| argument.into_string().unwrap()).collect()
    }

    #[test]
    fn options_are_words_before_the_dashes() {
        let line = CommandLine::parse("console=ttyS0 vmroot.trace quiet -- vmroot.reboot\n");
        assert!(line.trace && !line.reboot);
        assert!(CommandLine::parse("vmroot.reboot").reboot);
        let verity = |line| CommandLine::parse(line).verity;
        assert_eq!(verity("vmroot.verity=ab quiet vmroot.verity=cd").as_deref(), Some("ab"));
        assert_eq!(verity("quiet -- vmroot.verity=ab"), None);
        assert_eq!(CommandLine::parse(""), CommandLine::default());
    }

    #[test]
    fn only_words_after_the_dashes_are_arguments() {
        assert_eq!(
            init_arguments("quiet splash ro foo -- echo foo", &["splash", "foo", "echo", "foo"]),
            ["echo", "foo"]
        );
        assert_eq!(init_arguments("quiet -- splash", &["splash"]), ["splash"]);
        assert_eq!(init_arguments("splash", &["splash"]), [""; 0]);
        assert_eq!(init_arguments("", &["sh", "-c", "x"]), ["sh", "-c", "x"]);
    }
}
