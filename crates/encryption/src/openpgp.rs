//! Keys wrapped in OpenPGP messages (RFC 9580).

mod encryption_key;
mod framing;
mod secret_keys;

use std::io::Read as _;

use pgp::composed::{Deserializable as _, Message, MessageBuilder, PlainSessionKey, SignedPublicKey};
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{
    Packet, PacketParser, PublicKeyEncryptedSessionKey, SymEncryptedProtectedData, SymEncryptedProtectedDataConfig,
};
use pgp::types::Seipdv1ReadMode;
use rsa::rand_core::OsRng;
use zeroize::Zeroizing;

pub(crate) use self::encryption_key::{EncryptionKey, find};
pub(crate) use self::secret_keys::SecretKeys;
use crate::decryption_keys::Attempts;
use crate::limits::{ANNOTATION_LIMIT, LAYER_OPTIONS_LIMIT, WRAPPED_RECIPIENTS, at_most};
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
    let Some((wrapped, data)) = read(bytes) else { return Ok(None) };
    for wrapped in &wrapped {
        for keys in keys {
            for key in &keys.keys {
                attempts.take()?;
                let session_key = key.session_key(wrapped, &keys.password);
                let Some(plain) = session_key.and_then(|session_key| open(&data, &session_key)) else { continue };
                at_most(plain.len(), LAYER_OPTIONS_LIMIT, "LAYER_OPTIONS_LIMIT", "the encrypted options of the layer")?;
                return Ok(Some(plain));
            }
        }
    }
    Ok(None)
}

/// Reads the wrapped session keys and the encrypted data of a message. Messages without integrity protection are none.
fn read(bytes: &[u8]) -> Option<(Vec<PublicKeyEncryptedSessionKey>, SymEncryptedProtectedData)> {
    let joined = framing::joined(bytes)?;
    let mut keys = Vec::new();
    for packet in PacketParser::new(&joined[..]) {
        match packet.ok()? {
            Packet::PublicKeyEncryptedSessionKey(key) if keys.len() < WRAPPED_RECIPIENTS => keys.push(key),
            Packet::SymEncryptedProtectedData(data) => return Some((keys, data)),
            _ => {}
        }
    }
    None
}

/// Decrypts the data with a session key. The modification detection code is checked before a byte is returned.
fn open(data: &SymEncryptedProtectedData, session_key: &PlainSessionKey) -> Option<Zeroizing<Vec<u8>>> {
    let mode = Seipdv1ReadMode::CheckFirst { max_message_size: ANNOTATION_LIMIT };
    let packets = match (data.config(), session_key) {
        (SymEncryptedProtectedDataConfig::V1, PlainSessionKey::V3_4 { sym_alg, key }) => {
            data.decrypt(key.as_ref(), Some(*sym_alg), mode)
        }
        (SymEncryptedProtectedDataConfig::V2 { .. }, PlainSessionKey::V6 { key }) => {
            data.decrypt(key.as_ref(), None, mode)
        }
        _ => return None,
    };
    let packets = Zeroizing::new(packets.ok()?);
    let joined = Zeroizing::new(framing::joined(&packets)?);
    let mut message = Message::from_bytes(&joined[..]).ok()?;
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
