//! The parameters of a tree.

use crate::{Algorithm, Error, Result};

/// The default size of blocks in bytes.
pub const DEFAULT_BLOCK: u32 = 4096;
/// The smallest size of blocks in bytes.
pub const MIN_BLOCK: u32 = 512;
/// The largest size of blocks in bytes (`VERITY_BLOCK_SIZE_OK` of cryptsetup). Kernels take no more than a page.
pub const MAX_BLOCK: u32 = 512 << 10;
/// The largest salt in bytes, as the superblock has room for.
pub const MAX_SALT: usize = 256;

/// The length of the default salt in bytes.
const DEFAULT_SALT: usize = 32;

/// The layout of hash blocks, and the place of the salt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HashType {
    /// Type 0, the first version of Chromium OS: the salt follows the block, and digests are not padded.
    ChromeOs,
    /// Type 1: the salt precedes the block, and digests are padded to a power of two.
    #[default]
    Normal,
}

impl HashType {
    /// Returns the number in superblocks and in tables of the device-mapper.
    pub fn number(self) -> u32 {
        match self {
            Self::ChromeOs => 0,
            Self::Normal => 1,
        }
    }

    /// Returns the type of a number.
    pub fn of_number(number: u32) -> Option<Self> {
        [Self::ChromeOs, Self::Normal].into_iter().find(|kind| kind.number() == number)
    }
}

/// The parameters of a tree. The root hash depends on all of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Parameters {
    /// The hash algorithm.
    pub algorithm: Algorithm,
    /// The layout of hash blocks.
    pub hash_type: HashType,
    /// The size of the image's blocks in bytes: a power of two from [`MIN_BLOCK`] to [`MAX_BLOCK`].
    pub data_block: u32,
    /// The size of the tree's blocks in bytes, in the same range.
    pub hash_block: u32,
    /// The salt, at most [`MAX_SALT`] bytes.
    pub salt: Vec<u8>,
}

/// SHA-256, type 1, blocks of 4096 bytes, and a fixed salt of 32 zero bytes. A fixed salt makes trees reproducible, and
/// digests of blocks reusable.
impl Default for Parameters {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::Sha256,
            hash_type: HashType::Normal,
            data_block: DEFAULT_BLOCK,
            hash_block: DEFAULT_BLOCK,
            salt: vec![0; DEFAULT_SALT],
        }
    }
}

impl Parameters {
    /// Checks the ranges of all fields.
    ///
    /// # Errors
    /// - [`Error::BlockSize`] for a size that is not a power of two in the range.
    /// - [`Error::LongSalt`] for a salt of more than [`MAX_SALT`] bytes.
    pub fn check(&self) -> Result<()> {
        for size in [self.data_block, self.hash_block] {
            if !size.is_power_of_two() || !(MIN_BLOCK..=MAX_BLOCK).contains(&size) {
                return Err(Error::BlockSize { size });
            }
        }
        if self.salt.len() > MAX_SALT {
            return Err(Error::LongSalt { length: self.salt.len() });
        }
        Ok(())
    }

    /// Returns the salt in hexadecimal digits, or `-` if it is empty, as in tables of the device-mapper.
    pub fn salt_text(&self) -> String {
        if self.salt.is_empty() { "-".to_owned() } else { hex(&self.salt) }
    }
}

/// Parses a salt: hexadecimal digits, or `-` for none.
///
/// # Errors
/// [`Error::NotHexadecimal`], or [`Error::LongSalt`] for more than [`MAX_SALT`] bytes.
pub fn parse_salt(text: &str) -> Result<Vec<u8>> {
    let salt = if text == "-" { Vec::new() } else { parse_hex(text)? };
    if salt.len() > MAX_SALT { Err(Error::LongSalt { length: salt.len() }) } else { Ok(salt) }
}

/// Returns lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Parses hexadecimal digits of whole bytes, at least one.
pub(crate) fn parse_hex(text: &str) -> Result<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pair = |pair: &[u8]| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?);
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
    bytes.filter(|bytes| !bytes.is_empty()).ok_or(Error::NotHexadecimal)
}
