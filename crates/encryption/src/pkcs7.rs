//! Keys wrapped with PKCS #7: `EnvelopedData` (RFC 5652, section 6) with RSA and AES-GCM.
//!
//! ocicrypt's messages are not valid DER: the parameters of GCM have the tag 0x10 instead of 0x30, contain the sequence
//! one level deeper, and the nonce has the tag 0x84. The ciphertext is in an OCTET STRING inside the `[0]`. The reader
//! takes these and the valid form (RFC 5084), the writer writes what ocicrypt reads.
//!
//! CBC is not read: without authentication, a decryption would answer questions about the padding.

mod envelope;

use aes::{Aes128, Aes256};
use aes_gcm::aead::AeadInPlace as _;
use aes_gcm::aead::consts::U12;
use aes_gcm::{AesGcm, KeyInit as _};
use p256::elliptic_curve::generic_array::GenericArray;
use rsa::rand_core::{OsRng, RngCore as _};
use rsa::{Pkcs1v15Encrypt, RsaPrivateKey};
use zeroize::Zeroizing;

use self::envelope::{Envelope, TAG_LENGTH, WrappedKey};
use crate::decryption_keys::Attempts;
use crate::encoding::random;
use crate::keys::{Certificate, PrivateKey};
use crate::limits::{LAYER_OPTIONS_LIMIT, WRAPPED_RECIPIENTS, at_most};
use crate::{Error, Result};

/// The length of the content key that [`wrap`] makes, in bytes: AES-128, as in ocicrypt.
const KEY_LENGTH: usize = 16;

/// Encrypts for all recipients.
pub(crate) fn wrap(recipients: &[Certificate], plain: &[u8]) -> Result<Vec<u8>> {
    let failed = |reason: String| Error::Wrap { scheme: "pkcs7", reason };
    let content_key: Zeroizing<[u8; KEY_LENGTH]> = Zeroizing::new(random());
    let nonce = random();
    let mut bytes = plain.to_vec();
    let cipher = AesGcm::<Aes128, U12>::new(GenericArray::from_slice(&*content_key));
    let tag = cipher.encrypt_in_place_detached(GenericArray::from_slice(&nonce), &[], &mut bytes);
    bytes.extend_from_slice(&tag.map_err(|error| failed(error.to_string()))?);
    let mut keys = Vec::new();
    for certificate in recipients {
        let wrapped = certificate.key.encrypt(&mut OsRng, Pkcs1v15Encrypt, &*content_key);
        keys.push((certificate, wrapped.map_err(|error| failed(error.to_string()))?));
    }
    Ok(envelope::write(&keys, &nonce, &bytes))
}

/// Decrypts with the first key that fits. Returns `None` if there is none.
///
/// With certificates, only the wrapped keys for these are tried. Without certificates, all are tried.
///
/// # Errors
/// [`Error::Limit`]
pub(crate) fn unwrap(
    der: &[u8],
    keys: &[PrivateKey],
    certificates: &[Certificate],
    attempts: &mut Attempts,
) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let Ok(envelope) = Envelope::read(der) else { return Ok(None) };
    at_most(envelope.keys.len(), WRAPPED_RECIPIENTS, "WRAPPED_RECIPIENTS", "the number of recipients of a key")?;
    let is_wanted = |key: &WrappedKey<'_>| certificates.is_empty() || certificates.iter().any(|it| key.is_for(it));
    for wrapped in envelope.keys.iter().filter(|key| is_wanted(key)) {
        for key in keys {
            let PrivateKey::Rsa(key) = key else { continue };
            attempts.take()?;
            if let Some(plain) = open(&envelope, wrapped, key) {
                at_most(plain.len(), LAYER_OPTIONS_LIMIT, "LAYER_OPTIONS_LIMIT", "the encrypted options of the layer")?;
                return Ok(Some(plain));
            }
        }
    }
    Ok(None)
}

/// Decrypts the content with a wrapped key.
///
/// A key with wrong padding is replaced by a random one (RFC 3218, section 2.3.2). The tag of the content then fails, as
/// with any wrong key.
fn open(envelope: &Envelope<'_>, wrapped: &WrappedKey<'_>, key: &RsaPrivateKey) -> Option<Zeroizing<Vec<u8>>> {
    let mut content_key = Zeroizing::new(vec![0; envelope.key_length]);
    OsRng.fill_bytes(&mut content_key);
    let unwrapped = key.decrypt_blinded(&mut OsRng, Pkcs1v15Encrypt, wrapped.key).map(Zeroizing::new);
    if let Ok(unwrapped) = unwrapped
        && unwrapped.len() == content_key.len()
    {
        content_key.copy_from_slice(&unwrapped);
    }
    let length = envelope.ciphertext.len().checked_sub(TAG_LENGTH)?;
    let (ciphertext, tag) = envelope.ciphertext.split_at(length);
    let mut plain = Zeroizing::new(ciphertext.to_vec());
    let (nonce, tag) = (GenericArray::from_slice(&envelope.nonce), GenericArray::from_slice(tag));
    let opened = match content_key.len() {
        KEY_LENGTH => {
            let cipher = AesGcm::<Aes128, U12>::new_from_slice(&content_key).ok()?;
            cipher.decrypt_in_place_detached(nonce, &[], &mut plain, tag)
        }
        _ => {
            let cipher = AesGcm::<Aes256, U12>::new_from_slice(&content_key).ok()?;
            cipher.decrypt_in_place_detached(nonce, &[], &mut plain, tag)
        }
    };
    opened.ok().map(|()| plain)
}
