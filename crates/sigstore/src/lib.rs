//! Verifies and makes sigstore signatures of images: bytes in, a verdict out.
//!
//! The crate uses no network, no files, no environment and no clock. The time of a verification is a parameter.

mod encoding;
mod error;
mod keys;
pub mod strict_json;

pub use encoding::{PEM_BLOCKS_LIMIT, PEM_LIMIT};
pub use error::{Error, Result};
pub use keys::{KeyKind, PRIVATE_KEY_LIMIT, PrivateKey, PublicKey, RSA_BITS_MAX, RSA_BITS_MIN, SCRYPT_N};
