//! Errors.

use vmroot_errors::{ErrorKind, Limit};

use crate::strict_json;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error from reading, verifying or making a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A JSON document is malformed.
    #[error(transparent)]
    Json(#[from] strict_json::Error),
    /// Another part of a signature is malformed.
    #[error("{part} is not valid: {reason}")]
    Malformed {
        /// The part, such as `certificate`.
        part: &'static str,
        /// The reason.
        reason: String,
    },
    /// A file with a key cannot be used.
    #[error("the key is not usable: {0}")]
    Key(String),
    /// A private key is encrypted, and there is no passphrase.
    #[error("the private key is encrypted, and no passphrase is given")]
    PassphraseMissing,
    /// The passphrase does not decrypt a private key.
    #[error("the passphrase does not decrypt the private key")]
    PassphraseWrong,
    /// An input exceeds a limit.
    #[error("{part} exceeds {limit} ({maximum})")]
    TooLarge {
        /// The part.
        part: &'static str,
        /// The name of the constant.
        limit: &'static str,
        /// The largest value.
        maximum: u64,
    },
    /// No accepted key verifies the signature.
    #[error("the signature does not verify with {0}")]
    Signature(&'static str),
    /// The signature was made with other material than is accepted: a key instead of a certificate, or the reverse.
    #[error("{0}")]
    Material(&'static str),
    /// A certificate is not trusted.
    #[error("the certificate is not trusted: {0}")]
    Certificate(String),
    /// A certificate belongs to another identity.
    #[error("the certificate belongs to another identity: {0}")]
    Identity(String),
    /// A transparency log does not prove the signature.
    #[error("the transparency log does not prove the signature: {0}")]
    Log(String),
    /// A timestamp does not prove a time.
    #[error("the timestamp does not prove a time: {0}")]
    Timestamp(String),
    /// The signed content is not a statement that counts.
    #[error("the statement is not accepted: {0}")]
    Statement(String),
}

impl Error {
    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Key(_) | Self::PassphraseMissing | Self::PassphraseWrong => ErrorKind::Usage,
            Self::TooLarge { .. } | Self::Json(strict_json::Error::TooLong { .. }) => ErrorKind::Limit,
            _ => ErrorKind::Integrity,
        }
    }

    /// Returns the limit that an input exceeded.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::TooLarge { limit, .. } => Some(Limit::named(limit)),
            _ => None,
        }
    }

    pub(crate) fn malformed(part: &'static str, reason: impl ToString) -> Self {
        Self::Malformed { part, reason: reason.to_string() }
    }
}

/// Returns an error if `count` is larger than `maximum`.
pub(crate) fn at_most(count: usize, maximum: usize, part: &'static str, limit: &'static str) -> Result<()> {
    if count > maximum {
        return Err(Error::TooLarge { part, limit, maximum: maximum as u64 });
    }
    Ok(())
}
