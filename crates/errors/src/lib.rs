//! The kinds of errors that vmroot's crates return, and the limits that an input can pass.
//!
//! Each crate has its own error type, with `kind()` and `limit()`. A caller can rely on these, without matching the
//! variants of crates that it does not use itself.

mod classified;
mod content;

use std::error::Error;
use std::fmt;
use std::io;

pub use classified::Classified;
pub use content::describe_content;

/// The meaning of an error to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument of the caller is invalid: a reference, a platform, an option.
    Usage,
    /// A file, an image or a registry's object does not exist.
    NotFound,
    /// A registry rejected all credentials, or no key that is given decrypts a layer.
    Authentication,
    /// Bytes do not have their digest, or a document, layer or index is invalid.
    Integrity,
    /// A policy on signatures does not accept an image.
    Policy,
    /// An input exceeds a limit; see [`Limit`].
    Limit,
    /// The caller cancelled the work.
    Cancelled,
    /// A registry cannot be reached, or its connections broke too often.
    Unreachable,
    /// A registry rejects requests because there were too many.
    RateLimited,
    /// The disk or a quota is full.
    NoSpace,
    /// Another process uses the file or directory that the caller wants to change.
    InUse,
    /// A guest was still running at its deadline.
    TimedOut,
    /// A VMM or another program failed. The message ends with lines of its output.
    ProgramFailed,
    /// Any other error.
    Other,
}

impl ErrorKind {
    /// Returns the name of the kind, which programs can rely on: lowercase words joined by hyphens.
    ///
    /// ```
    /// assert_eq!(vmroot_errors::ErrorKind::NotFound.name(), "not-found");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::NotFound => "not-found",
            Self::Authentication => "authentication",
            Self::Integrity => "integrity",
            Self::Policy => "policy",
            Self::Limit => "limit",
            Self::Cancelled => "cancelled",
            Self::Unreachable => "unreachable",
            Self::RateLimited => "rate-limited",
            Self::NoSpace => "no-space",
            Self::InUse => "in-use",
            Self::TimedOut => "timed-out",
            Self::ProgramFailed => "program-failed",
            Self::Other => "other",
        }
    }

    /// Returns the kind of a system error for a file that vmroot itself created or expects.
    pub fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Other,
        }
    }

    /// Returns the kind of a system error for a file that the caller named.
    pub fn of_named_file(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            _ => Self::of_io(error),
        }
    }
}

/// A limit that an input exceeded. `docs/limits.md` lists the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// Bytes that a compressed stream may decode to.
    MaxOutput,
    /// The same, blocks of zeros not counted.
    MaxData,
    /// Bytes out for each byte in of a compressed stream, blocks of zeros not counted.
    MaxRatio,
    /// The window of a zstd stream, as a power of two.
    ZstdWindowLog,
    /// Entries of a layer, and inodes that they create.
    MaxEntries,
    /// Bytes of all files of a layer.
    MaxExpanded,
    /// Bytes of all files of a layer that are stored.
    MaxContents,
    /// Bytes of names, link targets and xattrs of one entry of a layer.
    MaxMetadata,
    /// Bytes of names, link targets and xattrs of a layer.
    MaxNames,
    /// Bytes of disk space of a cache.
    MaxSize,
    /// A constant with this name, which no option raises.
    Constant(&'static str),
}

impl Limit {
    /// Returns the limit of this name.
    pub fn named(name: &'static str) -> Self {
        let with_options = [
            Self::MaxOutput,
            Self::MaxData,
            Self::MaxRatio,
            Self::ZstdWindowLog,
            Self::MaxEntries,
            Self::MaxExpanded,
            Self::MaxContents,
            Self::MaxMetadata,
            Self::MaxNames,
            Self::MaxSize,
        ];
        with_options.into_iter().find(|limit| limit.name() == name).unwrap_or(Self::Constant(name))
    }

    /// Returns the name of the field of `Limits`, `BuildOptions` or `StoreOptions` that raises the limit, or of the constant.
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxOutput => "max_output",
            Self::MaxData => "max_data",
            Self::MaxRatio => "max_ratio",
            Self::ZstdWindowLog => "zstd_window_log",
            Self::MaxEntries => "max_entries",
            Self::MaxExpanded => "max_expanded",
            Self::MaxContents => "max_contents",
            Self::MaxMetadata => "max_metadata",
            Self::MaxNames => "max_names",
            Self::MaxSize => "max_size",
            Self::Constant(name) => name,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Returns a number with a noun, which is in the plural unless there is one.
///
/// ```
/// assert_eq!(vmroot_errors::counted(1, "layer"), "1 layer");
/// assert_eq!(vmroot_errors::counted(0, "layer"), "0 layers");
/// ```
pub fn counted(number: impl TryInto<u64>, noun: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Returns an error's message and those of its causes, outermost first, with `: ` between them.
///
/// The `Display` of an error does not include its causes. A cause is omitted if the message before it ends with it.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}
