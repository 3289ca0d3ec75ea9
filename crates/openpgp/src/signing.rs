//! Making signed messages.

mod select;
mod transferable;

use std::fmt;
use std::time::SystemTime;

use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{
    OnePassSignature, PublicKey, PublicSubkey, SecretKey, SecretSubkey, SignatureConfig, SignatureType, Subpacket,
    SubpacketData,
};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, KeyVersion, Password, PlainSecretParams, SecretParams, Timestamp};

use crate::certificate::{Certificate, KeyPosition, Now, certificates, is_strong_hash};
use crate::packet::{LITERAL, ONE_PASS, SIGNATURE, write};
use crate::{Error, GnupgHome, MESSAGE_LIMIT, Result, armor};

/// A secret key that signs messages.
pub struct SigningKey {
    fingerprint: String,
    secret: Secret,
    password: Password,
}

/// The packet with the secret numbers.
pub(crate) enum Secret {
    Primary(SecretKey),
    Subkey(SecretSubkey),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads a transferable secret key, as `gpg --export-secret-keys` writes it: binary or armored.
    ///
    /// `user` selects the certificate: a fingerprint, a key id, or a part of a user id. Without it, the file must have
    /// one certificate. A valid signing subkey is preferred to the primary key.
    ///
    /// # Errors
    /// - [`Error::SecretKey`] if no certificate matches, several match, or no key of it can sign at `now`.
    /// - [`Error::Passphrase`] if the key is protected and the passphrase is missing or wrong.
    pub fn from_secret_file(
        bytes: &[u8],
        user: Option<&str>,
        passphrase: Option<&[u8]>,
        now: SystemTime,
    ) -> Result<Self> {
        if bytes.len() > MESSAGE_LIMIT {
            return Err(Error::TooLarge {
                what: "the secret key",
                name: "MESSAGE_LIMIT",
                limit: MESSAGE_LIMIT,
                unit: "bytes",
            });
        }
        let packets = match armor::is_armored(bytes) {
            true => armor::blocks(bytes, "PRIVATE KEY BLOCK").concat(),
            false => bytes.to_vec(),
        };
        let (public, secrets) = transferable::read(&packets)?;
        let certificate = select::certificate(certificates(&public).0, user)?;
        Self::choose(&certificate, now, |certificate, position| {
            let secret = secrets.iter().find(|secret| secret.fingerprint() == certificate.key_fingerprint(position))?;
            Some(secret.unlocked(passphrase))
        })
    }

    /// Takes a key out of a home of GnuPG. See [`Self::from_secret_file`] for `user`.
    ///
    /// # Errors
    /// Those of [`Self::from_secret_file`].
    pub fn from_gnupg(home: &GnupgHome, user: &str, passphrase: Option<&[u8]>, now: SystemTime) -> Result<Self> {
        let certificate = select::certificate(certificates(&home.certificates).0, Some(user))?;
        Self::choose(&certificate, now, |certificate, position| match position {
            KeyPosition::Primary => {
                let numbers = home.secret_of(&certificate.primary, passphrase)?;
                Some(numbers.and_then(|numbers| Secret::primary(certificate.primary.clone(), &numbers)))
            }
            KeyPosition::Subkey(_) => {
                let key = certificate.subkey(position)?;
                let numbers = home.secret_of(key, passphrase)?;
                Some(numbers.and_then(|numbers| Secret::subkey(key.clone(), &numbers)))
            }
        })
    }

