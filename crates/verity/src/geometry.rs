//! The place of each level of a tree in its file.

use crate::{Error, HashType, Parameters, Result};

/// A level of a tree. The lowest level has the digests of the image's blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    /// The number of its first hash block in the file.
    pub(crate) first: u64,
    /// The number of hash blocks.
    pub(crate) blocks: u64,
    /// The number of blocks that it has digests of: of the image, or of the level below.
    pub(crate) children: u64,
}

/// The levels of a tree, lowest first. The file has them in the opposite order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// The number of digests in a hash block: a power of two.
    pub(crate) per_block: u64,
    /// The distance of two digests in bytes.
    pub(crate) slot: usize,
    pub(crate) levels: Vec<Level>,
    /// The number of the hash block after the tree.
    pub(crate) end: u64,
}

impl Geometry {
    /// Returns the geometry of a tree over `data_blocks` blocks, which begins at the hash block `first` of its file. A
    /// single block needs no tree: its digest is the root hash.
    pub(crate) fn new(parameters: &Parameters, data_blocks: u64, first: u64) -> Result<Self> {
        let (per_block, slot) = layout(parameters);
        let mut levels = Vec::new();
        let mut children = data_blocks;
        while children > 1 {
            let blocks = children.div_ceil(per_block);
            levels.push(Level { first: 0, blocks, children });
            children = blocks;
        }
        let mut end = first;
        for level in levels.iter_mut().rev() {
            level.first = end;
            end = end.checked_add(level.blocks).ok_or(Error::TooLarge)?;
        }
        let bytes = end.checked_mul(parameters.hash_block.into()).filter(|bytes| i64::try_from(*bytes).is_ok());
        bytes.map(|_| Self { per_block, slot, levels, end }).ok_or(Error::TooLarge)
    }

    /// Returns the geometry of the lowest level alone, also over a single block.
    pub(crate) fn one_level(parameters: &Parameters, data_blocks: u64) -> Self {
        let (per_block, slot) = layout(parameters);
        let level = Level { first: 0, blocks: data_blocks.div_ceil(per_block), children: data_blocks };
        Self { per_block, slot, levels: vec![level], end: level.blocks }
    }
}

/// Returns the number of digests in a hash block, and the distance of two digests in bytes.
fn layout(parameters: &Parameters) -> (u64, usize) {
    let digest = parameters.algorithm.digest_length();
    let fit = u64::from(parameters.hash_block) / digest as u64;
    let slot = match parameters.hash_type {
        HashType::ChromeOs => digest,
        HashType::Normal => digest.next_power_of_two(),
    };
    // The largest power of two that fits.
    (1 << fit.ilog2(), slot)
}

/// Returns the number of the hash block at which a tree begins whose superblock is at `offset` bytes.
pub(crate) fn first_block(parameters: &Parameters, offset: u64) -> Result<u64> {
    if !offset.is_multiple_of(crate::SUPERBLOCK as u64) {
        return Err(Error::Offset { offset });
    }
    let after = offset.checked_add(crate::SUPERBLOCK as u64).ok_or(Error::TooLarge)?;
    Ok(after.div_ceil(parameters.hash_block.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_stored_from_the_top() {
        let geometry = Geometry::new(&Parameters::default(), 16_385, 1).unwrap();
        let levels: Vec<_> = geometry.levels.iter().map(|level| (level.first, level.blocks)).collect();
        assert_eq!(levels, [(4, 129), (2, 2), (1, 1)]);
        assert_eq!(geometry.end, 133);
        assert!(Geometry::new(&Parameters::default(), 1, 1).unwrap().levels.is_empty());
    }

    #[test]
    fn numbers_that_overflow_are_refused() {
        assert!(Geometry::new(&Parameters::default(), u64::MAX, 1).is_err());
        assert!(Geometry::new(&Parameters::default(), 2, u64::MAX).is_err());
        assert!(first_block(&Parameters::default(), u64::MAX - 511).is_err());
        assert!(matches!(first_block(&Parameters::default(), 100), Err(Error::Offset { offset: 100 })));
    }
}
