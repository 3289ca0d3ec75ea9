//! The form of progress.

use clap::ValueEnum;

/// How progress is shown on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// Bars, and a line for what is waited for; needs a terminal, else as `plain`
    Bar,
    /// A line as each layer starts and ends
    Plain,
    /// One event a line, as JSON, also for notes, log lines and errors
    Json,
    /// Nothing
    None,
}
