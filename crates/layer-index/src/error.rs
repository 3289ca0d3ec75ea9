//! Errors from reading a layer, an index, or a merge of indexes.

use std::io;
use std::path::PathBuf;

use bstr::BString;
use vmroot_errors::{Classified, ErrorKind, Limit};
use vmroot_model::Digest;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error from reading a layer, reading or writing an index, or merging indexes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The layer's stream could not be read or decoded.
    #[error("reading the layer at byte {offset}")]
    Stream {
        /// Offset in the uncompressed tar.
        offset: u64,
        /// The reader's error.
        source: io::Error,
    },
    /// A stream that does not begin with the header of a tar.
    #[error("not a tar{seems}", seems = seems_to_be(*.content))]
    NotATar {
        /// The content that it seems to have, if it is known.
        content: Option<&'static str>,
    },
    /// The stream is not a valid tar archive.
    #[error("invalid tar header at byte {offset}{entry}: {reason}", entry = after(.entry))]
    InvalidTar {
        /// Offset of the header in the uncompressed tar.
        offset: u64,
        /// The name of the entry; empty if it is not known yet.
        entry: BString,
        /// The reason.
        reason: String,
    },
    /// An entry that a root file system cannot hold, or that is not safe to apply.
    #[error("layer entry {entry:?}: {reason}")]
    InvalidEntry {
        /// The entry's name as written in the tar.
        entry: BString,
        /// The reason.
        reason: String,
    },
    /// The layer exceeds a limit of [`BuildOptions`](crate::BuildOptions).
    #[error("layer entry {entry:?}: more than {limit} {what} (the limit {name})")]
    Limit {
        /// The entry that exceeds the limit.
        entry: BString,
        /// The option's name.
        name: &'static str,
        /// The quantity, in the plural: `entries`, `bytes`.
        what: &'static str,
        /// The largest quantity that the option allows.
        limit: u64,
    },
    /// An entry exceeds a fixed limit.
    #[error("layer entry {entry:?}: {reason}")]
    EntryLimit {
        /// The entry's name.
        entry: BString,
        /// The limit's name.
        name: &'static str,
        /// The quantity that is too large, and the largest that is allowed.
        reason: String,
    },
    /// The tar does not have the diff id that the image's config lists.
    #[error("the layer's diff id is {actual}, expected {expected}")]
    DiffIdMismatch {
        /// The diff id in the config.
        expected: Digest,
        /// The digest of the bytes that were read.
        actual: Digest,
    },
    /// A hard link whose target is missing from its layer and from every lower layer.
    #[error("hard link {entry:?}: its target {target:?} is neither in its layer nor in a lower one")]
    LinkTargetMissing {
        /// The link's path.
        entry: BString,
        /// The normalised path of the target.
        target: BString,
    },
    /// An index that is damaged or has another format version.
    #[error("{name}: not a valid index: {reason}", name = path.display())]
    InvalidIndex {
        /// The index file; empty for one in memory.
        path: PathBuf,
        /// The reason, with the number of the record that is wrong.
        reason: String,
    },
    /// A `.contents` file that differs from its index.
    #[error("{path}: {reason}", path = path.display())]
    InvalidContents {
        /// The contents file.
        path: PathBuf,
        /// The reason, with the name of the entry.
        reason: String,
    },
    /// The merged root exceeds the capacity of the index format.
    #[error("the merged root does not fit: more than {limit} {what}")]
    TooLarge {
        /// The quantity, in the plural.
        what: &'static str,
        /// The largest quantity that the format can hold.
        limit: u64,
    },
    /// The work was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => ErrorKind::of_named_file(source),
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Limit { .. } | Self::EntryLimit { .. } | Self::TooLarge { .. } => ErrorKind::Limit,
            Self::Stream { source, .. } => match Classified::of(source) {
                Some(error) => error.kind(),
                // The system's error is about the disk, not about the layer's bytes.
                None if source.raw_os_error().is_some() => ErrorKind::of_io(source),
                None => ErrorKind::Integrity,
            },
            _ => ErrorKind::Integrity,
        }
    }

    /// Returns the limit that an input passed, for an error of [`ErrorKind::Limit`] that has one with a name.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::Limit { name, .. } | Self::EntryLimit { name, .. } => Some(Limit::named(name)),
            Self::Stream { source, .. } => Classified::of(source)?.limit(),
            _ => None,
        }
    }
}

fn seems_to_be(content: Option<&'static str>) -> String {
    content.map_or_else(String::new, |content| format!("; it seems to be {content}"))
}

fn after(entry: &BString) -> String {
    if entry.is_empty() { String::new() } else { format!(", entry {entry:?}") }
}

impl From<vmroot_output::Error> for Error {
    fn from(error: vmroot_output::Error) -> Self {
        Self::Io { path: error.path, source: error.source }
    }
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Io { path, source }
    }

    pub(crate) fn entry(entry: &[u8], reason: impl Into<Reason>) -> Self {
        match reason.into() {
            Reason::Invalid(reason) => Self::InvalidEntry { entry: entry.into(), reason },
            Reason::Limit { name, reason } => Self::EntryLimit { entry: entry.into(), name, reason },
        }
    }
}

/// The reason for refusing an entry, in code that does not know the entry's name.
#[derive(Debug)]
pub(crate) enum Reason {
    /// The entry is invalid.
    Invalid(String),
    /// The entry exceeds the named limit.
    Limit { name: &'static str, reason: String },
}

impl Reason {
    pub(crate) fn limit(name: &'static str, reason: String) -> Self {
        Self::Limit { name, reason }
    }

    /// Puts `subject` and a colon before the reason.
    pub(crate) fn about(self, subject: impl std::fmt::Display) -> Self {
        match self {
            Self::Invalid(reason) => Self::Invalid(format!("{subject}: {reason}")),
            Self::Limit { name, reason } => Self::Limit { name, reason: format!("{subject}: {reason}") },
        }
    }
}

impl From<String> for Reason {
    fn from(reason: String) -> Self {
        Self::Invalid(reason)
    }
}

impl From<&str> for Reason {
    fn from(reason: &str) -> Self {
        Self::Invalid(reason.to_owned())
    }
}
