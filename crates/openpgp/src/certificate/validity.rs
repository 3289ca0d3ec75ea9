//! Which keys of a certificate may sign now. The rules are those of GnuPG.

use pgp::packet::{Signature, SignatureType, SubpacketData};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, PublicParams, VerifyingKey};

use crate::SELF_SIGNATURES_LIMIT;

use super::binding::{Now, created, key_expiration, may_bind};
use super::{Certificate, Subkey, User};

/// The least size of an RSA or DSA key in bits.
const MIN_BITS: usize = 2048;

/// A key that may have made a signature: the primary key, or a subkey by its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyPosition {
    Primary,
    Subkey(usize),
}

impl Certificate {
    /// Returns the keys, the primary one first.
    pub(crate) fn keys(&self) -> impl Iterator<Item = KeyPosition> {
        std::iter::once(KeyPosition::Primary).chain((0..self.subkeys.len()).map(KeyPosition::Subkey))
    }

    /// Verifies a signature on a message by a key, without any check of the key.
    pub(crate) fn verify(&self, position: KeyPosition, signature: &Signature, content: &[u8]) -> bool {
        match position {
            KeyPosition::Primary => signature.verify(&self.primary, content).is_ok(),
            KeyPosition::Subkey(number) => signature.verify(&self.subkeys[number].key, content).is_ok(),
        }
    }

    /// Returns whether a signature names a key as its issuer.
    pub(crate) fn is_named(&self, position: KeyPosition, signature: &Signature) -> bool {
        match position {
            KeyPosition::Primary => names(signature, &self.primary),
            KeyPosition::Subkey(number) => names(signature, &self.subkeys[number].key),
        }
    }

    /// Checks that a key of the certificate may sign messages now, and made none before it existed. The error is the
    /// reason.
    pub(crate) fn check_signer(&self, position: KeyPosition, signed: u64, now: Now) -> Result<(), String> {
        let own = self.check_primary(now)?;
        let (created_at, may_sign) = match position {
            KeyPosition::Primary => {
                check_strength(&self.primary)?;
                (seconds(&self.primary), own.may_sign)
            }
            KeyPosition::Subkey(number) => {
                let subkey = &self.subkeys[number];
                check_strength(&subkey.key)?;
                (seconds(&subkey.key), self.check_subkey(subkey, now)?)
            }
        };
        if !may_sign {
            return Err("it may not sign messages".to_owned());
        }
        if signed < created_at {
            return Err("it was created after the signature".to_owned());
        }
        Ok(())
    }

    fn check_primary(&self, now: Now) -> Result<PrimaryState, String> {
        let primary = &self.primary;
        if self.has_too_many_signatures {
            // One of those that were left out may be a revocation.
            return Err(format!("a part of it has more than {SELF_SIGNATURES_LIMIT} signatures"));
        }
        if now.is_before(seconds(primary)) {
            return Err("it is from the future".to_owned());
        }
        let revokes = |signature: &&Signature| signature.typ() == Some(SignatureType::KeyRevocation);
        if self.direct.iter().filter(revokes).any(|signature| signature.verify_key(primary).is_ok()) {
            return Err("it is revoked".to_owned());
        }
        let direct = self.direct.iter().filter(|signature| {
            signature.typ() == Some(SignatureType::Key)
                && may_bind(signature, seconds(primary), now)
                && signature.verify_key(primary).is_ok()
        });
        let direct = direct.max_by_key(|signature| created(signature));
        let mut users: Vec<_> = self.users.iter().filter_map(|user| user.binding(primary, now)).collect();
        users.sort_by_key(|signature| std::cmp::Reverse(created(signature)));
        if direct.is_none() && users.is_empty() {
            return Err("it has no user id or signature of its own that is valid".to_owned());
        }
        let own = || direct.into_iter().chain(users.iter().copied());
        let duration = own().find_map(key_expiration);
        if now.has_expired(seconds(primary), duration) {
            return Err("it has expired".to_owned());
        }
        let may_sign = own().find_map(sign_flag).unwrap_or(true) && primary.algorithm().can_sign();
        Ok(PrimaryState { may_sign })
    }

