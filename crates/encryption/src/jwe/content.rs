//! Encryption of the content (RFC 7518, section 5).

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockDecryptMut as _, KeyIvInit as _};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::AeadInPlace as _;
use aes_gcm::aead::consts::U12;
use aes_gcm::{AesGcm, KeyInit as _};
use cbc::Decryptor;
use hmac::{Hmac, Mac as _};
use p256::elliptic_curve::generic_array::GenericArray;
use rsa::rand_core::{OsRng, RngCore as _};
use sha2_of_keys::{Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use crate::encoding::random;
use crate::{Error, Result};

/// The length of an initialisation vector of GCM in bytes.
const GCM_IV: usize = 12;
/// The length of a tag of GCM in bytes.
const GCM_TAG: usize = 16;
const CBC_IV: usize = 16;

/// A cipher of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentEncryption {
    A128Gcm,
    A192Gcm,
    A256Gcm,
    A128Cbc,
    A192Cbc,
    A256Cbc,
}

/// An encrypted content.
pub(super) struct Sealed {
    pub(super) iv: Vec<u8>,
    pub(super) ciphertext: Vec<u8>,
    pub(super) tag: Vec<u8>,
}

/// Decrypts GCM (NIST SP 800-38D) with an initialisation vector of 96 bits.
macro_rules! open_gcm {
    ($cipher:ty, $key:expr, $additional:expr, $sealed:expr) => {{
        let sealed: &Sealed = $sealed;
        if sealed.iv.len() != GCM_IV || sealed.tag.len() != GCM_TAG {
            return None;
        }
        let cipher = AesGcm::<$cipher, U12>::new_from_slice($key).ok()?;
        let mut plain = Zeroizing::new(sealed.ciphertext.clone());
        let (iv, tag) = (GenericArray::from_slice(&sealed.iv), GenericArray::from_slice(&sealed.tag));
        cipher.decrypt_in_place_detached(iv, $additional, &mut plain, tag).ok()?;
        Some(plain)
    }};
}

/// Decrypts CBC with HMAC (RFC 7518, section 5.2.2.2). The tag is checked before the padding.
macro_rules! open_cbc {
    ($cipher:ty, $hash:ty, $key:expr, $additional:expr, $sealed:expr) => {{
        let sealed: &Sealed = $sealed;
        let (mac_key, cipher_key) = $key.split_at($key.len() / 2);
        if sealed.iv.len() != CBC_IV || sealed.tag.len() != mac_key.len() {
            return None;
        }
        let mut mac = <Hmac<$hash> as hmac::Mac>::new_from_slice(mac_key).ok()?;
        mac.update($additional);
        mac.update(&sealed.iv);
        mac.update(&sealed.ciphertext);
        mac.update(&($additional.len() as u64 * 8).to_be_bytes());
        mac.verify_truncated_left(&sealed.tag).ok()?;
        let cipher = Decryptor::<$cipher>::new_from_slices(cipher_key, &sealed.iv).ok()?;
        cipher.decrypt_padded_vec_mut::<Pkcs7>(&sealed.ciphertext).ok().map(Zeroizing::new)
    }};
}

