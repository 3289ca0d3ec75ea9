//! What can go wrong with a layer, an index or a merge.

use std::io;
use std::path::PathBuf;

use bstr::BString;
use vmroot_errors::{Classified, ErrorKind, Limit};
use vmroot_model::Digest;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong with a layer, an index or a merge.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The layer's stream could not be read or decoded.
    #[error("reading the layer at byte {offset}")]
    Stream {
        /// Offset in the uncompressed tar.
        offset: u64,
        /// What the reader said.
        source: io::Error,
    },
    /// The tar is not one.
    #[error("invalid tar header at byte {offset}{entry}: {reason}", entry = after(.entry))]
    InvalidTar {
        /// Offset of the header in the uncompressed tar.
        offset: u64,
        /// The entry, as far as its name is known.
        entry: BString,
        /// What is wrong.
        reason: String,
    },
    /// An entry that no root file system can hold, or that must not be applied.
    #[error("layer entry {entry:?}: {reason}")]
    InvalidEntry {
        /// The entry's name as it stands in the tar.
        entry: BString,
        /// What is wrong.
        reason: String,
    },
    /// The layer is more than the options allow.
    #[error("layer entry {entry:?}: more than {limit} {what} (the limit {name})")]
    Limit {
        /// The entry that went over it.
        entry: BString,
        /// The option's name.
        name: &'static str,
        /// What is counted.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// An entry passes a limit that no option raises.
    #[error("layer entry {entry:?}: {reason}")]
    EntryLimit {
        /// The entry's name.
        entry: BString,
        /// The limit's name.
        name: &'static str,
        /// What is too much of what.
        reason: String,
    },
    /// The tar is not the one that the image's config names.
    #[error("the layer's diff id is {actual}, expected {expected}")]
    DiffIdMismatch {
        /// From the config.
        expected: Digest,
        /// Of the bytes that came.
        actual: Digest,
    },
    /// A hard link whose target no lower layer has.
    #[error("hard link {entry:?}: its target {target:?} is neither in its layer nor in a lower one")]
    LinkTargetMissing {
        /// The link's path.
        entry: BString,
        /// The target as normalised.
        target: BString,
    },
    /// An index that is damaged, or of another version.
    #[error("{name}: not a valid index: {reason}", name = path.display())]
    InvalidIndex {
        /// The index file; empty for one in memory.
        path: PathBuf,
        /// What is wrong, and with which record.
        reason: String,
    },
    /// A `.contents` file that is not what its index says.
    #[error("{path}: {reason}", path = path.display())]
    InvalidContents {
        /// The contents file.
        path: PathBuf,
        /// What is wrong, and for which entry.
        reason: String,
    },
    /// The merged root would need more than the format can hold.
    #[error("the merged root does not fit: more than {limit} {what}")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// How many the format holds.
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
                // A disk that is full or bad says nothing of the layer.
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

/// Why an entry is refused, for those who do not know its name.
#[derive(Debug)]
pub(crate) enum Reason {
    /// It makes no sense.
    Invalid(String),
    /// It passes a limit of this name.
    Limit { name: &'static str, reason: String },
}

impl Reason {
    pub(crate) fn limit(name: &'static str, reason: String) -> Self {
        Self::Limit { name, reason }
    }

    /// Says before the reason what it is about.
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
