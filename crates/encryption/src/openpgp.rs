//! Keys wrapped in OpenPGP messages (RFC 9580).

mod encryption_key;
mod secret_keys;

use std::io::Read as _;

use pgp::composed::{Deserializable as _, Message, MessageBuilder, SignedPublicKey, TheRing};
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use rsa::rand_core::OsRng;
use zeroize::Zeroizing;

pub(crate) use self::encryption_key::{EncryptionKey, find};
pub(crate) use self::secret_keys::SecretKeys;
use crate::decryption_keys::Attempts;
use crate::limits::{LAYER_OPTIONS_LIMIT, at_most};
use crate::{Error, Result};

/// Encrypts for all recipients: a binary message with AES-256 and a modification detection code, without compression.
pub(crate) fn wrap(recipients: &[EncryptionKey], plain: &[u8]) -> Result<Vec<u8>> {
    let failed = |error: pgp::errors::Error| Error::Wrap { scheme: "pgp", reason: error.to_string() };
    let message = MessageBuilder::from_bytes("", plain.to_vec());
    let mut message = message.seipd_v1(OsRng, SymmetricKeyAlgorithm::AES256);
    for recipient in recipients {
        recipient.add_to(&mut message).map_err(failed)?;
    }
    message.to_vec(OsRng).map_err(failed)
}

/// Decrypts with the first key that fits. Returns `None` if there is none.
///
/// # Errors
/// [`Error::Limit`]
pub(crate) fn unwrap(bytes: &[u8], keys: &[SecretKeys], attempts: &mut Attempts) -> Result<Option<Zeroizing<Vec<u8>>>> {
    for keys in keys {
        for key in &keys.keys {
            attempts.take()?;
            let ring = TheRing { secret_keys: vec![key], key_passwords: vec![&keys.password], ..TheRing::default() };
            let Some(plain) = open(bytes, ring) else { continue };
            at_most(plain.len(), LAYER_OPTIONS_LIMIT, "LAYER_OPTIONS_LIMIT", "the encrypted options of the layer")?;
            return Ok(Some(plain));
        }
    }
    Ok(None)
}

/// Decrypts with the keys of a ring. The modification detection code is checked before the first byte is returned.
fn open(bytes: &[u8], ring: TheRing<'_>) -> Option<Zeroizing<Vec<u8>>> {
    let message = Message::from_bytes(bytes).ok()?;
    let (mut message, _) = message.decrypt_the_ring(ring, true).ok()?;
    if message.is_compressed() {
        message = message.decompress().ok()?;
    }
    // A signature in the message is not checked, as in ocicrypt: encryption proves no origin.
    let mut plain = Zeroizing::new(Vec::new());
    message.take(LAYER_OPTIONS_LIMIT as u64 + 1).read_to_end(&mut plain).ok()?;
    Some(plain)
}

/// Reads all certificates of a keyring that can be read, binary or with ASCII armor.
fn certificates(ring: &[u8]) -> Vec<SignedPublicKey> {
    let Ok((keys, _)) = SignedPublicKey::from_reader_many_buf(ring) else { return Vec::new() };
    keys.filter_map(std::result::Result::ok).collect()
}
