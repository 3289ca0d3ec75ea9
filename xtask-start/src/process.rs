//! Runs other programs. An error has the command line and the program's output.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use crate::error::{Context, Error, Result};

/// Returns the full path of `program`, if it is in `PATH` or in the administrator's directories, which Debian omits
/// from a user's `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// Prints a command, and runs it with its output shown.
///
/// # Errors
/// The program cannot be started, or fails.
pub fn run(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", text(command));
    let status = command.stdin(Stdio::null()).status().context(format!("cannot start {}", text(command)))?;
    check_status(command, status, "")
}

/// Runs a program and returns its standard output.
///
/// # Errors
/// The program cannot be started, fails, or prints bytes that are not text.
pub fn capture(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().context(format!("cannot start {}", text(command)))?;
    check_status(command, output.status, &String::from_utf8_lossy(&output.stderr))?;
    String::from_utf8(output.stdout).context(format!("{} printed bytes that are not text", text(command)))
}

/// Returns an error with the command line and the end of the output, unless the program succeeded.
///
/// # Errors
/// The program failed.
pub fn check_status(command: &Command, status: ExitStatus, output: &str) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    Err(Error::new(format!("{} failed: {status}\n{}", text(command), output.trim_end()).trim_end()))
}

/// Returns a command line that a shell understands. Cargo is named without the directory of its toolchain.
pub fn text(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().filter(|name| *name == "cargo").unwrap_or(program.as_os_str());
    let words = [name].into_iter().chain(command.get_args());
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

/// Returns a word as a shell needs it.
pub fn quoted(word: impl AsRef<OsStr>) -> String {
    let word = word.as_ref().to_string_lossy();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=,@%+".contains(letter);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.into_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_command_line_back() {
        let words = ["plain", "two words", "it's", "", "$HOME", "a\nb", "*"];
        let line = text(Command::new("printf").arg("%s\\0").args(words));
        let printed = Command::new("sh").args(["-c", &line]).output().unwrap().stdout;
        let read: Vec<_> = String::from_utf8(printed).unwrap().split_terminator('\0').map(str::to_owned).collect();
        assert_eq!(read, words);
    }
}
