//! Snapshots of messages: the whole standard output, standard error and exit code of wrong usages and of failures, and
//! the summaries of help.
//!
//! A test fails if a text differs from its file in `snapshots/`. Renew the files after an intended change, and read the
//! difference in review:
//!
//! ```text
//! INSTA_UPDATE=always cargo nextest run -p vmroot-cli -E 'test(snapshots::)'
//! ```
//!
//! Temporary directories, ports, digests, ids and sizes of this build are replaced by words, so the texts are the same
//! on every machine. Cases whose text depends on the machine, such as an unknown host, are tested elsewhere.

mod failures;
mod help;
mod json;
mod usages;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::process::Stdio;

use crate::program::{CommandOutput, Program};
pub(crate) use help::verbs;

/// Runs commands, and collects what they print.
struct Transcript<'a> {
    program: &'a Program,
    /// Texts of this run, and the words that replace them.
    replaced: Vec<(String, &'static str)>,
    text: String,
}

impl<'a> Transcript<'a> {
    fn new(program: &'a Program) -> Self {
        let replaced = vec![(program.path("").display().to_string(), "[HOME]/")];
        Self { program, replaced, text: String::new() }
    }

    /// Replaces a text of this run, such as the address of a registry, by a word.
    fn replace(mut self, text: impl Into<String>, word: &'static str) -> Self {
        self.replaced.push((text.into(), word));
        self
    }

    /// Runs a command in the home directory of the program.
    fn run<S: AsRef<OsStr>>(&mut self, arguments: impl IntoIterator<Item = S>) {
        let arguments: Vec<_> = arguments.into_iter().map(|word| word.as_ref().to_owned()).collect();
        let mut command = self.program.command(&arguments);
        // The lines of progress have times.
        command.env("VMROOT_PROGRESS", "none");
        command.current_dir(self.program.path("")).stdin(Stdio::null());
        let output: CommandOutput = command.output().unwrap().into();
        let words: Vec<String> = arguments.iter().map(|word| quoted(&word.to_string_lossy())).collect();
        let code = output.status.code().expect("no signal ends it");
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), output.stderr);
        assert!(!stderr.contains("panicked"), "{stderr}");
        let mut entry = format!("$ vmroot {}\n", words.join(" "));
        entry.push_str(&stdout);
        for line in stderr.lines() {
            writeln!(entry, "! {line}").unwrap();
        }
        writeln!(entry, "[{code}]\n").unwrap();
        self.text.push_str(&self.redacted(&entry));
    }

    /// Runs several commands, written as words with spaces between them.
    fn run_all(&mut self, commands: &[&str]) {
        commands.iter().for_each(|command| self.run(command.split(' ').filter(|word| !word.is_empty())));
    }

    fn redacted(&self, text: &str) -> String {
        let replaced = self.replaced.iter().fold(text.to_owned(), |text, (old, new)| text.replace(old, new));
        let version = concat!("vmroot ", env!("CARGO_PKG_VERSION"));
        without_digests(&replaced.replace(version, "vmroot [VERSION]"))
    }

    #[track_caller]
    fn check(self, name: &str) {
        // No description of the test in the files: it would change with every move of a line.
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, self.text);
        });
    }
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,[]+%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word.to_owned() } else { format!("'{word}'") }
}

/// Replaces runs of 64 and of 12 hexadecimal digits, which are digests and short ids.
fn without_digests(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let (before, from) = rest.split_at(start);
        let is_inside = before.chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric());
        let end = from.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        let is_hex = !is_inside && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        kept.push_str(before);
        kept.push_str(match word.len() {
            64 if is_hex => "[DIGEST]",
            12 if is_hex => "[ID]",
            _ => word,
        });
        rest = after;
    }
    kept.push_str(rest);
    kept
}

#[test]
fn digests_are_replaced() {
    let digest = "0123456789abcdef".repeat(4);
    assert_eq!(
        without_digests(&format!("sha256:{digest} 0123456789ab facade x{digest}")),
        format!("sha256:[DIGEST] [ID] facade x{digest}")
    );
}
