//! Verifying an image and a tree against a root hash.

use std::fs::File;
use std::sync::{Mutex, PoisonError};

use crate::geometry::{Geometry, Level, first_block};
use crate::work::Tree;
use crate::{Algorithm, Data, Error, Fault, Options, Parameters, Result, RootHash, Superblock};

/// Verifies each block of an image and of its tree, whose superblock is at `offset` bytes of `file`. Returns the
/// superblock.
///
/// The top of the tree comes first and the image last. Of a level, the error names the first wrong block. The image may
/// be longer than the tree says, as with an appended tree. Known digests of the image are not used: all blocks are read.
///
/// # Errors
/// - [`Error::Corrupt`] names the first wrong block.
/// - The errors of [`Superblock::read`].
/// - [`Error::RootHashLength`] if the root hash is not of the tree's algorithm.
/// - [`Error::ShortImage`] if the image has fewer blocks than the tree.
/// - [`Error::Image`] or [`Error::Tree`] if a file cannot be read or is too short.
/// - [`Error::Cancelled`] if the hook cancelled the work.
pub fn verify(
    data: &Data<'_>,
    file: &File,
    offset: u64,
    root_hash: &RootHash,
    options: &Options<'_>,
) -> Result<Superblock> {
    let superblock = Superblock::read(file, offset)?;
    let parameters = &superblock.parameters;
    let (length, algorithm) = (root_hash.as_bytes().len(), parameters.algorithm);
    if length != algorithm.digest_length() {
        return Err(Error::RootHashLength { length, algorithm });
    }
    if data.length() < superblock.data_length() {
        return Err(Error::ShortImage { length: data.length(), needed: superblock.data_length() });
    }
    let first = first_block(parameters, offset)?;
    let geometry = Geometry::new(parameters, superblock.data_blocks, first)?;
    let data = data.without_leaves();
    let tree = Tree { parameters, geometry: &geometry, data: &data, file };
    if tree.top_digest()?.as_ref() != root_hash.as_bytes() {
        return Err(Error::Corrupt(if geometry.levels.is_empty() { Fault::DataBlock(0) } else { Fault::Root }));
    }
    (0..geometry.levels.len()).rev().try_for_each(|level| verify_level(&tree, level, options))?;
    Ok(superblock)
}

/// Returns the place of the superblock of a tree that follows its image in a file of `length` bytes and ends it, or
/// `None` if there is no such tree of blocks of 4096 bytes.
///
/// # Errors
/// [`Error::Tree`] if the file cannot be read.
pub fn find_appended(file: &File, length: u64) -> Result<Option<u64>> {
    for algorithm in Algorithm::ALL {
        let parameters = Parameters { algorithm, ..Parameters::default() };
        let block = u64::from(parameters.data_block);
        let end = |blocks: u64| {
            let first = first_block(&parameters, blocks * block)?;
            Ok::<u64, Error>(Geometry::new(&parameters, blocks, first)?.end * block)
        };
        // The end of the tree grows with the number of blocks.
        let (mut low, mut high) = (1, length / block);
        while low < high {
            let middle = low + (high - low) / 2;
            if end(middle)? < length { low = middle + 1 } else { high = middle }
        }
        if low == 0 || end(low)? != length {
            continue;
        }
        match Superblock::read(file, low * block) {
            Ok(superblock) if superblock.data_blocks == low => return Ok(Some(low * block)),
            Err(Error::Tree(error)) => return Err(Error::Tree(error)),
            _ => {}
        }
    }
    Ok(None)
}

/// Compares the blocks below a level with its digests.
fn verify_level(tree: &Tree<'_>, number: usize, options: &Options<'_>) -> Result<()> {
    let level = tree.geometry.levels[number];
    // The first hash block with a fault, and the fault.
    let found: Mutex<Option<(u64, Fault)>> = Mutex::new(None);
    let is_needed = |index| match *found.lock().unwrap_or_else(PoisonError::into_inner) {
        Some((bad, _)) => index < bad,
        None => true,
    };
    tree.for_each_block(number, options, is_needed, |index, computed| {
        let mut stored = vec![0; computed.len()];
        tree.read_hashes(&mut stored, level.first + index)?;
        if let Some(fault) = compare(tree, number, level, index, computed, &stored) {
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            if found.is_none_or(|(bad, _)| index < bad) {
                *found = Some((index, fault));
            }
        }
        Ok(())
    })?;
    match found.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some((_, fault)) => Err(Error::Corrupt(fault)),
        None => Ok(()),
    }
}

/// Returns the first difference of two hash blocks.
fn compare(tree: &Tree<'_>, number: usize, level: Level, index: u64, computed: &[u8], stored: &[u8]) -> Option<Fault> {
    let at = computed.iter().zip(stored).position(|(computed, stored)| computed != stored)?;
    let slot = at / tree.geometry.slot;
    let child = index * tree.geometry.per_block + slot as u64;
    let is_digest = at % tree.geometry.slot < tree.parameters.algorithm.digest_length();
    if !is_digest || slot as u64 >= tree.geometry.per_block || child >= level.children {
        return Some(Fault::Spare(level.first + index));
    }
    Some(match number {
        0 => Fault::DataBlock(child),
        _ => Fault::HashBlock(tree.geometry.levels[number - 1].first + child),
    })
}
