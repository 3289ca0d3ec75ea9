//! Rules for the signatures that bind the parts of a certificate.

use std::time::SystemTime;

use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureVersion, SubpacketData};

/// Self-signatures with SHA-1 count if they are older than this: 2023-02-01. Forging one needs a second preimage, and
/// keys of distributions still have such signatures. Sequoia-PGP has the same date.
const SHA1_BINDINGS_UNTIL: u64 = 1_675_209_600;

/// Signatures may be this many seconds in the future, because clocks differ.
const CLOCK_SKEW: u64 = 600;

/// The time of a verification, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now(pub(crate) u64);

impl Now {
    pub(crate) fn of(time: SystemTime) -> Self {
        Self(time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }

    /// Returns whether a time is later than now, beyond the differences of clocks.
    pub(crate) fn is_before(self, created: u64) -> bool {
        created > self.0.saturating_add(CLOCK_SKEW)
    }

    /// Returns whether something that was created then has ended. A duration of 0 does not end.
    pub(crate) fn has_expired(self, created: u64, duration: Option<u64>) -> bool {
        duration.is_some_and(|duration| duration != 0 && created.saturating_add(duration) <= self.0)
    }
}

/// Returns whether a hash algorithm is accepted for signatures on messages.
pub(crate) fn is_strong_hash(hash: Option<HashAlgorithm>) -> bool {
    use HashAlgorithm::{Sha3_256, Sha3_512, Sha224, Sha256, Sha384, Sha512};
    matches!(hash, Some(Sha224 | Sha256 | Sha384 | Sha512 | Sha3_256 | Sha3_512))
}

/// Returns whether a signature has a subpacket that it marks as critical and that is not evaluated here (RFC 9580,
/// section 5.2.3.7).
pub(crate) fn has_unknown_critical(signature: &Signature) -> bool {
    let Some(config) = signature.config() else { return true };
    config.hashed_subpackets().chain(config.unhashed_subpackets()).any(|subpacket| {
        subpacket.is_critical
            && matches!(
                subpacket.data,
                SubpacketData::Notation(_)
                    | SubpacketData::Experimental(..)
                    | SubpacketData::Other(..)
                    | SubpacketData::RegularExpression(_)
                    | SubpacketData::SignatureTarget(..)
                    | SubpacketData::IntendedRecipientFingerprint(_)
            )
    })
}

pub(crate) fn created(signature: &Signature) -> Option<u64> {
    signature.created().map(|time| u64::from(time.as_secs()))
}

pub(crate) fn expiration(signature: &Signature) -> Option<u64> {
    signature.signature_expiration_time().map(|duration| std::time::Duration::from(duration).as_secs())
}

pub(crate) fn key_expiration(signature: &Signature) -> Option<u64> {
    signature.key_expiration_time().map(|duration| std::time::Duration::from(duration).as_secs())
}

/// Returns whether a signature may bind a part of a certificate now, if it verifies.
pub(super) fn may_bind(signature: &Signature, key_created: u64, now: Now) -> bool {
    let Some(created) = created(signature) else { return false };
    let hash = signature.hash_alg();
    let has_good_hash = is_strong_hash(hash) || hash == Some(HashAlgorithm::Sha1) && created < SHA1_BINDINGS_UNTIL;
    matches!(signature.version(), SignatureVersion::V4 | SignatureVersion::V6)
        && has_good_hash
        && created >= key_created
        && !now.is_before(created)
        && !now.has_expired(created, expiration(signature))
        && !has_unknown_critical(signature)
}
