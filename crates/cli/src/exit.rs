//! Exit codes: 0 success, 1 other errors, 2 usage, 3 not found, 4 authentication, 5 integrity, 6 a limit,
//! 124 timeout of a guest or of `--command-timeout`, 130 cancelled, 141 closed standard output.

use std::process::ExitCode;

use vmroot::{ErrorKind, Limit};

use crate::failure::Failure;
use crate::remedy::{self, Failed};
use crate::{output, signals};

/// The exit code of a stream whose reader closed standard output: that of a program that SIGPIPE ended, in a shell.
const BROKEN_PIPE: u8 = 141;

/// An error of usage that clap does not detect. Clap exits with the same code for its own.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// An error that the program itself finds, with the next step of the user.
#[derive(Debug)]
pub(crate) struct Advised {
    kind: ErrorKind,
    message: String,
    hint: String,
}

impl Advised {
    /// Returns an error with exit code 1.
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Other, message: message.into(), hint: hint.into() }
    }

    /// Returns an error of usage.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Usage, ..Self::new(message, hint) }
    }

    /// Returns the error for an image whose signatures are not accepted.
    pub(crate) fn refused(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Policy, ..Self::new(message, hint) }
    }

    /// Returns the error for a file that is not the expected one.
    pub(crate) fn damaged(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Integrity, ..Self::new(message, hint) }
    }

    /// Returns the error for something that does not exist.
    pub(crate) fn not_found(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind: ErrorKind::NotFound, ..Self::new(message, hint) }
    }
}

impl std::fmt::Display for Advised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Advised {}

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
pub(crate) fn exit_code(result: anyhow::Result<()>, failed: &Failed<'_>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    if let Some(AlreadyReported(code)) = error.downcast_ref() {
        return ExitCode::from(signals::exit_code().unwrap_or(*code));
    }
    if error.chain().filter_map(|cause| cause.downcast_ref()).any(output::is_closed_by_reader) {
        return ExitCode::SUCCESS;
    }
    // As other programs, which the signal SIGPIPE ends.
    if is_broken_pipe(&error) && output::is_stdout_closed() && !signals::was_signalled() {
        return ExitCode::from(BROKEN_PIPE);
    }
    let failure = failure(&error, failed);
    failure.print();
    ExitCode::from(failure.exit_code)
}

/// Returns whether an error is that of a pipe whose reader has closed it.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let causes = remedy::causes(error);
    let mut causes = causes.iter().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Returns the report of an error.
fn failure(error: &anyhow::Error, failed: &Failed<'_>) -> Failure {
    if signals::has_timed_out() {
        return Failure::new(ErrorKind::TimedOut, signals::TIMED_OUT_MESSAGE, signals::TIMEOUT);
    }
    // After a signal, the work may have failed with any error.
    let kind = if signals::was_signalled() { ErrorKind::Cancelled } else { kind(error) };
    let message = if kind == ErrorKind::Cancelled { "cancelled".to_owned() } else { message(error) };
    let mut failure = Failure::new(kind, message, code(kind));
    if let Some(limit) = exceeded_limit(error) {
        failure.limit = Some(limit);
        failure.option = limit_option(limit).map(str::to_owned);
        failure.hint = Some(match &failure.option {
            Some(option) => format!("{option} raises the limit"),
            None => format!("the limit is {limit} of docs/limits.md"),
        });
    } else if error.is::<LoginFailed>() && kind == ErrorKind::Authentication {
        failure.hint = Some("some registries take an access token in place of the password".to_owned());
    } else if let Some(advised) = error.chain().find_map(|cause| cause.downcast_ref::<Advised>()) {
        failure.option = if kind == ErrorKind::Usage { option_of(&advised.message) } else { None };
        failure.hint = Some(advised.hint.clone());
    } else if let Some(usage) = error.chain().find_map(|cause| cause.downcast_ref::<UsageError>()) {
        failure.option = option_of(&usage.0);
        failure.hint = Some(format!("`vmroot {} --help` describes the arguments", failed.verb));
    } else {
        failure.hint = remedy::remedy(&remedy::causes(error), kind, failed);
    }
    failure
}

/// Returns the messages of an error and its causes. A message that is already part of the text is not repeated.
fn message(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    without_error_numbers(&text)
}

/// Removes ` (os error 2)`, which the standard library adds to the system's messages.
fn without_error_numbers(text: &str) -> String {
    const BEGINNING: &str = " (os error ";
    let mut parts = text.split(BEGINNING);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
                kept.push_str(rest);
            }
            _ => kept.extend([BEGINNING, part]),
        }
    }
    kept
}

/// Returns the kind of an error.
fn kind(error: &anyhow::Error) -> ErrorKind {
    for cause in error.chain() {
        if cause.is::<UsageError>() {
            return ErrorKind::Usage;
        }
        if let Some(advised) = cause.downcast_ref::<Advised>() {
            return advised.kind;
        }
        if cause.is::<TooLong>() {
            return ErrorKind::Limit;
        }
        let kind = cause.downcast_ref().map(vmroot::Error::kind);
        if let Some(kind) = kind.or_else(|| cause.downcast_ref().map(vmroot::RootError::kind)) {
            return kind;
        }
    }
    // The program checks files on the command line before the library does.
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
    causes
        .find_map(|cause| Some(ErrorKind::of_named_file(cause)).filter(|kind| *kind != ErrorKind::Other))
        .unwrap_or(ErrorKind::Other)
}

/// Returns the exit code for a kind.
fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Usage => 2,
        ErrorKind::NotFound => 3,
        ErrorKind::Authentication => 4,
        ErrorKind::Integrity | ErrorKind::Policy => 5,
        ErrorKind::Limit => 6,
        ErrorKind::Cancelled => signals::CANCELLED,
        // As with timeout(1).
        ErrorKind::TimedOut => 124,
        _ => 1,
    }
}

/// Returns the option with which the text of an error of usage begins.
fn option_of(text: &str) -> Option<String> {
    let word = text.split([' ', ':', '=']).next()?;
    word.starts_with("--").then(|| word.to_owned())
}

/// Prints the error of one of several operands of a command, and returns the exit code for it.
pub(crate) fn report_operand(error: &anyhow::Error, verb: &str) -> u8 {
    let failure = failure(error, &Failed { verb, context: None, images: &[] });
    failure.print();
    failure.exit_code
}

/// Prints the error of a command with another exit code, which `change` returns for the usual one, and returns it.
pub(crate) fn report_as(error: &anyhow::Error, failed: &Failed<'_>, change: impl FnOnce(u8) -> u8) -> u8 {
    let mut failure = failure(error, failed);
    failure.exit_code = change(failure.exit_code);
    failure.print();
    failure.exit_code
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
    use std::io;

    use super::*;

    #[test]
    fn numbers_of_system_errors_are_left_out() {
        assert_eq!(without_error_numbers("a: b (os error 2): c (os error 13)"), "a: b: c");
        assert_eq!(without_error_numbers("a (os error x) (os error 5"), "a (os error x) (os error 5");
    }

    #[test]
    fn message_names_each_cause_once() {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let of_library = vmroot::RuntimeConfig::read("/missing".as_ref()).unwrap_err();
        assert_eq!(message(&of_library.into()), "/missing: No such file or directory");
        assert_eq!(message(&anyhow::Error::from(missing()).context("/x")), "/x: entity not found");
    }
}
