//! Keys wrapped with JSON Web Encryption (RFC 7516), in its flattened and its general JSON form.

mod content;
mod key_management;
mod message;

use rsa::RsaPublicKey;
use zeroize::Zeroizing;

use self::content::ContentEncryption;
pub(crate) use self::key_management::Algorithm;
use self::message::{Header, Message};
use crate::decryption_keys::Attempts;
use crate::encoding::{to_url, url};
use crate::keys::{EcPublicKey, PrivateKey, PublicKey};
use crate::limits::{LAYER_OPTIONS_LIMIT, WRAPPED_RECIPIENTS, at_most};
use crate::{Error, Result};

/// A recipient of a JWE.
#[derive(Clone)]
pub(crate) struct Recipient {
    key: Key,
    algorithm: Algorithm,
}

#[derive(Clone)]
enum Key {
    Rsa(RsaPublicKey),
    Ec(EcPublicKey),
}

impl Recipient {
    /// Returns the recipient with a public key. Without an algorithm, it is that of ocicrypt.
    ///
    /// # Errors
    /// [`Error::Key`]: the algorithm is unknown, or one of other keys.
    pub(crate) fn new(key: PublicKey, algorithm: Option<&str>) -> Result<Self> {
        let (key, default) = match key {
            PublicKey::Rsa(key) => (Key::Rsa(key), Algorithm::RsaOaep),
            PublicKey::Ec(key) => (Key::Ec(key), Algorithm::EcdhA256Kw),
        };
        let unsupported = |name: &str| Error::key(format!("its algorithm {name:?} is not supported"));
        let algorithm = match algorithm {
            None => default,
            Some(name) => Algorithm::of_name(name).ok_or_else(|| unsupported(name))?,
        };
        if algorithm.is_rsa() != matches!(key, Key::Rsa(_)) {
            return Err(Error::key(format!("its algorithm {:?} is one of other keys", algorithm.name())));
        }
        Ok(Self { key, algorithm })
    }

    /// Wraps a content key. Returns it with the header that describes the way.
    fn wrap(&self, content_key: &[u8]) -> Result<(Header, Vec<u8>)> {
        let mut header = Header { alg: Some(self.algorithm.name().to_owned()), ..Header::default() };
        let wrapped = match &self.key {
            Key::Rsa(key) => self.algorithm.wrap_with_rsa(key, content_key)?,
            Key::Ec(key) => {
                let (epk, wrapped) = self.algorithm.wrap_with_ec(key, content_key)?;
                header.epk = Some(epk);
                wrapped
            }
        };
        Ok((header, wrapped))
    }
}

/// Encrypts for all recipients. One recipient gives the flattened form, several the general one.
pub(crate) fn wrap(recipients: &[Recipient], plain: &[u8]) -> Result<Vec<u8>> {
    let encryption = ContentEncryption::A256Gcm;
    let content_key = encryption.new_key();
    let mut wrapped = Vec::new();
    for recipient in recipients {
        wrapped.push(recipient.wrap(&content_key)?);
    }
    let enc = Some(encryption.name().to_owned());
    let protected = match wrapped.as_slice() {
        [(header, _)] => Header { enc, ..header.clone() },
        _ => Header { enc, ..Header::default() },
    };
    let protected = to_url(&serde_json::to_vec(&protected).expect("a header has no keys but strings"));
    let sealed = encryption.encrypt(&content_key, protected.as_bytes(), plain)?;
    Ok(Message::write(protected, wrapped, &sealed))
}

/// Decrypts with the first key that fits. Returns `None` if there is none.
///
/// # Errors
/// [`Error::Limit`]
pub(crate) fn unwrap(json: &[u8], keys: &[PrivateKey], attempts: &mut Attempts) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let Ok(message) = serde_json::from_slice::<Message>(json) else { return Ok(None) };
    at_most(message.recipient_count(), WRAPPED_RECIPIENTS, "WRAPPED_RECIPIENTS", "the number of recipients of a key")?;
    for number in 0..message.recipient_count() {
        for key in keys {
            attempts.take()?;
            if let Some(plain) = try_unwrap(&message, number, key) {
                at_most(plain.len(), LAYER_OPTIONS_LIMIT, "LAYER_OPTIONS_LIMIT", "the encrypted options of the layer")?;
                return Ok(Some(plain));
            }
        }
    }
    Ok(None)
}

/// Decrypts with a key for a recipient. All failures look the same.
fn try_unwrap(message: &Message, number: usize, key: &PrivateKey) -> Option<Zeroizing<Vec<u8>>> {
    let (header, wrapped) = message.recipient(number)?;
    // Critical extensions and compression are in no message of ocicrypt.
    if header.crit.is_some() || header.zip.is_some() {
        return None;
    }
    let algorithm = Algorithm::of_name(header.alg.as_deref()?)?;
    let encryption = ContentEncryption::of_name(header.enc.as_deref()?)?;
    let content_key = match key {
        PrivateKey::Rsa(key) if algorithm.is_rsa() => {
            // A key that cannot be unwrapped is replaced by a random one, which fails later (RFC 7516, section 11.5).
            let unwrapped = algorithm.unwrap_with_rsa(key, &wrapped);
            unwrapped.filter(|it| it.len() == encryption.key_length()).unwrap_or_else(|| encryption.new_key())
        }
        PrivateKey::Ec(key) if !algorithm.is_rsa() => algorithm.unwrap_with_ec(key, &header, &wrapped)?,
        _ => return None,
    };
    encryption.decrypt(&content_key, &message.additional_data(), &message.sealed()?)
}

/// Returns decoded base64url of an optional member; empty if it is missing.
fn optional(text: Option<&String>) -> Option<Vec<u8>> {
    text.map_or(Some(Vec::new()), |text| url(text))
}
