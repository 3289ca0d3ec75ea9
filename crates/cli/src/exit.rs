//! Exit codes: 0 success, 1 other errors, 2 usage, 3 not found, 4 authentication, 5 integrity, 6 a limit,
//! 124 timeout of a guest or of `--command-timeout`, 130 cancelled.

use std::io;
use std::process::ExitCode;

use vmroot::{ErrorKind, Limit};

use crate::{output, signals};

/// The exit code for a login that a registry refuses.
const AUTHENTICATION: u8 = 4;

/// An error of usage that clap does not detect. Clap exits with the same code for its own.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// A file on the command line that is longer than the program accepts.
#[derive(Debug)]
pub(crate) struct TooLong {
    /// The largest accepted length in bytes.
    pub(crate) limit: u64,
}

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "longer than {} bytes", self.limit)
    }
}

impl std::error::Error for TooLong {}

/// An exit code of a command whose error was already printed.
#[derive(Debug)]
pub(crate) struct AlreadyReported(pub(crate) u8);

impl std::fmt::Display for AlreadyReported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {}", self.0)
    }
}

impl std::error::Error for AlreadyReported {}

/// A registry did not confirm a user and password.
#[derive(Debug)]
pub(crate) struct LoginFailed(pub(crate) String);

impl std::fmt::Display for LoginFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot log in to {}", self.0)
    }
}

/// Prints the error of a command, and returns the exit code.
pub(crate) fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    if let Some(AlreadyReported(code)) = error.downcast_ref() {
        return ExitCode::from(signals::exit_code().unwrap_or(*code));
    }
    if error.chain().filter_map(|cause| cause.downcast_ref()).any(output::is_closed_by_reader) {
        return ExitCode::SUCCESS;
    }
    if signals::has_timed_out() {
        output::print_error(signals::TIMED_OUT_MESSAGE);
        return ExitCode::from(signals::TIMEOUT);
    }
    let is_long = |cause: &vmroot::Error| cause.kind() == ErrorKind::ProgramFailed;
    match error.chain().filter_map(|cause| cause.downcast_ref()).any(is_long) {
        true => output::print_long_error(&message(&error)),
        false => output::print_error(&message(&error)),
    }
    if let Some(limit) = exceeded_limit(&error) {
        match limit_option(limit) {
            Some(option) => output::print_hint(&format!("{option} raises the limit")),
            None => output::print_hint(&format!("the limit is {limit} of docs/limits.md")),
        }
    }
    let code = error_code(&error);
    if code == AUTHENTICATION && error.downcast_ref::<LoginFailed>().is_some() {
        output::print_hint("some registries take an access token in place of the password");
    } else if code == AUTHENTICATION {
        output::print_hint(
            "`vmroot login REGISTRY` stores a user and password; `vmroot registries explain` says which are used",
        );
    }
    ExitCode::from(code)
}

/// Returns the messages of an error and its causes. A message that is already part of the text is not repeated.
fn message(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn error_code(error: &anyhow::Error) -> u8 {
    // After a signal, the work may have failed with any error.
    if signals::was_signalled() {
        return signals::CANCELLED;
    }
    for cause in error.chain() {
        if cause.is::<UsageError>() {
            return 2;
        }
        if cause.is::<TooLong>() {
            return 6;
        }
        let kind = cause.downcast_ref().map(vmroot::Error::kind);
        let Some(kind) = kind.or_else(|| cause.downcast_ref().map(vmroot::RootError::kind)) else { continue };
        return match kind {
            ErrorKind::Usage => 2,
            ErrorKind::NotFound => 3,
            ErrorKind::Authentication => AUTHENTICATION,
            ErrorKind::Integrity => 5,
            ErrorKind::Limit => 6,
            ErrorKind::Cancelled => signals::CANCELLED,
            // As with timeout(1).
            ErrorKind::TimedOut => 124,
            _ => 1,
        };
    }
    // The program checks files on the command line before the library does.
    let is_missing = |cause: &io::Error| cause.kind() == io::ErrorKind::NotFound;
    if error.chain().filter_map(|cause| cause.downcast_ref()).any(is_missing) { 3 } else { 1 }
}

/// Prints the error of one of several operands, and returns the exit code for it.
pub(crate) fn report_operand(error: &anyhow::Error) -> u8 {
    output::print_error(&message(error));
    error_code(error)
}

/// Returns the limit that an error reports.
fn exceeded_limit(error: &anyhow::Error) -> Option<Limit> {
    error.chain().find_map(|cause| cause.downcast_ref::<vmroot::Error>()?.limit())
}

/// Returns the option that raises a limit.
fn limit_option(limit: Limit) -> Option<&'static str> {
    Some(match limit {
        Limit::MaxOutput | Limit::MaxExpanded => "--max-layer-size",
        Limit::MaxData => "--max-data",
        Limit::MaxRatio => "--max-ratio",
        Limit::ZstdWindowLog => "--zstd-window-log",
        Limit::MaxEntries => "--max-entries",
        Limit::MaxContents => "--max-contents",
        Limit::MaxMetadata => "--max-metadata",
        Limit::MaxNames => "--max-names",
        Limit::MaxSize => "--max-cache-size",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_names_each_cause_once() {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let of_library = vmroot::RuntimeConfig::read("/missing".as_ref()).unwrap_err();
        assert_eq!(message(&of_library.into()), "/missing: No such file or directory (os error 2)");
        assert_eq!(message(&anyhow::Error::from(missing()).context("/x")), "/x: entity not found");
    }
}
