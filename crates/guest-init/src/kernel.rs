//! The kernel's command line, and its clock.

use std::ffi::OsString;
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

use crate::document;

/// Most of the command line that is read, in bytes; architectures allow 2 to 4 KiB.
const MAX_COMMAND_LINE: u64 = 64 << 10;

/// What the kernel's command line says to its init.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// `vmroot.reboot`: restart at the end, for VMMs that take a restart for the end and know no power-off.
    pub(crate) reboot: bool,
    /// `vmroot.trace`: say when things happen.
    pub(crate) trace: bool,
    /// The words before `--` that are no `name=value`. Those that the kernel does not know, it hands to init.
    words: Vec<String>,
}

impl CommandLine {
    /// Reads `/proc/cmdline`; without it nothing was asked for.
    pub(crate) fn read() -> Self {
        let line = document::read(Path::new("/proc/cmdline"), MAX_COMMAND_LINE).unwrap_or_default();
        Self::parse(&String::from_utf8_lossy(&line))
    }

    fn parse(line: &str) -> Self {
        let before = line.split_whitespace().take_while(|&word| word != "--");
        let words: Vec<String> = before.filter(|word| !word.contains('=')).map(str::to_owned).collect();
        let has = |name: &str| words.iter().any(|word| word == name);
        Self { reboot: has("vmroot.reboot"), trace: has("vmroot.trace"), words }
    }

    /// Those of init's arguments that were meant for it: what stands after `--`, and not words such as `splash` in front
    /// of it that the kernel did not know. The kernel keeps the order.
    pub(crate) fn meant<'a>(&self, arguments: &'a [OsString]) -> &'a [OsString] {
        let mut words = self.words.iter();
        let strays = arguments.iter().take_while(|&argument| words.any(|word| argument == word.as_str())).count();
        &arguments[strays..]
    }
}

/// Nanoseconds since the kernel started.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(line: &str, arguments: &[&str]) -> Vec<String> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let meant = CommandLine::parse(line).meant(&arguments).to_vec();
        meant.into_iter().map(|argument| argument.into_string().unwrap()).collect()
    }

    #[test]
    fn switches_are_words_in_front_of_the_dashes() {
        let line = CommandLine::parse("console=ttyS0 vmroot.trace quiet -- vmroot.reboot\n");
        assert!(line.trace && !line.reboot);
        assert!(CommandLine::parse("vmroot.reboot").reboot);
        assert_eq!(CommandLine::parse(""), CommandLine::default());
    }

    #[test]
    fn only_what_follows_the_dashes_is_meant() {
        assert_eq!(meant("quiet splash ro foo -- echo foo", &["splash", "foo", "echo", "foo"]), ["echo", "foo"]);
        assert_eq!(meant("quiet -- splash", &["splash"]), ["splash"]);
        assert_eq!(meant("splash", &["splash"]), [""; 0]);
        assert_eq!(meant("", &["sh", "-c", "x"]), ["sh", "-c", "x"]);
    }
}
