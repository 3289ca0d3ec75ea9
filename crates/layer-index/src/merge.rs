//! Several indexes become one: layers applied to each other (OCI image-spec, layer.md, "Applying Changesets").
//!
//! All sources are merged in one pass, breadth first, each directory from the entries that its sources have for it,
//! which are sorted already. What a name means is decided from the top layer down, and stops at the first source that
//! hides the ones below. The pass only numbers inodes and notes where they are from; their records are copied while the
//! result is written. It is the same whether layers are merged at once or one after the other.

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
use stack::{Found, Part, Stack};

/// Merges `layers`, lowest first, onto `base`, and writes the index of the root to `out`, an empty file; gives its
/// length in bytes.
///
/// `base` is a merged root, the result of the layers below; `chain_id` is the root's name. What is written is a function
/// of the arguments alone.
///
/// # Errors
/// [`Error::LinkTargetMissing`](crate::Error::LinkTargetMissing) for a hard link to a path that no lower layer has,
/// [`Error::TooLarge`](crate::Error::TooLarge) when the root does not fit the format,
/// [`Error::Io`](crate::Error::Io) with an empty path when `out` fails.
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
    /// The directories of the result in their order: number, and what of `parts` makes its entries.
    directories: Vec<(u32, Range<usize>)>,
    parts: Vec<Part>,
    /// For each source, the result's number of each of its inodes that are no directories.
    numbers: Vec<Vec<u32>>,
    /// The sources of the directory at hand that have entries left, highest first; kept for its memory.
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
        let attributes = stack.root(stack.sources.len() as u32, &mut merger.parts);
        let number = merger.output.add_directory(attributes)?;
        merger.directories.push((number, 0..merger.parts.len()));
        Ok(merger)
    }

    /// Merges the entries of one directory and queues its subdirectories.
    fn merge_directory(&mut self, which: usize) -> Result<()> {
        let (number, parts) = self.directories[which].clone();
        let sources = &self.stack.sources;
        let mut cursors = std::mem::take(&mut self.cursors);
        let cursor = |part: &Part| Cursor::new(sources, part.source, part.inode);
        cursors.extend(self.parts[parts].iter().filter_map(cursor));
        while let Some(least) = cursors.iter().min_by(|a, b| a.compare(b)) {
            let (source, dirent) = (least.source, least.dirent);
            let is_least = |cursor: &Cursor<'_>| cursor.compare(least).is_eq();
            let first_part = self.parts.len();
            // Of equal ones the minimum is the first, which is the highest.
            let same = cursors.iter().filter(|cursor| is_least(cursor)).map(|cursor| (cursor.source, cursor.dirent));
            let found = self.stack.decide(same, &mut self.parts);
            if let Some(found) = found {
                let inode = self.number(number, found, first_part)?;
                self.output.add_dirent(source, dirent, inode)?;
            }
            let name = sources[source as usize].name(dirent);
            cursors.retain_mut(|cursor| !cursor.is_at(name) || cursor.advance(sources));
        }
        self.cursors = cursors;
        self.output.end_directory();
        Ok(())
    }

    /// The number of what a name in a directory of the result means, with one more name.
    fn number(&mut self, directory: u32, found: Found, first_part: usize) -> Result<u32> {
        match found {
            Found::Directory(attributes) => {
                let number = self.output.add_directory(Some(attributes))?;
                self.output.add_link(directory);
                self.directories.push((number, first_part..self.parts.len()));
                Ok(number)
            }
            Found::Other(part) => {
                let number = &mut self.numbers[part.source as usize][part.inode as usize];
                if *number == NO_INODE {
                    *number = self.output.add_inode(part)?;
                }
                self.output.add_link(*number);
                Ok(*number)
            }
        }
    }
}
