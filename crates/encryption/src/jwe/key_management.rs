//! Wrapping of content keys (RFC 7518, section 4).

use aes_kw::Kek;
use p256::elliptic_curve::generic_array::GenericArray;
use rsa::rand_core::OsRng;
use rsa::{Oaep, RsaPrivateKey, RsaPublicKey};
use sha1::Sha1;
use sha2_of_keys::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::message::Header;
use super::optional;
use crate::keys::{EcJwk, EcPublicKey, EcSecretKey};
use crate::{Error, Result};

/// An algorithm that wraps content keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    RsaOaep,
    RsaOaep256,
    EcdhA128Kw,
    EcdhA192Kw,
    EcdhA256Kw,
}

impl Algorithm {
    const ALL: [Self; 5] = [Self::RsaOaep, Self::RsaOaep256, Self::EcdhA128Kw, Self::EcdhA192Kw, Self::EcdhA256Kw];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RsaOaep => "RSA-OAEP",
            Self::RsaOaep256 => "RSA-OAEP-256",
            Self::EcdhA128Kw => "ECDH-ES+A128KW",
            Self::EcdhA192Kw => "ECDH-ES+A192KW",
            Self::EcdhA256Kw => "ECDH-ES+A256KW",
        }
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    pub(crate) fn is_rsa(self) -> bool {
        matches!(self, Self::RsaOaep | Self::RsaOaep256)
    }

    /// RSA-OAEP has SHA-1 (RFC 7518, section 4.3), for which no attack is known.
    fn padding(self) -> Oaep {
        match self {
            Self::RsaOaep256 => Oaep::new::<Sha256>(),
            _ => Oaep::new::<Sha1>(),
        }
    }

    /// Returns the length of the key that wraps, in bytes.
    fn wrapping_length(self) -> usize {
        match self {
            Self::EcdhA128Kw => 16,
            Self::EcdhA192Kw => 24,
            _ => 32,
        }
    }

    pub(super) fn wrap_with_rsa(self, key: &RsaPublicKey, content_key: &[u8]) -> Result<Vec<u8>> {
        key.encrypt(&mut OsRng, self.padding(), content_key).map_err(wrap_error)
    }

    pub(super) fn unwrap_with_rsa(self, key: &RsaPrivateKey, wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        key.decrypt_blinded(&mut OsRng, self.padding(), wrapped).ok().map(Zeroizing::new)
    }

    /// Wraps with a key that a new key and the recipient's one agree on. Returns the new public key, too.
    pub(super) fn wrap_with_ec(self, key: &EcPublicKey, content_key: &[u8]) -> Result<(EcJwk, Vec<u8>)> {
        let ephemeral = EcSecretKey::generate(key.curve());
        let secret = ephemeral.agree(key).expect("both keys are on one curve");
        let wrapping_key = self.derive(&secret, &[], &[]);
        let mut wrapped = vec![0; content_key.len() + 8];
        self.key_wrap(&wrapping_key, content_key, &mut wrapped, true).map_err(wrap_error)?;
        Ok((EcJwk::of(&ephemeral.public()), wrapped))
    }

    pub(super) fn unwrap_with_ec(
        self,
        key: &EcSecretKey,
        header: &Header,
        wrapped: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let ephemeral = header.epk.as_ref()?.key().ok()?;
        let secret = key.agree(&ephemeral)?;
        let (apu, apv) = (optional(header.apu.as_ref())?, optional(header.apv.as_ref())?);
        let wrapping_key = self.derive(&secret, &apu, &apv);
        let mut content_key = Zeroizing::new(vec![0; wrapped.len().checked_sub(8)?]);
        self.key_wrap(&wrapping_key, wrapped, &mut content_key, false).ok()?;
        Some(content_key)
    }

    /// Derives the wrapping key from the agreed secret: one round of the Concat KDF with SHA-256 (RFC 7518, section
    /// 4.6.2).
    fn derive(self, secret: &[u8], apu: &[u8], apv: &[u8]) -> Zeroizing<Vec<u8>> {
        let length = self.wrapping_length();
        let mut hash = Sha256::new().chain_update(1_u32.to_be_bytes()).chain_update(secret);
        for part in [self.name().as_bytes(), apu, apv] {
            hash = hash.chain_update((part.len() as u32).to_be_bytes()).chain_update(part);
        }
        let hash = hash.chain_update((length as u32 * 8).to_be_bytes()).finalize();
        Zeroizing::new(hash[..length].to_vec())
    }

    /// Wraps or unwraps with AES Key Wrap (RFC 3394).
    fn key_wrap(self, key: &[u8], input: &[u8], output: &mut [u8], wraps: bool) -> Result<(), aes_kw::Error> {
        macro_rules! with {
            ($cipher:ty) => {{
                let kek = Kek::<$cipher>::new(GenericArray::from_slice(key));
                if wraps { kek.wrap(input, output) } else { kek.unwrap(input, output) }
            }};
        }
        match self {
            Self::EcdhA128Kw => with!(aes::Aes128),
            Self::EcdhA192Kw => with!(aes::Aes192),
            _ => with!(aes::Aes256),
        }
    }
}

fn wrap_error(error: impl std::fmt::Display) -> Error {
    Error::Wrap { scheme: "jwe", reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7518, appendix C, whose algorithm is A128GCM without key wrap.
    #[test]
    fn the_derivation_depends_on_all_inputs() {
        let secret = [7; 32];
        let key = Algorithm::EcdhA256Kw.derive(&secret, b"Alice", b"Bob");
        assert_eq!(key.len(), 32);
        assert_ne!(key, Algorithm::EcdhA256Kw.derive(&secret, b"", b"AliceBob"));
        assert_ne!(key[..24], Algorithm::EcdhA192Kw.derive(&secret, b"Alice", b"Bob")[..]);
        assert_ne!(key, Algorithm::EcdhA256Kw.derive(&[8; 32], b"Alice", b"Bob"));
    }
}
