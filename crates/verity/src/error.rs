//! Errors of trees.

use std::fmt;
use std::io;

use vmroot_errors::ErrorKind;
use vmroot_output::Cancelled;

use crate::{Algorithm, MAX_BLOCK, MAX_SALT, MIN_BLOCK};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error from writing or verifying a tree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image cannot be read.
    #[error("the image cannot be read")]
    Image(#[source] io::Error),
    /// The tree cannot be read or written.
    #[error("the hash tree cannot be read or written")]
    Tree(#[source] io::Error),
    /// A size of blocks that is not a power of two in the range.
    #[error("blocks of {size} bytes: the size is a power of two from {MIN_BLOCK} to {MAX_BLOCK}")]
    BlockSize {
        /// The size in bytes.
        size: u32,
    },
    /// A salt that the superblock has no room for.
    #[error("a salt of {length} bytes: the limit is {MAX_SALT}")]
    LongSalt {
        /// Its length in bytes.
        length: usize,
    },
    /// Text that is not a hash or a salt.
    #[error("not the hexadecimal digits of a hash or salt")]
    NotHexadecimal,
    /// An image without a whole number of blocks. Its last bytes would not be protected.
    #[error("the image has {length} bytes, which is no whole number of blocks of {block} bytes")]
    PartialBlock {
        /// The length of the image in bytes.
        length: u64,
        /// The size of blocks in bytes.
        block: u32,
    },
    /// An image without blocks.
    #[error("the image is empty")]
    Empty,
    /// An image or a tree that is longer than 64-bit offsets can express.
    #[error("the hash tree is too large")]
    TooLarge,
    /// A start of the superblock that is not a multiple of 512.
    #[error("the hash tree cannot begin at byte {offset}: the offset is a multiple of 512")]
    Offset {
        /// The offset in bytes.
        offset: u64,
    },
    /// No superblock of dm-verity.
    #[error("no superblock of dm-verity at byte {offset}")]
    NoSuperblock {
        /// The offset in bytes.
        offset: u64,
    },
    /// A superblock with a value that is not supported.
    #[error("a superblock of dm-verity with {field} {value}")]
    Superblock {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// A root hash that is not one of the tree's algorithm.
    #[error("a root hash of {length} bytes, but the tree is of {algorithm}, which has {}", algorithm.digest_length())]
    RootHashLength {
        /// Its length in bytes.
        length: usize,
        /// The algorithm in the superblock.
        algorithm: Algorithm,
    },
    /// An image with fewer blocks than the tree.
    #[error("the image has {length} bytes, but the tree is of {needed}")]
    ShortImage {
        /// The length of the image in bytes.
        length: u64,
        /// The length of the blocks that the tree protects.
        needed: u64,
    },
    /// A file that should have the digests of another file's blocks, and does not or is damaged.
    #[error("not a file of digests, or a damaged one")]
    NotLeaves,
    /// The image or the tree differs from what the root hash stands for.
    #[error("{0}")]
    Corrupt(Fault),
    /// The caller cancelled the work.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// The first part of an image or tree that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The top of the tree does not have the root hash: the hash, the salt or the tree is another one.
    Root,
    /// A block of the image, counted from its start.
    DataBlock(u64),
    /// A block of the tree, counted in hash blocks from the start of the file, as the kernel does.
    HashBlock(u64),
    /// A block of the tree with other bytes than zeros after its digests.
    Spare(u64),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("the hash tree does not have this root hash"),
            Self::DataBlock(block) => write!(f, "block {block} of the image does not match its hash"),
            Self::HashBlock(block) => write!(f, "hash block {block} does not match the hash above it"),
            Self::Spare(block) => write!(f, "hash block {block} has bytes after its digests"),
        }
    }
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Image(error) | Self::Tree(error) => ErrorKind::of_io(error),
            Self::NotLeaves | Self::Corrupt(_) | Self::ShortImage { .. } => ErrorKind::Integrity,
            Self::Cancelled(_) => ErrorKind::Cancelled,
            _ => ErrorKind::Other,
        }
    }
}
