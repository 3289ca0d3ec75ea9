//! The superblock (`struct verity_sb` of cryptsetup's `lib/verity/verity.c`).

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::{Algorithm, Error, HashType, Parameters, Result, RootHash};

/// The size of a superblock in bytes.
pub const SUPERBLOCK: usize = 512;

const MAGIC: &[u8; 8] = b"verity\0\0";
const VERSION: u32 = 1;

/// The offsets of fields.
const AT_VERSION: usize = 8;
const AT_HASH_TYPE: usize = 12;
const AT_UUID: usize = 16;
const AT_ALGORITHM: usize = 32;
const AT_DATA_BLOCK: usize = 64;
const AT_HASH_BLOCK: usize = 68;
const AT_DATA_BLOCKS: usize = 72;
const AT_SALT_LENGTH: usize = 80;
const AT_SALT: usize = 88;
const AFTER_SALT: usize = AT_SALT + crate::MAX_SALT;

/// The UUID of a tree. It displays in the usual form of 36 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// Returns the UUID that is derived from a root hash, so that equal trees have equal bytes (RFC 9562, version 8).
    pub fn of(root_hash: &RootHash) -> Self {
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(root_hash.as_bytes()).for_each(|(to, from)| *to = *from);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, byte) in self.0.iter().enumerate() {
            let dash = if matches!(number, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

/// A superblock. It is not authenticated by the root hash, apart from the parameters, which the root hash depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// The UUID of the tree.
    pub uuid: Uuid,
    /// The parameters of the tree.
    pub parameters: Parameters,
    /// The number of the image's blocks, at least 1.
    pub data_blocks: u64,
}

impl Superblock {
    /// Reads the superblock at `offset` bytes of a file, and checks all its fields.
    ///
    /// # Errors
    /// - [`Error::Offset`] if the offset is not a multiple of 512.
    /// - [`Error::NoSuperblock`] if there is none, or if the file ends before.
    /// - [`Error::Superblock`], [`Error::BlockSize`] or [`Error::LongSalt`] for an unknown version, type or algorithm, or
    ///   a number that is out of range.
    /// - [`Error::Tree`] if the file cannot be read.
    pub fn read(file: &File, offset: u64) -> Result<Self> {
        if !offset.is_multiple_of(SUPERBLOCK as u64) {
            return Err(Error::Offset { offset });
        }
        let mut bytes = [0; SUPERBLOCK];
        match file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Self::parse(&bytes, offset),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Error::NoSuperblock { offset }),
            Err(error) => Err(Error::Tree(error)),
        }
    }

    /// Parses the bytes of a superblock. `offset` is for the error.
    ///
    /// # Errors
    /// Those of [`Self::read`], without [`Error::Tree`].
    pub fn parse(bytes: &[u8; SUPERBLOCK], offset: u64) -> Result<Self> {
        match bytes.strip_prefix(MAGIC) {
            Some(fields) => Self::of_fields(fields),
            None => Err(Error::NoSuperblock { offset }),
        }
    }

    /// Parses the bytes after the magic.
    pub(crate) fn of_fields(fields: &[u8]) -> Result<Self> {
        let mut bytes = [0; SUPERBLOCK];
        bytes[MAGIC.len()..].iter_mut().zip(fields).for_each(|(to, from)| *to = *from);
        let bytes = &bytes;
        let version = number(bytes, AT_VERSION);
        if version != VERSION {
            return Err(unsupported("version", version));
        }
        let hash_type = number(bytes, AT_HASH_TYPE);
        let name = &bytes[AT_ALGORITHM..AT_DATA_BLOCK];
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        let name = String::from_utf8_lossy(name);
        let salt_length = usize::from(u16::from_le_bytes(array(bytes, AT_SALT_LENGTH)));
        let salt = bytes[AT_SALT..AFTER_SALT].get(..salt_length).ok_or(Error::LongSalt { length: salt_length })?;
        let parameters = Parameters {
            algorithm: Algorithm::of_name(&name).ok_or_else(|| unsupported("hash algorithm", name.escape_debug()))?,
            hash_type: HashType::of_number(hash_type).ok_or_else(|| unsupported("hash type", hash_type))?,
            data_block: number(bytes, AT_DATA_BLOCK),
            hash_block: number(bytes, AT_HASH_BLOCK),
            salt: salt.to_vec(),
        };
        parameters.check()?;
        let data_blocks = u64::from_le_bytes(array(bytes, AT_DATA_BLOCKS));
        let length = data_blocks.checked_mul(parameters.data_block.into());
        match length.is_some_and(|length| length > 0 && i64::try_from(length).is_ok()) {
            true => Ok(Self { uuid: Uuid(array(bytes, AT_UUID)), parameters, data_blocks }),
            false => Err(unsupported("number of blocks", data_blocks)),
        }
    }

    /// Returns the bytes of the superblock.
    pub fn to_bytes(&self) -> [u8; SUPERBLOCK] {
        let mut bytes = [0; SUPERBLOCK];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        let Parameters { algorithm, hash_type, data_block, hash_block, salt } = &self.parameters;
        put(0, MAGIC);
        put(AT_VERSION, &VERSION.to_le_bytes());
        put(AT_HASH_TYPE, &hash_type.number().to_le_bytes());
        put(AT_UUID, &self.uuid.0);
        put(AT_ALGORITHM, algorithm.name().as_bytes());
        put(AT_DATA_BLOCK, &data_block.to_le_bytes());
        put(AT_HASH_BLOCK, &hash_block.to_le_bytes());
        put(AT_DATA_BLOCKS, &self.data_blocks.to_le_bytes());
        let salt = &salt[..salt.len().min(crate::MAX_SALT)];
        put(AT_SALT_LENGTH, &(salt.len() as u16).to_le_bytes());
        put(AT_SALT, salt);
        bytes
    }

    /// Returns the number of the first hash block of the tree in its file, if the superblock is at `offset`: the
    /// `HASHSTART` of a table of the device-mapper.
    ///
    /// # Errors
    /// [`Error::Offset`] if the offset is not a multiple of 512, [`Error::TooLarge`] if it is too large.
    pub fn hash_start(&self, offset: u64) -> Result<u64> {
        crate::geometry::first_block(&self.parameters, offset)
    }

    /// Returns the length in bytes of the part of the image that the tree protects.
    pub fn data_length(&self) -> u64 {
        self.data_blocks.saturating_mul(self.parameters.data_block.into())
    }
}

fn unsupported(field: &'static str, value: impl fmt::Display) -> Error {
    Error::Superblock { field, value: value.to_string() }
}

fn array<const N: usize>(bytes: &[u8; SUPERBLOCK], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice has this length")
}

fn number(bytes: &[u8; SUPERBLOCK], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}
