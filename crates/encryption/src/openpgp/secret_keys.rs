//! Secret keys of files.

use pgp::composed::{Deserializable as _, SignedSecretKey};
use pgp::types::Password;

use crate::limits::{KEY_RING_LIMIT, at_most};
use crate::{Error, Result};

/// The most secret keys of a file.
const KEYS: usize = 64;

/// The secret keys of one file, with the password of all of them.
pub(crate) struct SecretKeys {
    pub(super) keys: Vec<SignedSecretKey>,
    pub(super) password: Password,
}

impl SecretKeys {
    /// Reads secret keys, binary or with ASCII armor. Parts that are not understood are skipped.
    ///
    /// # Errors
    /// - [`Error::Key`]: there is no secret key.
    /// - [`Error::Limit`]
    pub(crate) fn read(bytes: &[u8], password: Option<&[u8]>) -> Result<Self> {
        at_most(bytes.len(), KEY_RING_LIMIT, "KEY_RING_LIMIT", "a keyring")?;
        let none = || Error::key("it has no OpenPGP secret key");
        let (found, _) = SignedSecretKey::from_reader_many_buf(bytes).map_err(|_| none())?;
        let keys: Vec<_> = found.filter_map(std::result::Result::ok).take(KEYS).collect();
        if keys.is_empty() {
            return Err(none());
        }
        Ok(Self { keys, password: Password::from(password.unwrap_or_default()) })
    }
}
