//! The image: files that are joined to one device.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::{Leaves, Parameters};

/// A part of an image: a range of a file.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The file.
    pub file: &'a File,
    /// The start of the range in bytes.
    pub offset: u64,
    /// The length of the range in bytes.
    pub length: u64,
    /// The digests of the range's blocks, if they are known.
    pub leaves: Option<&'a Leaves>,
}

/// A range of an image whose digests are known.
#[derive(Debug, Clone, Copy)]
pub struct KnownRange<'a> {
    /// The start in the image, in bytes.
    pub start: u64,
    /// The length in bytes.
    pub length: u64,
    /// The digests.
    pub leaves: &'a Leaves,
    /// The number of the first digest.
    pub first: u64,
}

/// The parts of an image, in their order.
#[derive(Debug, Clone)]
pub struct Data<'a> {
    parts: Vec<PlacedPart<'a>>,
    /// Ordered by their starts.
    known: Vec<KnownRange<'a>>,
    length: u64,
}

#[derive(Debug, Clone)]
struct PlacedPart<'a> {
    part: Part<'a>,
    /// The first byte in the image.
    start: u64,
}

/// Consecutive blocks of an image.
pub(crate) enum Run<'a> {
    /// Blocks to hash.
    Unknown { blocks: u64 },
    /// Blocks with digests in `leaves`, from the digest `first` on.
    Known { leaves: &'a Leaves, first: u64, blocks: u64 },
}

impl<'a> Data<'a> {
    /// Joins parts. Empty parts are left out.
    pub fn new(parts: impl IntoIterator<Item = Part<'a>>) -> Self {
        let mut length = 0_u64;
        let (mut placed, mut known) = (Vec::new(), Vec::new());
        for part in parts.into_iter().filter(|part| part.length > 0) {
            placed.push(PlacedPart { part, start: length });
            let range = |leaves| KnownRange { start: length, length: part.length, leaves, first: 0 };
            known.extend(part.leaves.map(range));
            length = length.saturating_add(part.length);
        }
        Self { parts: placed, known, length }
    }

    /// Adds ranges whose digests are known. They must not overlap each other, or parts with digests.
    pub fn with_known(mut self, ranges: impl IntoIterator<Item = KnownRange<'a>>) -> Self {
        self.known.extend(ranges);
        self.known.sort_by_key(|range| range.start);
        self
    }

    /// Returns the image in one file, from its start.
    pub fn of_file(file: &'a File, length: u64) -> Self {
        Self::new([Part { file, offset: 0, length, leaves: None }])
    }

    /// Returns the length of the image in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns the image without known digests.
    pub(crate) fn without_leaves(&self) -> Self {
        Self::new(self.parts.iter().map(|placed| Part { leaves: None, ..placed.part }))
    }

    /// Reads bytes at an offset.
    ///
    /// # Errors
    /// The error of a file, and `UnexpectedEof` if it or the image ends before.
    pub(crate) fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            let number = self.parts.partition_point(|part| part.start <= offset);
            let placed = number.checked_sub(1).and_then(|number| self.parts.get(number));
            let placed = placed.filter(|placed| offset - placed.start < placed.part.length);
            let PlacedPart { part, start } = placed.ok_or(io::ErrorKind::UnexpectedEof)?;
            let inside = offset - start;
            let count = usize::try_from(part.length - inside).unwrap_or(usize::MAX).min(buffer.len());
            let (now, rest) = buffer.split_at_mut(count);
            part.file.read_exact_at(now, part.offset + inside)?;
            (buffer, offset) = (rest, offset + count as u64);
        }
        Ok(())
    }

    /// Returns the blocks from `block` on that are of one kind, at most `limit`.
    pub(crate) fn run(&self, block: u64, limit: u64, parameters: &Parameters) -> Run<'a> {
        let size = u64::from(parameters.data_block);
        let next = self.known.partition_point(|range| range.start.saturating_add(range.length) <= block * size);
        for range in &self.known[next..] {
            let KnownRange { start, length, leaves, first } = *range;
            let (begin, count) = (start / size, leaves.count().saturating_sub(first).min(length / size));
            let is_usable = start % size == 0 && leaves.are_for(parameters);
            match block.checked_sub(begin) {
                None if is_usable => return Run::Unknown { blocks: limit.min(begin - block) },
                Some(inside) if is_usable && inside < count => {
                    return Run::Known { leaves, first: first + inside, blocks: limit.min(count - inside) };
                }
                _ => {}
            }
        }
        Run::Unknown { blocks: limit }
    }
}
