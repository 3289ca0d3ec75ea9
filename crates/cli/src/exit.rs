//! Exit codes, decided in one place: 0, 1 other, 2 usage, 3 not found, 4 authentication, 5 integrity,
//! 6 a limit, 130 cancelled.

use std::io;
use std::process::ExitCode;

use vmroot::{ErrorKind, Limit};

use crate::{output, signals};

/// Wrong use that clap cannot see. Clap itself exits with the same code.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// A command that said all there is to say, and still failed.
#[derive(Debug)]
pub(crate) struct Silent(pub(crate) u8);

impl std::fmt::Display for Silent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {}", self.0)
    }
}

impl std::error::Error for Silent {}

/// Prints what went wrong, and gives the code to exit with.
pub(crate) fn code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    if let Some(Silent(code)) = error.downcast_ref() {
        return ExitCode::from(if signals::was_told_to_end() { signals::CANCELLED } else { *code });
    }
    if error.chain().filter_map(|cause| cause.downcast_ref()).any(output::reader_is_gone) {
        return ExitCode::SUCCESS;
    }
    match has_lines(&error) {
        true => output::long_error(&text(&error)),
        false => output::error(&text(&error)),
    }
    if let Some(limit) = limit(&error) {
        match option(limit) {
            Some(option) => output::advice(&format!("{option} raises the limit")),
            None => output::advice(&format!("the limit is {limit} of docs/limits.md")),
        }
    }
    ExitCode::from(number(&error))
}

/// The error and its causes, but none that was said already: most errors end with what caused them.
fn text(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn number(error: &anyhow::Error) -> u8 {
    // A signal may have ended the work in any state.
    if signals::was_told_to_end() {
        return signals::CANCELLED;
    }
    for cause in error.chain() {
        if cause.is::<Usage>() {
            return 2;
        }
        if let Some(vmroot::Error::Boot(vmroot::boot::Error::Timeout(_))) = cause.downcast_ref() {
            // As timeout(1) has it.
            return 124;
        }
        let kind = cause.downcast_ref().map(vmroot::Error::kind);
        let Some(kind) = kind.or_else(|| cause.downcast_ref().map(vmroot::RootError::kind)) else { continue };
        return match kind {
            ErrorKind::Usage => 2,
            ErrorKind::NotFound => 3,
            ErrorKind::Authentication => 4,
            ErrorKind::Integrity => 5,
            ErrorKind::Limit => 6,
            ErrorKind::Cancelled => signals::CANCELLED,
            _ => 1,
        };
    }
    // This program looks at the files that the user has named before the library does.
    let is_missing = |cause: &io::Error| cause.kind() == io::ErrorKind::NotFound;
    if error.chain().filter_map(|cause| cause.downcast_ref()).any(is_missing) { 3 } else { 1 }
}

/// The limit that was in the way.
fn limit(error: &anyhow::Error) -> Option<Limit> {
    error.chain().find_map(|cause| cause.downcast_ref::<vmroot::Error>()?.limit())
}

/// The option that raises a limit, if one does.
fn option(limit: Limit) -> Option<&'static str> {
    Some(match limit {
        Limit::MaxOutput | Limit::MaxExpanded => "--max-layer-size",
        Limit::MaxData => "--max-data",
        Limit::MaxRatio => "--max-ratio",
        Limit::ZstdWindowLog => "--zstd-window-log",
        Limit::MaxEntries => "--max-entries",
        Limit::MaxContents => "--max-contents",
        Limit::MaxMetadata => "--max-metadata",
        Limit::MaxNames => "--max-names",
        _ => return None,
    })
}

/// Whether an error ends with lines of a guest's console or of another program.
fn has_lines(error: &anyhow::Error) -> bool {
    use vmroot::boot::Error as Boot;
    let is_such = |cause: &(dyn std::error::Error + 'static)| {
        let boot = cause.downcast_ref::<vmroot::Error>();
        matches!(boot, Some(vmroot::Error::Boot(Boot::Vmm { .. } | Boot::Ended { .. })))
    };
    error.chain().any(is_such)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let own = vmroot::Error::Io { path: "/x".into(), source: missing() };
        assert_eq!(text(&own.into()), "/x: entity not found");
        assert_eq!(text(&anyhow::Error::from(missing()).context("/x")), "/x: entity not found");
    }
}
