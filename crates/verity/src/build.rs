//! Writing a superblock and a tree.

use std::fs::File;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;

use vmroot_output::Hook;

use crate::geometry::{Geometry, first_block};
use crate::work::Tree;
use crate::{Data, Error, Parameters, Result, RootHash, Superblock, Uuid};

/// Options of [`format()`] and [`verify`](crate::verify).
#[derive(Debug, Default, Clone, Copy)]
pub struct Options<'a> {
    /// The number of threads that hash. `None` is one for each core. The bytes do not depend on it.
    pub threads: Option<NonZeroUsize>,
    /// Receives progress. `Break` cancels the work.
    pub hook: Option<Hook<'a>>,
}

/// A tree that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Formatted {
    /// The root hash.
    pub root_hash: RootHash,
    /// The superblock.
    pub superblock: Superblock,
    /// The place of the superblock in the file, in bytes.
    pub offset: u64,
    /// The end of the tree in the file, in bytes.
    pub end: u64,
}

/// Writes a superblock at `offset` bytes of a file, and the tree after it. The file must be open for reading and
/// writing, and gets its length from the end of the tree. For a tree that is appended to its image, `offset` is the
/// image's length, and both are the same file.
///
/// The bytes depend only on the image, the parameters, the offset and the UUID, by default [`Uuid::of`] the root hash.
/// The superblock is written last.
///
/// # Errors
/// - The errors of [`Parameters::check`].
/// - [`Error::Empty`] or [`Error::PartialBlock`] if the image has no whole number of blocks.
/// - [`Error::Offset`] if `offset` is not a multiple of 512.
/// - [`Error::TooLarge`] if the tree does not fit into a file.
/// - [`Error::Image`] or [`Error::Tree`] if a file cannot be read or written.
/// - [`Error::Cancelled`] if the hook cancelled the work.
pub fn format(
    data: &Data<'_>,
    file: &File,
    offset: u64,
    parameters: &Parameters,
    uuid: Option<Uuid>,
    options: &Options<'_>,
) -> Result<Formatted> {
    parameters.check()?;
    let (length, block) = (data.length(), parameters.data_block);
    if length == 0 {
        return Err(Error::Empty);
    }
    if !length.is_multiple_of(block.into()) {
        return Err(Error::PartialBlock { length, block });
    }
    let data_blocks = length / u64::from(block);
    let first = first_block(parameters, offset)?;
    let geometry = Geometry::new(parameters, data_blocks, first)?;
    let end = geometry.end * u64::from(parameters.hash_block);
    // A disk has its length already.
    if file.metadata().map_err(Error::Tree)?.is_file() {
        file.set_len(end).map_err(Error::Tree)?;
    }
    let tree = Tree { parameters, geometry: &geometry, data, file };
    for (number, level) in geometry.levels.iter().enumerate() {
        tree.for_each_block(
            number,
            options,
            |_| true,
            |index, bytes| {
                let at = (level.first + index) * u64::from(parameters.hash_block);
                file.write_all_at(bytes, at).map_err(Error::Tree)
            },
        )?;
    }
    let root_hash = RootHash::new(tree.top_digest()?.as_ref());
    let uuid = uuid.unwrap_or_else(|| Uuid::of(&root_hash));
    let superblock = Superblock { uuid, parameters: parameters.clone(), data_blocks };
    // With zeros up to the tree, as a file or disk may have other bytes there.
    let mut bytes = superblock.to_bytes().to_vec();
    bytes.resize((first * u64::from(parameters.hash_block) - offset) as usize, 0);
    file.write_all_at(&bytes, offset).map_err(Error::Tree)?;
    Ok(Formatted { root_hash, superblock, offset, end })
}