    /// Returns the first key that may sign and whose secret `find` has: subkeys first, the newest first.
    fn choose(
        certificate: &Certificate,
        now: SystemTime,
        find: impl Fn(&Certificate, KeyPosition) -> Option<Result<(Secret, Password)>>,
    ) -> Result<Self> {
        let now = Now::of(now);
        let fingerprint = format!("{:X}", certificate.fingerprint());
        let mut positions: Vec<_> = certificate.keys().collect();
        positions.sort_by_key(|&position| std::cmp::Reverse(certificate.key_rank(position)));
        let mut reason = None;
        let mut failure = None;
        let mut is_missing = false;
        for position in positions {
            if let Err(error) = certificate.check_signer(position, now.0, now) {
                reason.get_or_insert(error);
                continue;
            }
            match find(certificate, position) {
                Some(Ok((secret, password))) => return Ok(Self { fingerprint, secret, password }),
                Some(Err(error)) => failure = failure.or(Some(error)),
                None => is_missing = true,
            }
        }
        Err(failure.unwrap_or_else(|| {
            let reason = reason.filter(|_| !is_missing).unwrap_or_else(|| "its secret key is not there".to_owned());
            Error::SecretKey(format!("{fingerprint}: {reason}"))
        }))
    }

    /// Returns the fingerprint of the primary key, in upper-case hex.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Signs bytes, and returns the message: a one-pass signature, the bytes and the signature, not compressed.
    ///
    /// # Errors
    /// - [`Error::TooLarge`] for more than [`MESSAGE_LIMIT`] bytes.
    /// - [`Error::SecretKey`] if the key cannot sign.
    pub fn sign(&self, content: &[u8], now: SystemTime) -> Result<Vec<u8>> {
        if content.len() > MESSAGE_LIMIT / 2 {
            return Err(Error::TooLarge {
                what: "the content",
                name: "MESSAGE_LIMIT",
                limit: MESSAGE_LIMIT / 2,
                unit: "bytes",
            });
        }
        let now = u32::try_from(Now::of(now).0).map_err(|_| Error::SecretKey("the time is out of range".to_owned()))?;
        match &self.secret {
            Secret::Primary(key) => message(key, &self.password, content, Timestamp::from_secs(now)),
            Secret::Subkey(key) => message(key, &self.password, content, Timestamp::from_secs(now)),
        }
        .map_err(|error| Error::SecretKey(error.to_string()))
    }
}

fn message(
    key: &impl pgp::types::SigningKey,
    password: &Password,
    content: &[u8],
    now: Timestamp,
) -> pgp::errors::Result<Vec<u8>> {
    let hash = Some(key.hash_alg()).filter(|&hash| is_strong_hash(Some(hash))).unwrap_or(HashAlgorithm::Sha256);
    let mut config = SignatureConfig::v4(SignatureType::Binary, key.algorithm(), hash);
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint()))?,
        Subpacket::regular(SubpacketData::SignatureCreationTime(now))?,
    ];
    config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(key.legacy_key_id()))?];
    let one_pass = OnePassSignature::v3(SignatureType::Binary, hash, key.algorithm(), key.legacy_key_id());
    let signature = config.sign(key, password, content)?;
    // Literal data: binary, without a name and a date, which are not signed.
    let literal = [b"b\0\0\0\0\0", content].concat();
    Ok([write(ONE_PASS, &one_pass.to_bytes()?), write(LITERAL, &literal), write(SIGNATURE, &signature.to_bytes()?)]
        .concat())
}

impl Secret {
    fn primary(key: PublicKey, numbers: &[u8]) -> Result<(Self, Password)> {
        let secret = plain(&key, numbers)?;
        let key = SecretKey::new(key, secret).map_err(|error| Error::SecretKey(error.to_string()))?;
        Ok((Self::Primary(key), Password::empty()))
    }

    fn subkey(key: PublicSubkey, numbers: &[u8]) -> Result<(Self, Password)> {
        let secret = plain(&key, numbers)?;
        let key = SecretSubkey::new(key, secret).map_err(|error| Error::SecretKey(error.to_string()))?;
        Ok((Self::Subkey(key), Password::empty()))
    }
}

fn plain(key: &impl KeyDetails, numbers: &[u8]) -> Result<SecretParams> {
    if key.version() != KeyVersion::V4 {
        return Err(Error::SecretKey("only keys of version 4 can sign".to_owned()));
    }
    let secret =
        PlainSecretParams::try_from_reader_no_checksum(numbers, key.version(), key.algorithm(), key.public_params());
    secret.map(SecretParams::Plain).map_err(|error| Error::SecretKey(error.to_string()))
}
