//! The root hash.

use std::fmt;
use std::str::FromStr;

use crate::parameters::{hex, parse_hex};
use crate::{Error, Result};

/// The longest digest in bytes: that of SHA-512.
const MAX_LENGTH: usize = 64;

/// The hash that authenticates an image. It displays as lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RootHash(Vec<u8>);

impl RootHash {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// Parses hexadecimal digits in either case.
impl FromStr for RootHash {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bytes = parse_hex(text)?;
        if bytes.len() > MAX_LENGTH { Err(Error::NotHexadecimal) } else { Ok(Self(bytes)) }
    }
}
