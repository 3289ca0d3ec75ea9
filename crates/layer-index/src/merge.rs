//! Merging the indexes of layers into the index of a root (OCI image-spec, layer.md, "Applying Changesets").
//!
//! All sources are merged in one pass, breadth first. A directory of the result is a merge of the sorted entries that
//! its sources have for it. A name is resolved from the top layer down, to the first source that hides the layers
//! below. The pass only numbers inodes and records their origin; the inode records are copied while the result is
//! written. Merging all layers at once gives the same bytes as merging them one by one.

mod output;
mod source;
mod stack;

use std::io::{Seek, Write};
use std::ops::Range;

use vmroot_model::Digest;

use crate::Result;
use crate::format::NO_INODE;
use crate::open::Index;
use output::Output;
use source::Cursor;
use stack::{MergedEntry, SourceInode, Stack};

/// Merges `layers`, lowest first, onto `base`, writes the index of the root to `out`, and returns its length in bytes.
///
/// `base` is the merged root of the layers below, if there are any. `chain_id` becomes the identity of the root. `out`
/// must be an empty file. The output depends on the arguments alone.
///
/// # Errors
/// - [`Error::LinkTargetMissing`](crate::Error::LinkTargetMissing) for a hard link to a path that no lower layer has.
/// - [`Error::TooLarge`](crate::Error::TooLarge) when the root does not fit the format.
/// - [`Error::Io`](crate::Error::Io) with an empty path when `out` cannot be written.
pub fn merge<W: Write + Seek>(base: Option<&Index>, layers: &[&Index], chain_id: &Digest, out: W) -> Result<u64> {
    let stack = Stack::new(base.into_iter().chain(layers.iter().copied()))?;
    let mut merger = Merger::new(&stack)?;
    let mut next = 0;
    while next < merger.directories.len() {
        merger.merge_directory(next)?;
        next += 1;
    }
    merger.output.write(chain_id, out)
}

struct Merger<'a> {
    stack: &'a Stack<'a>,
    output: Output<'a>,
    /// The directories of the result in order: their number, and the range of `parts` that they consist of.
    directories: Vec<(u32, Range<usize>)>,
    /// The source directories that the directories of the result consist of.
    parts: Vec<SourceInode>,
    /// For each source, the numbers in the result of its inodes that are not directories.
    numbers: Vec<Vec<u32>>,
    /// The sources of the current directory that have entries left, highest first. A field to reuse its memory.
    cursors: Vec<Cursor<'a>>,
}

impl<'a> Merger<'a> {
    fn new(stack: &'a Stack<'a>) -> Result<Self> {
        let numbers = |source: &source::Source<'_>| vec![NO_INODE; source.index.inode_count() as usize];
        let mut merger = Self {
            stack,
            output: Output::new(stack),
            directories: Vec::new(),
            parts: Vec::new(),
            numbers: stack.sources.iter().map(numbers).collect(),
            cursors: Vec::new(),
        };
        let attributes = stack.merge_roots(stack.sources.len() as u32, &mut merger.parts);
        let number = merger.output.add_directory(attributes)?;
        merger.directories.push((number, 0..merger.parts.len()));
        Ok(merger)
    }

    /// Merges the entries of the directory at `position`, and appends its subdirectories to `directories`.
    fn merge_directory(&mut self, position: usize) -> Result<()> {
        let (number, parts) = self.directories[position].clone();
        let sources = &self.stack.sources;
        let mut cursors = std::mem::take(&mut self.cursors);
        let cursor = |part: &SourceInode| Cursor::new(sources, part.source, part.inode);
        cursors.extend(self.parts[parts].iter().filter_map(cursor));
        while let Some(least) = cursors.iter().min_by(|a, b| a.compare(b)) {
            let (source, dirent) = (least.source, least.dirent);
            let is_least = |cursor: &Cursor<'_>| cursor.compare(least).is_eq();
            let first_part = self.parts.len();
            // `min_by` returns the first of equal cursors, which is the one of the highest source.
            let same = cursors.iter().filter(|cursor| is_least(cursor)).map(|cursor| (cursor.source, cursor.dirent));
            let entry = self.stack.merge_dirents(same, &mut self.parts);
            if let Some(entry) = entry {
                let inode = self.add_entry(number, entry, first_part)?;
                self.output.add_dirent(source, dirent, inode)?;
            }
            let name = sources[source as usize].name(dirent);
            cursors.retain_mut(|cursor| !cursor.is_at(name) || cursor.advance(sources));
        }
        self.cursors = cursors;
        self.output.end_directory();
        Ok(())
    }

    /// Returns the number in the result of an entry of `directory`, and counts the entry as a link.
    ///
    /// Adds the inode if it is new.
    fn add_entry(&mut self, directory: u32, entry: MergedEntry, first_part: usize) -> Result<u32> {
        match entry {
            MergedEntry::Directory(attributes) => {
                let number = self.output.add_directory(Some(attributes))?;
                self.output.add_link(directory);
                self.directories.push((number, first_part..self.parts.len()));
                Ok(number)
            }
            MergedEntry::NonDirectory(origin) => {
                let number = &mut self.numbers[origin.source as usize][origin.inode as usize];
                if *number == NO_INODE {
                    *number = self.output.add_inode(origin)?;
                }
                self.output.add_link(*number);
                Ok(*number)
            }
        }
    }
}
