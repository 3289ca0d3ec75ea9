//! The options of `diff` and `history`.

use clap::{ArgAction, Args};

/// The options of `diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArguments {
    /// Print which layer of the new image brought each change
    #[arg(long, visible_alias = "per-layer")]
    pub(crate) layers: bool,
    /// Compare modification times, too
    #[arg(long)]
    pub(crate) times: bool,
    /// Compare which paths are hard links to one file, too
    #[arg(long)]
    pub(crate) hard_links: bool,
    /// Exit with code 1 if the images differ, and with another code after an error; with --quiet, print nothing
    #[arg(long)]
    pub(crate) exit_code: bool,
}

/// The options of `history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArguments {
    /// Print sizes and dates for people
    #[arg(long, short = 'H', value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value_t = true, action = ArgAction::Set)]
    pub(crate) human: bool,
    /// Print whole ids and commands
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Print only the ids, one a line; the same as --quiet
    #[arg(long)]
    pub(crate) ids: bool,
    /// Print with a Go template: `TEMPLATE`, `table TEMPLATE` or `json`; its fields are ID, CreatedAt, CreatedSince,
    /// CreatedBy, Size and Comment
    #[arg(long, value_name = "FORMAT", conflicts_with = "ids")]
    pub(crate) format: Option<String>,
}
