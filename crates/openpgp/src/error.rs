//! Errors from messages, certificates and secret keys.

use vmroot_errors::{ErrorKind, Limit};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error from an OpenPGP message or key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An input, or what it unpacks to, is larger than a limit.
    #[error("{what} has more than {limit} {unit} ({name})")]
    TooLarge {
        /// The input.
        what: &'static str,
        /// The name of the limit.
        name: &'static str,
        /// The limit.
        limit: usize,
        /// The unit of the limit.
        unit: &'static str,
    },
    /// The bytes are not a signed message with one signature.
    #[error("not a signed message: {0}")]
    Message(String),
    /// The signature is of a kind that is not accepted.
    #[error("the signature is not accepted: {0}")]
    Signature(String),
    /// The signature has expired.
    #[error("the signature has expired")]
    SignatureExpired,
    /// No key of the keyring made the signature.
    #[error("no key of the keyring made the signature, which names the key {issuer}")]
    UnknownSigner {
        /// The key id or fingerprint in the signature, in upper-case hex.
        issuer: String,
    },
    /// The signed bytes were changed, or the signature was.
    #[error("the signature does not match its content")]
    BadSignature,
    /// The signature is right, and its key may not sign now.
    #[error("the key {fingerprint} is not accepted: {reason}")]
    Key {
        /// The fingerprint of the primary key, in upper-case hex.
        fingerprint: String,
        /// The reason.
        reason: String,
    },
    /// The bytes have no certificate that can be read.
    #[error("no public key can be read: {0}")]
    Keyring(String),
    /// There is no secret key that can sign, or it cannot be read.
    #[error("the secret key cannot be used: {0}")]
    SecretKey(String),
    /// The secret key is protected, and the passphrase is missing or wrong.
    #[error("the passphrase of the secret key is {0}")]
    Passphrase(&'static str),
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } => ErrorKind::Limit,
            Self::SecretKey(_) | Self::Passphrase(_) | Self::Keyring(_) => ErrorKind::Other,
            _ => ErrorKind::Integrity,
        }
    }

    /// Returns the limit that was exceeded.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::TooLarge { name, .. } => Some(Limit::named(name)),
            _ => None,
        }
    }
}
