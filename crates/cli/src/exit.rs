//! Exit codes, decided in one place: 0, 1 other, 2 usage, 3 not found, 4 authentication, 5 integrity.

use std::io;
use std::process::ExitCode;

use vmroot::ErrorKind;

use crate::output;

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
        return ExitCode::from(*code);
    }
    // Whoever reads our output has had enough of it, as in `vmroot ls image | head`.
    if broken_pipe(&error) {
        return ExitCode::SUCCESS;
    }
    output::error(&text(&error));
    if let Some(option) = limit(&error) {
        output::note(&format!("{option} raises the limit"));
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
    if error.is::<Usage>() {
        return 2;
    }
    for cause in error.chain() {
        if let Some(vmroot::Error::Boot(vmroot::boot::Error::Timeout(_))) = cause.downcast_ref() {
            // As timeout(1) has it.
            return 124;
        }
        let kind = if let Some(error) = cause.downcast_ref::<vmroot::Error>() {
            error.kind()
        } else if let Some(error) = cause.downcast_ref::<vmroot::RootError>() {
            ErrorKind::of_root(error)
        } else {
            continue;
        };
        return match kind {
            ErrorKind::NotFound => 3,
            ErrorKind::Authentication => 4,
            ErrorKind::Integrity => 5,
            // As a shell reports a process that SIGINT ended.
            ErrorKind::Cancelled => 130,
            ErrorKind::Other => 1,
        };
    }
    1
}

/// The option that raises the limit which was in the way.
fn limit(error: &anyhow::Error) -> Option<&'static str> {
    let limit = error.chain().find_map(|cause| cause.downcast_ref::<vmroot::Error>()?.limit())?;
    Some(match limit {
        "max_output" | "max_expanded" => "--max-layer-size",
        "max_data" => "--max-data",
        "max_ratio" => "--max-ratio",
        "zstd_window_log" => "--zstd-window-log",
        "max_entries" => "--max-entries",
        "max_contents" => "--max-contents",
        "max_metadata" => "--max-metadata",
        "max_names" => "--max-names",
        _ => return None,
    })
}

fn broken_pipe(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref::<io::Error>().map(io::Error::kind);
    error.chain().filter_map(kind).any(|kind| kind == io::ErrorKind::BrokenPipe)
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
