//! The report of a failed command: a message, the usage and a hint as text, or one JSON object with `--json`.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use vmroot::{ErrorKind, Limit};

use crate::output;

/// Whether failures are reported as JSON.
static JSON: AtomicBool = AtomicBool::new(false);

/// Reports failures as JSON from now on, for `--json`.
pub(crate) fn report_as_json() {
    JSON.store(true, Ordering::Relaxed);
}

/// Returns whether failures are reported as JSON.
pub(crate) fn is_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    /// The error and its causes on one line. That of a guest or of a VMM has lines of their output below it.
    pub(crate) message: String,
    /// The limit that was exceeded.
    pub(crate) limit: Option<Limit>,
    /// The option that the error is about, or that raises the limit.
    pub(crate) option: Option<String>,
    /// The command's usage, one form on each line, if arguments are missing or too many.
    pub(crate) usage: Option<String>,
    /// The next step of the user.
    pub(crate) hint: Option<String>,
    pub(crate) exit_code: u8,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>, exit_code: u8) -> Self {
        let message = message.into();
        Self { kind, message, limit: None, option: None, usage: None, hint: None, exit_code }
    }

    /// Prints the failure on standard error.
    pub(crate) fn print(&self) {
        if is_json() {
            return output::print_json_error(&json!({
                "kind": self.kind.name(),
                "message": self.message,
                "exitCode": self.exit_code,
                "limit": self.limit.map(Limit::name),
                "option": self.option,
                "usage": self.usage,
                "hint": self.hint,
            }));
        }
        match self.kind {
            ErrorKind::ProgramFailed => output::print_long_error(&self.message),
            _ => output::print_error(&self.message),
        }
        for (number, line) in self.usage.iter().flat_map(|usage| usage.lines()).enumerate() {
            output::print_hint(&format!("{}{line}", if number == 0 { "usage: " } else { "       " }));
        }
        if let Some(hint) = &self.hint {
            output::print_hint(&format!("hint: {hint}"));
        }
    }
}
