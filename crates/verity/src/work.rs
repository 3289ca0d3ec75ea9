//! Computing hash blocks, on several threads.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use vmroot_output::{Meter, workers};

use crate::algorithm::Digester;
use crate::data::Run;
use crate::geometry::Geometry;
use crate::{Data, Error, Options, Parameters, Result};

/// The number of bytes that a thread reads at once.
const PIECE: usize = 512 << 10;

/// A tree that is computed from its image, or compared with it.
pub(crate) struct Tree<'a> {
    pub(crate) parameters: &'a Parameters,
    pub(crate) geometry: &'a Geometry,
    pub(crate) data: &'a Data<'a>,
    /// The file of the tree.
    pub(crate) file: &'a File,
}

/// The digesters and the buffer of one thread.
struct Worker<'a> {
    tree: &'a Tree<'a>,
    meter: &'a Meter<'a>,
    data: Digester<'a>,
    hashes: Digester<'a>,
    buffer: Vec<u8>,
}

impl Tree<'_> {
    /// Calls `each` with the number of each hash block of a level and its computed bytes, from several threads. The
    /// threads take the blocks in ascending order. `is_needed` returns whether a block must be computed; if it is not,
    /// neither are those after it.
    pub(crate) fn for_each_block(
        &self,
        level: usize,
        options: &Options<'_>,
        is_needed: impl Fn(u64) -> bool + Sync,
        each: impl Fn(u64, &[u8]) -> Result<()> + Sync,
    ) -> Result<()> {
        let blocks = self.geometry.levels[level].blocks;
        let meter = Meter::new(options.hook.filter(|_| level == 0), self.data.length());
        let next = AtomicU64::new(0);
        let threads = workers::count(options.threads).min(usize::try_from(blocks).unwrap_or(usize::MAX));
        workers::run(threads, &meter, || {
            let mut worker = Worker {
                tree: self,
                meter: &meter,
                data: Digester::new(self.parameters, self.parameters.data_block),
                hashes: Digester::new(self.parameters, self.parameters.hash_block),
                buffer: Vec::new(),
            };
            let mut block = vec![0; self.parameters.hash_block as usize];
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= blocks || !is_needed(index) {
                    return Ok(());
                }
                worker.compute(level, index, &mut block)?;
                each(index, &block)?;
            }
        })
    }

    /// Returns the digest of the top: of the top hash block, or of a single block of the image.
    pub(crate) fn top_digest(&self) -> Result<ring::digest::Digest> {
        let top = self.geometry.levels.last();
        let size = if top.is_some() { self.parameters.hash_block } else { self.parameters.data_block };
        let mut block = vec![0; size as usize];
        match top {
            Some(top) => self.read_hashes(&mut block, top.first)?,
            None => self.data.read_exact_at(&mut block, 0).map_err(Error::Image)?,
        }
        Ok(Digester::new(self.parameters, size).digest(&block))
    }

    /// Reads hash blocks.
    pub(crate) fn read_hashes(&self, buffer: &mut [u8], first: u64) -> Result<()> {
        self.file.read_exact_at(buffer, first * u64::from(self.parameters.hash_block)).map_err(Error::Tree)
    }
}

impl Worker<'_> {
    /// Computes a hash block of a level from the blocks below.
    fn compute(&mut self, level: usize, index: u64, block: &mut [u8]) -> Result<()> {
        let Geometry { per_block, slot, ref levels, .. } = *self.tree.geometry;
        let first = index * per_block;
        let end = levels[level].children.min(first + per_block);
        block.fill(0);
        let mut child = first;
        while child < end {
            let slots = &mut block[(child - first) as usize * slot..];
            let count = match level {
                0 => self.leaves(child, end - child, slots)?,
                _ => self.inner(levels[level - 1].first + child, end - child, slots)?,
            };
            child += count;
        }
        Ok(())
    }

    /// Writes digests of up to `limit` blocks of the image into slots. Returns their number.
    fn leaves(&mut self, child: u64, limit: u64, slots: &mut [u8]) -> Result<u64> {
        let slot = self.tree.geometry.slot;
        match self.tree.data.run(child, limit, self.tree.parameters) {
            Run::Known { leaves, first, blocks } => {
                let length = self.tree.parameters.algorithm.digest_length();
                self.buffer.resize(blocks as usize * length, 0);
                leaves.read(first, &mut self.buffer)?;
                for (digest, slot) in self.buffer.chunks_exact(length).zip(slots.chunks_mut(slot)) {
                    slot[..length].copy_from_slice(digest);
                }
                Ok(blocks)
            }
            Run::Unknown { blocks } => {
                let size = self.tree.parameters.data_block as usize;
                let count = blocks.min((PIECE / size) as u64);
                self.buffer.resize(count as usize * size, 0);
                self.tree.data.read_exact_at(&mut self.buffer, child * size as u64).map_err(Error::Image)?;
                digest_blocks(&self.data, &self.buffer, size, slots, slot);
                self.meter.count(count * size as u64)?;
                Ok(count)
            }
        }
    }

    /// Writes digests of up to `limit` hash blocks into slots. Returns their number.
    fn inner(&mut self, first: u64, limit: u64, slots: &mut [u8]) -> Result<u64> {
        let size = self.tree.parameters.hash_block as usize;
        let count = limit.min((PIECE / size) as u64);
        self.buffer.resize(count as usize * size, 0);
        self.tree.read_hashes(&mut self.buffer, first)?;
        digest_blocks(&self.hashes, &self.buffer, size, slots, self.tree.geometry.slot);
        Ok(count)
    }
}

fn digest_blocks(digester: &Digester<'_>, bytes: &[u8], size: usize, slots: &mut [u8], slot: usize) {
    for (block, slot) in bytes.chunks_exact(size).zip(slots.chunks_mut(slot)) {
        let digest = digester.digest(block);
        slot[..digest.as_ref().len()].copy_from_slice(digest.as_ref());
    }
}
