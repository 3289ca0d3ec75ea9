//! Hash trees of dm-verity, in the format of `veritysetup` (cryptsetup, `lib/verity`) and of the kernel
//! (`Documentation/admin-guide/device-mapper/verity.rst`).
//!
//! A tree authenticates each block of a disk image by one root hash. [`format()`] writes the [`Superblock`] and the tree,
//! [`verify`] checks an image against a root hash and names the first wrong block. The image is a [`Data`], which joins
//! files as one device.
//!
//! A digest of a block depends on the salt and on the bytes of the block, not on its place. So the [`Leaves`] of a file
//! are computed once, and each image that has the whole blocks of the file reuses them.
//!
//! Memory is bounded: each thread has one hash block and at most 512 KiB of the image. Forward error correction is out of
//! scope.

mod algorithm;
mod build;
mod data;
mod error;
mod geometry;
mod leaves;
mod parameters;
mod root_hash;
mod superblock;
mod verify;
mod work;

pub use algorithm::Algorithm;
pub use build::{Formatted, Options, format};
pub use data::{Data, KnownRange, Part};
pub use error::{Error, Fault, Result};
pub use leaves::{KeptLeaves, Leaves};
pub use parameters::{DEFAULT_BLOCK, HashType, MAX_BLOCK, MAX_SALT, MIN_BLOCK, Parameters, parse_salt};
pub use root_hash::RootHash;
pub use superblock::{SUPERBLOCK, Superblock, Uuid};
pub use verify::{find_appended, verify};
