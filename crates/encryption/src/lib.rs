//! Encrypts and decrypts the layers of container images, as ocicrypt does (containers/ocicrypt, spec/ and
//! keywrap/).
//!
//! A layer is compressed, and then encrypted with AES-256 in counter mode. Its HMAC-SHA256 covers the ciphertext. The
//! layer's key is wrapped for each recipient with JWE (RFC 7516), PKCS #7 (RFC 5652) or OpenPGP (RFC 9580), and is in
//! annotations of the layer's descriptor.
//!
//! [`DecryptionKeys::layer_key`] unwraps the key of a layer, [`LayerKey::verify`] checks the HMAC of a ciphertext, and
//! [`LayerKey::decrypt`] decrypts it. [`Encrypting`] encrypts a layer for [`Recipients`].
//!
//! Encryption does not prove the origin of an image: anybody can encrypt for a recipient.
//!
//! Without the feature `ciphers`, which is on by default, all layers and keys are errors, and the crate has no
//! dependencies for them.
//!
//! ```
//! use std::io::Read;
//! use vmroot_encryption::{DecryptionKeys, Encrypting, Recipients};
//!
//! # #[cfg(feature = "ciphers")]
//! # fn example(public_key: &[u8], private_key: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
//! let mut recipients = Recipients::new();
//! recipients.add_jwe(public_key)?;
//! let mut encrypting = Encrypting::new(&b"a compressed layer"[..]);
//! let mut ciphertext = Vec::new();
//! encrypting.read_to_end(&mut ciphertext)?;
//! let annotations = encrypting.finish(&recipients)?.annotations;
//!
//! let mut keys = DecryptionKeys::new();
//! keys.add(private_key, None)?;
//! let key = keys.layer_key(&annotations)?;
//! key.verify(&ciphertext[..])?;
//! let mut plain = Vec::new();
//! key.decrypt(&ciphertext[..]).read_to_end(&mut plain)?;
//! # Ok(())
//! # }
//! ```

mod annotations;
#[cfg(feature = "ciphers")]
mod asn1;
#[cfg(feature = "ciphers")]
mod cipher;
#[cfg(feature = "ciphers")]
mod decryption_keys;
#[cfg(feature = "ciphers")]
mod encoding;
mod error;
#[cfg(feature = "ciphers")]
mod fuzzing;
#[cfg(feature = "ciphers")]
mod jwe;
#[cfg(feature = "ciphers")]
mod keys;
mod limits;
#[cfg(feature = "ciphers")]
mod openpgp;
#[cfg(feature = "ciphers")]
mod options;
#[cfg(feature = "ciphers")]
mod pkcs7;
#[cfg(feature = "ciphers")]
mod recipients;
#[cfg(not(feature = "ciphers"))]
mod without_ciphers;

pub use annotations::{ANNOTATION_PREFIX, without_encryption};
#[cfg(feature = "ciphers")]
pub use cipher::{Decrypting, EncryptedLayer, Encrypting, LayerKey};
#[cfg(feature = "ciphers")]
pub use decryption_keys::{DecryptionKeys, KeyKind};
pub use error::{Error, Result};
#[cfg(feature = "ciphers")]
#[doc(hidden)]
pub use fuzzing::{fuzz_keys, fuzz_wrapped};
pub use limits::{
    ANNOTATION_LIMIT, KEY_ATTEMPTS, KEY_DERIVATION_MEMORY, KEY_DERIVATION_ROUNDS, KEY_FILE_LIMIT, KEY_RING_LIMIT,
    LAYER_OPTIONS_LIMIT, RSA_BITS, WRAPPED_KEYS, WRAPPED_RECIPIENTS,
};
#[cfg(feature = "ciphers")]
pub use recipients::Recipients;
#[cfg(not(feature = "ciphers"))]
pub use without_ciphers::{Decrypting, DecryptionKeys, EncryptedLayer, Encrypting, LayerKey, Recipients};