impl ContentEncryption {
    const ALL: [Self; 6] = [Self::A128Gcm, Self::A192Gcm, Self::A256Gcm, Self::A128Cbc, Self::A192Cbc, Self::A256Cbc];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::A128Gcm => "A128GCM",
            Self::A192Gcm => "A192GCM",
            Self::A256Gcm => "A256GCM",
            Self::A128Cbc => "A128CBC-HS256",
            Self::A192Cbc => "A192CBC-HS384",
            Self::A256Cbc => "A256CBC-HS512",
        }
    }

    pub(super) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|encryption| encryption.name() == name)
    }

    /// Returns the length of a key in bytes. That of CBC has a half for HMAC.
    pub(super) fn key_length(self) -> usize {
        match self {
            Self::A128Gcm => 16,
            Self::A192Gcm => 24,
            Self::A256Gcm | Self::A128Cbc => 32,
            Self::A192Cbc => 48,
            Self::A256Cbc => 64,
        }
    }

    pub(super) fn new_key(self) -> Zeroizing<Vec<u8>> {
        let mut key = Zeroizing::new(vec![0; self.key_length()]);
        OsRng.fill_bytes(&mut key);
        key
    }

    /// Encrypts with GCM. The CBC forms are only read.
    pub(super) fn encrypt(self, key: &[u8], additional: &[u8], plain: &[u8]) -> Result<Sealed> {
        let iv: [u8; GCM_IV] = random();
        let mut bytes = plain.to_vec();
        let tag = AesGcm::<Aes256, U12>::new_from_slice(key)
            .ok()
            .and_then(|cipher| {
                cipher.encrypt_in_place_detached(GenericArray::from_slice(&iv), additional, &mut bytes).ok()
            })
            .ok_or_else(|| Error::Wrap { scheme: "jwe", reason: format!("{} failed", self.name()) })?;
        Ok(Sealed { iv: iv.to_vec(), ciphertext: bytes, tag: tag.to_vec() })
    }

    /// Decrypts, and returns `None` if the key or the bytes are wrong.
    pub(super) fn decrypt(self, key: &[u8], additional: &[u8], sealed: &Sealed) -> Option<Zeroizing<Vec<u8>>> {
        if key.len() != self.key_length() {
            return None;
        }
        match self {
            Self::A128Gcm => open_gcm!(Aes128, key, additional, sealed),
            Self::A192Gcm => open_gcm!(Aes192, key, additional, sealed),
            Self::A256Gcm => open_gcm!(Aes256, key, additional, sealed),
            Self::A128Cbc => open_cbc!(Aes128, Sha256, key, additional, sealed),
            Self::A192Cbc => open_cbc!(Aes192, Sha384, key, additional, sealed),
            Self::A256Cbc => open_cbc!(Aes256, Sha512, key, additional, sealed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7518, appendix B.1.
    #[test]
    fn cbc_with_hmac_is_that_of_the_standard() {
        let key: Vec<u8> = (0..32).collect();
        let hex = |text: &str| -> Vec<u8> {
            let digits: String = text.split_whitespace().collect();
            (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
        };
        let plain = b"A cipher system must not be required to be secret, and it must be able to fall into the hands of the enemy without inconvenience";
        let sealed = Sealed {
            iv: hex("1a f3 8c 2d c2 b9 6f fd d8 66 94 09 23 41 bc 04"),
            ciphertext: hex(
                "c8 0e df a3 2d df 39 d5 ef 00 c0 b4 68 83 42 79 a2 e4 6a 1b 80 49 f7 92 f7 6b fe 54 b9 03 a9 c9
                a9 4a c9 b4 7a d2 65 5c 5f 10 f9 ae f7 14 27 e2 fc 6f 9b 3f 39 9a 22 14 89 f1 63 62 c7 03 23 36
                09 d4 5a c6 98 64 e3 32 1c f8 29 35 ac 40 96 c8 6e 13 33 14 c5 40 19 e8 ca 79 80 df a4 b9 cf 1b
                38 4c 48 6f 3a 54 c5 10 78 15 8e e5 d7 9d e5 9f bd 34 d8 48 b3 d6 95 50 a6 76 46 34 44 27 ad e5
                4b 88 51 ff b5 98 f7 f8 00 74 b9 47 3c 82 e2 db",
            ),
            tag: hex("65 2c 3f a3 6b 0a 7c 5b 32 19 fa b3 a3 0b c1 c4"),
        };
        let additional = b"The second principle of Auguste Kerckhoffs";
        let open = |sealed: &Sealed| ContentEncryption::A128Cbc.decrypt(&key, additional, sealed);
        assert_eq!(open(&sealed).unwrap().as_slice(), plain);
        let Sealed { iv, ciphertext, mut tag } = sealed;
        tag[0] ^= 1;
        assert!(open(&Sealed { iv, ciphertext, tag }).is_none());
    }

    #[test]
    fn gcm_comes_back() {
        let encryption = ContentEncryption::A256Gcm;
        let key = encryption.new_key();
        let sealed = encryption.encrypt(&key, b"header", b"plain").unwrap();
        assert_eq!(encryption.decrypt(&key, b"header", &sealed).unwrap().as_slice(), b"plain");
        assert!(encryption.decrypt(&key, b"other", &sealed).is_none());
        assert!(encryption.decrypt(&encryption.new_key(), b"header", &sealed).is_none());
        assert!(ContentEncryption::A128Gcm.decrypt(&key, b"header", &sealed).is_none());
    }
}
