//! The choice of the key of a certificate that encrypts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pgp::composed::{EncryptionSeipdV1, MessageBuilder, SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails as _, Tag};
use rsa::rand_core::OsRng;

use super::certificates;
use crate::limits::{KEY_RING_LIMIT, at_most};
use crate::{Error, Result};

/// A key that encrypts.
#[derive(Clone)]
pub(crate) struct EncryptionKey(Choice);

#[derive(Clone)]
enum Choice {
    Primary(Box<SignedPublicKey>),
    Subkey(Box<SignedPublicSubKey>),
}

impl EncryptionKey {
    /// Adds the key to the recipients of a message.
    pub(super) fn add_to<R: std::io::Read>(
        &self,
        message: &mut MessageBuilder<'_, R, EncryptionSeipdV1>,
    ) -> pgp::errors::Result<()> {
        match &self.0 {
            Choice::Primary(key) => message.encrypt_to_key(OsRng, &key.primary_key).map(drop),
            Choice::Subkey(key) => message.encrypt_to_key(OsRng, &key.key).map(drop),
        }
    }
}

/// Finds the keys of a recipient in a keyring: of each certificate with a user id whose name or address it is, or whose
/// fingerprint it is. Without a name, all certificates count.
///
/// # Errors
/// - [`Error::Recipient`]: there is no such certificate, or none that can encrypt now.
/// - [`Error::Limit`]
pub(crate) fn find(ring: &[u8], name: Option<&str>) -> Result<Vec<EncryptionKey>> {
    at_most(ring.len(), KEY_RING_LIMIT, "KEY_RING_LIMIT", "a keyring")?;
    let missing = |reason: &str| Error::Recipient {
        reason: match name {
            Some(name) => format!("OpenPGP recipient {name:?}: {reason}"),
            None => reason.to_owned(),
        },
    };
    let is_wanted = |it: &SignedPublicKey| name.is_none_or(|name| is_of(it, name));
    let named: Vec<_> = certificates(ring).into_iter().filter(is_wanted).collect();
    if named.is_empty() {
        return Err(missing(match name {
            Some(_) => "the keyring has no key with this name, address or fingerprint",
            None => "it has no OpenPGP public key",
        }));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let keys: Vec<_> = named.into_iter().filter_map(|certificate| choose(certificate, now)).collect();
    if keys.is_empty() {
        return Err(missing("its key is expired or revoked, or cannot encrypt"));
    }
    Ok(keys)
}

/// Returns whether a certificate is one of a recipient.
fn is_of(certificate: &SignedPublicKey, name: &str) -> bool {
    let fingerprint = certificate.primary_key.fingerprint().to_string();
    let hex: String = name.trim_start_matches("0x").split_whitespace().collect();
    if fingerprint.eq_ignore_ascii_case(&hex) {
        return true;
    }
    let ids = certificate.details.users.iter().filter_map(|user| str::from_utf8(user.id.id()).ok());
    ids.map(split_user_id).any(|(own, address)| own == name || address == name)
}

/// Splits `Name (comment) <address>` into the name and the address. Either may be missing.
fn split_user_id(id: &str) -> (&str, &str) {
    let (before, address) = match id.rsplit_once('<') {
        Some((before, rest)) => (before, rest.split('>').next().unwrap_or_default()),
        None if id.contains('@') => ("", id),
        None => (id, ""),
    };
    let name = before.split('(').next().unwrap_or_default();
    (name.trim().trim_matches('"'), address.trim())
}

/// Chooses the newest valid key of a certificate that encrypts: of its subkeys, or else the primary one.
fn choose(certificate: SignedPublicKey, now: Duration) -> Option<EncryptionKey> {
    let primary = &certificate.primary_key;
    let details = &certificate.details;
    if details.revocation_signatures.iter().any(|it| it.verify_key(primary).is_ok()) {
        return None;
    }
    let own = details.users.iter().flat_map(|user| {
        let is_valid = |it: &&Signature| it.verify_certification(primary, Tag::UserId, &user.id).is_ok();
        user.signatures.iter().filter(|it| it.typ() != Some(SignatureType::CertRevocation)).filter(is_valid)
    });
    let direct = details.direct_signatures.iter().filter(|it| it.verify_key(primary).is_ok());
    let newest = own.chain(direct).max_by_key(|it| it.created())?;
    if !is_alive(newest, primary.created_at().as_secs().into(), now) {
        return None;
    }
    let usable = certificate.public_subkeys.iter().filter(|subkey| is_usable(subkey, &certificate, now));
    if let Some(subkey) = usable.max_by_key(|subkey| subkey.key.created_at()) {
        return Some(EncryptionKey(Choice::Subkey(Box::new(subkey.clone()))));
    }
    let can_encrypt = primary.algorithm().can_encrypt() && encrypts(newest);
    can_encrypt.then(|| EncryptionKey(Choice::Primary(Box::new(certificate))))
}

/// Returns whether a subkey is bound to its certificate, is not revoked or expired, and may encrypt.
fn is_usable(subkey: &SignedPublicSubKey, certificate: &SignedPublicKey, now: Duration) -> bool {
    let is_valid = |it: &&Signature| it.verify_subkey_binding(&certificate.primary_key, &subkey.key).is_ok();
    let valid: Vec<&Signature> = subkey.signatures.iter().filter(is_valid).collect();
    let is_revoked = valid.iter().any(|it| it.typ() == Some(SignatureType::SubkeyRevocation));
    let Some(newest) = valid.iter().max_by_key(|it| it.created()).filter(|_| !is_revoked) else { return false };
    let is_alive = is_alive(newest, subkey.key.created_at().as_secs().into(), now);
    subkey.key.algorithm().can_encrypt() && is_alive && encrypts(newest)
}

/// Returns whether the flags of a signature let its key encrypt. Those of old keys may be missing.
fn encrypts(signature: &Signature) -> bool {
    let flags = signature.key_flags();
    let has_flags = flags.certify() || flags.sign() || flags.authentication();
    flags.encrypt_comms() || flags.encrypt_storage() || !has_flags
}

/// Returns whether neither a key that was created at a time nor its signature has expired.
fn is_alive(signature: &Signature, created: u64, now: Duration) -> bool {
    let ends = |from: u64, after: u64| after != 0 && from.saturating_add(after) <= now.as_secs();
    let key = signature.key_expiration_time().map_or(0, |it| u64::from(it.as_secs()));
    let own = signature.signature_expiration_time().map_or(0, |it| u64::from(it.as_secs()));
    let signed = signature.created().map_or(0, |it| u64::from(it.as_secs()));
    !ends(created, key) && !ends(signed, own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_ids_are_split() {
        for (id, expected) in [
            ("Ann Other (work) <ann@example.org>", ("Ann Other", "ann@example.org")),
            ("\"Ann\" <ann@example.org>", ("Ann", "ann@example.org")),
            ("<ann@example.org>", ("", "ann@example.org")),
            ("ann@example.org", ("", "ann@example.org")),
            ("Ann", ("Ann", "")),
            ("", ("", "")),
        ] {
            assert_eq!(split_user_id(id), expected, "{id}");
        }
    }
}
