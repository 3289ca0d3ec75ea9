//! Errors from policies and signatures.

use std::io;
use std::path::PathBuf;

use vmroot_errors::{ErrorKind, Limit};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error from a policy, or from the contents of a signature.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A policy file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A policy is invalid.
    #[error("{}: {reason}", path.as_ref().map_or("the policy".into(), |path| path.display().to_string()))]
    Policy {
        /// The file, if the policy is in one.
        path: Option<PathBuf>,
        /// The reason, with the place in the document.
        reason: String,
    },
    /// A policy is too large.
    #[error("{}: more than {limit} bytes", path.as_ref().map_or("the policy".into(), |path| path.display().to_string()))]
    PolicyTooLarge {
        /// The file, if the policy is in one.
        path: Option<PathBuf>,
        /// The largest number of bytes.
        limit: usize,
    },
    /// The payload of a signature is not what this version accepts.
    #[error("the signed payload is invalid: {reason}")]
    Payload {
        /// The reason.
        reason: String,
    },
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => ErrorKind::of_named_file(source),
            Self::Payload { .. } => ErrorKind::Integrity,
            Self::PolicyTooLarge { .. } => ErrorKind::Limit,
            Self::Policy { .. } => ErrorKind::Other,
        }
    }

    /// Returns the limit that was exceeded.
    pub fn limit(&self) -> Option<Limit> {
        matches!(self, Self::PolicyTooLarge { .. }).then(|| Limit::named("POLICY_LIMIT"))
    }
}
