//! Secret keys of files.

use pgp::composed::{Deserializable as _, PlainSessionKey, SignedSecretKey};
use pgp::packet::PublicKeyEncryptedSessionKey;
use pgp::types::{DecryptionKey as _, EskType, Password, PkeskVersion};

use crate::limits::{KEY_RING_LIMIT, at_most};
use crate::{Error, Result};

/// The most secret keys of a file.
const KEYS: usize = 64;

/// A secret key with its subkeys.
pub(crate) struct SecretKey(SignedSecretKey);

impl SecretKey {
    /// Decrypts a session key. Keys that are not for it, or locked with another password, give `None`, as does wrong
    /// padding.
    pub(super) fn session_key(
        &self,
        wrapped: &PublicKeyEncryptedSessionKey,
        password: &Password,
    ) -> Option<PlainSessionKey> {
        let esk_type = match wrapped.version() {
            PkeskVersion::V3 => EskType::V3_4,
            PkeskVersion::V6 => EskType::V6,
            PkeskVersion::Other(_) => return None,
        };
        let values = wrapped.values().ok()?;
        let primary = &self.0.primary_key;
        if wrapped.match_identity(primary.public_key())
            && let Ok(Ok(session_key)) = primary.decrypt(password, values, esk_type)
        {
            return Some(session_key);
        }
        let mut subkeys = self.0.secret_subkeys.iter().filter(|subkey| wrapped.match_identity(subkey.key.public_key()));
        subkeys.find_map(|subkey| subkey.key.decrypt(password, values, esk_type).ok()?.ok())
    }
}

/// The secret keys of one file, with the password of all of them.
pub(crate) struct SecretKeys {
    pub(super) keys: Vec<SecretKey>,
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
        let keys: Vec<_> = found.filter_map(std::result::Result::ok).take(KEYS).map(SecretKey).collect();
        if keys.is_empty() {
            return Err(none());
        }
        Ok(Self { keys, password: Password::from(password.unwrap_or_default()) })
    }
}