    /// Checks a subkey, and returns whether it may sign.
    fn check_subkey(&self, subkey: &Subkey, now: Now) -> Result<bool, String> {
        let verifies = |signature: &Signature| signature.verify_subkey_binding(&self.primary, &subkey.key).is_ok();
        let revokes = |signature: &&Signature| signature.typ() == Some(SignatureType::SubkeyRevocation);
        if subkey.signatures.iter().filter(revokes).any(verifies) {
            return Err("its subkey is revoked".to_owned());
        }
        let created_at = seconds(&subkey.key);
        let bindings = subkey.signatures.iter().filter(|signature| {
            signature.typ() == Some(SignatureType::SubkeyBinding)
                && may_bind(signature, created_at, now)
                && verifies(signature)
        });
        let Some(binding) = bindings.max_by_key(|signature| created(signature)) else {
            return Err("its subkey has no valid binding".to_owned());
        };
        if now.has_expired(created_at, key_expiration(binding)) {
            return Err("its subkey has expired".to_owned());
        }
        let may_sign = sign_flag(binding).unwrap_or(true) && subkey.key.algorithm().can_sign();
        // Without a signature by the subkey, somebody could bind the subkey of another to an own key.
        let has_back_signature = binding.embedded_signature().is_some_and(|back| {
            back.typ() == Some(SignatureType::KeyBinding)
                && may_bind(back, created_at, now)
                && back.verify_primary_key_binding(&subkey.key, &self.primary).is_ok()
        });
        if may_sign && !has_back_signature {
            return Err("its subkey has not signed the primary key".to_owned());
        }
        Ok(may_sign)
    }
}

/// What the own signatures of a primary key say.
struct PrimaryState {
    may_sign: bool,
}

impl User {
    /// Returns the latest valid self-signature, unless it is a revocation.
    fn binding<V: VerifyingKey + Serialize>(&self, primary: &V, now: Now) -> Option<&Signature> {
        use SignatureType::{CertCasual, CertGeneric, CertPersona, CertPositive, CertRevocation};
        let own = self.signatures.iter().filter(|signature| {
            let type_ = signature.typ();
            matches!(type_, Some(CertGeneric | CertPersona | CertCasual | CertPositive | CertRevocation))
                && may_bind(signature, seconds(primary), now)
                && signature.verify_certification(primary, self.tag, &self.body).is_ok()
        });
        let is_revocation = |signature: &Signature| signature.typ() == Some(CertRevocation);
        let latest = own.max_by_key(|signature| (created(signature), is_revocation(signature)))?;
        (!is_revocation(latest)).then_some(latest)
    }
}

/// Returns whether a signature allows to sign, or `None` if it has no key flags.
fn sign_flag(signature: &Signature) -> Option<bool> {
    let mut subpackets = signature.config()?.hashed_subpackets();
    subpackets.find_map(|subpacket| match &subpacket.data {
        SubpacketData::KeyFlags(flags) => Some(flags.sign()),
        _ => None,
    })
}

fn names(signature: &Signature, key: &impl KeyDetails) -> bool {
    let (ids, fingerprints) = (signature.issuer_key_id(), signature.issuer_fingerprint());
    ids.is_empty() && fingerprints.is_empty()
        || ids.contains(&&key.legacy_key_id())
        || fingerprints.contains(&&key.fingerprint())
}

fn seconds(key: &impl KeyDetails) -> u64 {
    u64::from(key.created_at().as_secs())
}

fn check_strength(key: &impl KeyDetails) -> Result<(), String> {
    match modulus_bits(key.public_params()) {
        Some(bits) if bits < MIN_BITS => Err(format!("it has {bits} bits, and {MIN_BITS} are needed")),
        _ => Ok(()),
    }
}

/// Returns the size of the modulus of an RSA or DSA key in bits: the first number of its first field.
fn modulus_bits(parameters: &PublicParams) -> Option<usize> {
    let fields = match parameters {
        PublicParams::RSA(rsa) => rsa.to_bytes(),
        PublicParams::DSA(dsa) => dsa.to_bytes(),
        _ => return None,
    };
    match fields.ok()?[..] {
        [high, low, ..] => Some(usize::from(u16::from_be_bytes([high, low]))),
        _ => None,
    }
}
