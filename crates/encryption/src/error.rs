//! Errors from encrypting and decrypting.

use std::io;

use vmroot_errors::{Classified, ErrorKind, Limit};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error from encrypting or decrypting a layer, or from reading a key.
///
/// An error about a wrapped key does not say why it cannot be unwrapped, because such answers help to guess it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No key for decryption is given that could unwrap the layer's key.
    #[error("the layer is encrypted with {schemes}, and no key for that is given")]
    NoKey {
        /// The forms in which the layer's key is wrapped, such as `jwe, pgp`.
        schemes: String,
    },
    /// None of the keys unwraps the layer's key. Either they are those of other recipients, or the wrapped key is damaged.
    #[error("none of the given keys decrypts the key of the layer, which is encrypted with {schemes}")]
    NotDecryptable {
        /// The forms in which the layer's key is wrapped.
        schemes: String,
    },
    /// The layer's key is wrapped in forms only that this crate does not know.
    #[error("the key of the layer is encrypted with {schemes}, which this program does not support")]
    UnsupportedScheme {
        /// The forms.
        schemes: String,
    },
    /// The annotations of the layer are incomplete or malformed.
    #[error("the annotations of the encrypted layer are invalid: {reason}")]
    Annotations {
        /// The reason.
        reason: String,
    },
    /// The layer has a cipher that this crate does not know.
    #[error("the layer is encrypted with the unknown cipher {cipher:?}")]
    UnknownCipher {
        /// The name of the cipher.
        cipher: String,
    },
    /// The ciphertext does not have the HMAC of its annotations, so it is damaged or was changed.
    #[error("the encrypted layer is damaged: its HMAC differs")]
    WrongHmac,
    /// An input exceeds a limit.
    #[error("{subject} exceeds the limit of {limit} ({name})")]
    Limit {
        /// The part of the input that is too large.
        subject: &'static str,
        /// The name of the limit.
        name: &'static str,
        /// The value of the limit.
        limit: u64,
    },
    /// Bytes that should be a key or a certificate.
    #[error("{reason}")]
    Key {
        /// The reason for which they are none that can be used.
        reason: String,
    },
    /// A private key is encrypted, and there is no password for it.
    #[error("the private key is encrypted, and no password is given")]
    PasswordMissing,
    /// A private key is encrypted with another password.
    #[error("the password of the private key is wrong")]
    PasswordWrong,
    /// A keyring has no usable key for a recipient.
    #[error("{reason}")]
    Recipient {
        /// The recipient, and the reason.
        reason: String,
    },
    /// A layer is encrypted for no recipient.
    #[error("no recipient is given for the encryption")]
    NoRecipients,
    /// The layer was not read to its end before [`Encrypting::finish`](crate::Encrypting::finish).
    #[error("the layer was not encrypted to its end")]
    Incomplete,
    /// A layer's key cannot be wrapped for a recipient.
    #[error("cannot encrypt the key of the layer with {scheme}: {reason}")]
    Wrap {
        /// The form of the wrapped key.
        scheme: &'static str,
        /// The reason.
        reason: String,
    },
    /// The ciphertext cannot be read.
    #[error(transparent)]
    Io(io::Error),
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::WrongHmac | Self::Annotations { .. } => ErrorKind::Integrity,
            Self::Limit { .. } => ErrorKind::Limit,
            Self::NoKey { .. } | Self::NotDecryptable { .. } => ErrorKind::Authentication,
            Self::Key { .. } | Self::PasswordMissing | Self::PasswordWrong | Self::Recipient { .. } => ErrorKind::Usage,
            Self::Io(error) => Classified::of(error).map_or(ErrorKind::of_io(error), Classified::kind),
            _ => ErrorKind::Other,
        }
    }

    /// Returns the limit that an input exceeded.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::Limit { name, .. } => Some(Limit::named(name)),
            Self::Io(error) => Classified::of(error).and_then(Classified::limit),
            _ => None,
        }
    }

    #[cfg(feature = "ciphers")]
    pub(crate) fn annotations(reason: impl Into<String>) -> Self {
        Self::Annotations { reason: reason.into() }
    }

    #[cfg(feature = "ciphers")]
    pub(crate) fn key(reason: impl Into<String>) -> Self {
        Self::Key { reason: reason.into() }
    }

    /// Wraps the error for the reader of a stream.
    pub(crate) fn into_io(self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Classified::new(self.kind(), self.limit(), self))
    }
}
