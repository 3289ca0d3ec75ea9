//! Limits on the inputs of this crate.

#[cfg(feature = "ciphers")]
use crate::{Error, Result};

/// The most bytes of an annotation with wrapped keys, in base64.
pub const ANNOTATION_LIMIT: usize = 1 << 20;

/// The most wrapped keys of one annotation.
pub const WRAPPED_KEYS: usize = 64;

/// The most recipients of one wrapped key.
pub const WRAPPED_RECIPIENTS: usize = 256;

/// The most attempts to unwrap the key of one layer. Each can be a private operation of RSA.
pub const KEY_ATTEMPTS: usize = 1024;

/// The most bytes of a layer's decrypted options: its key and nonce.
pub const LAYER_OPTIONS_LIMIT: usize = 16 << 10;

/// The most bytes of a file with a key or a certificate.
pub const KEY_FILE_LIMIT: usize = 1 << 20;

/// The most bytes of an OpenPGP keyring.
pub const KEY_RING_LIMIT: usize = 64 << 20;

/// The most bits of an RSA modulus.
pub const RSA_BITS: usize = 16384;

/// The most rounds of PBKDF2 that decrypt a private key.
pub const KEY_DERIVATION_ROUNDS: u32 = 10_000_000;

/// The most bytes of memory that scrypt takes to decrypt a private key.
pub const KEY_DERIVATION_MEMORY: u64 = 1 << 30;

/// Checks a number against a limit with a name.
///
/// # Errors
/// [`Error::Limit`]: the number is larger.
#[cfg(feature = "ciphers")]
pub(crate) fn at_most(number: usize, limit: usize, name: &'static str, subject: &'static str) -> Result<()> {
    if number > limit { Err(Error::Limit { subject, name, limit: limit as u64 }) } else { Ok(()) }
}
