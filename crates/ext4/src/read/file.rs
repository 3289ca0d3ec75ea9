//! The contents of inodes.

use std::io;
use std::ops::Range;

use super::features::inode_flags;
use super::map::{MAX_BLOCKS, Mapper, Place};
use super::{Ext4Reader, Inode, ReadAt, ReadError, ReadResult};

/// The longest target of a symbolic link in bytes (`PATH_MAX` without the final zero).
const MAX_TARGET: u64 = 4095;
/// Bytes of `i_block`. Shorter targets are stored there.
const IN_INODE: u64 = 60;

/// Reads the contents of an inode.
#[derive(Debug)]
pub struct FileReader<'d, R> {
    reader: &'d Ext4Reader<R>,
    inode: &'d Inode,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// The bytes of a small file, stored in the inode and its xattrs.
    Inline(Vec<u8>),
    Blocks(Mapper),
}

impl<R: ReadAt> Ext4Reader<R> {
    /// Opens the contents of an inode, usually a regular file.
    ///
    /// # Errors
    /// - [`ReadError::Unsupported`]: the inode is encrypted.
    /// - [`ReadError::Damaged`]: the file is larger than ext4 can hold, or its inline data is invalid.
    /// - [`ReadError::Io`]: the disk cannot be read.
    pub fn open_file<'d>(&'d self, inode: &'d Inode) -> ReadResult<FileReader<'d, R>> {
        inode.refuse_encrypted()?;
        if inode.has_flag(inode_flags::INLINE_DATA) {
            let bytes = self.inline_data(inode)?;
            return Ok(FileReader { reader: self, inode, source: Source::Inline(bytes) });
        }
        if inode.size().div_ceil(self.volume.block_size as u64) > MAX_BLOCKS {
            let (number, size) = (inode.number(), inode.size());
            return Err(ReadError::damaged(format!("inode {number} has {size} bytes, more than ext4 can hold")));
        }
        Ok(FileReader { reader: self, inode, source: Source::Blocks(Mapper::default()) })
    }

    /// Returns the bytes of an inode with inline data, which are as many as its size.
    fn inline_data(&self, inode: &Inode) -> ReadResult<Vec<u8>> {
        let mut bytes = inode.block().to_vec();
        if let Some(rest) = self.inline_rest(inode)? {
            bytes.extend_from_slice(&rest);
        }
        match usize::try_from(inode.size()) {
            Ok(size) if size <= bytes.len() => bytes.truncate(size),
            _ => return Err(ReadError::damaged(format!("inode {} has less inline data than bytes", inode.number()))),
        }
        Ok(bytes)
    }

    /// Returns the target of a symbolic link.
    ///
    /// # Errors
    /// - [`ReadError::Damaged`]: the inode is not a link, or the target is empty, too long, or has a zero byte.
    /// - [`ReadError::Unsupported`]: the link is encrypted.
    /// - [`ReadError::Io`]: the disk cannot be read.
    pub fn link_target(&self, inode: &Inode) -> ReadResult<Vec<u8>> {
        let number = inode.number();
        if inode.kind() != vmroot_container_fs::InodeKind::Symlink || !(1..=MAX_TARGET).contains(&inode.size()) {
            return Err(ReadError::damaged(format!("inode {number} is not a valid symbolic link")));
        }
        inode.refuse_encrypted()?;
        let is_fast = inode.size() < IN_INODE && !inode.has_flag(inode_flags::EXTENTS | inode_flags::INLINE_DATA);
        let mut target = vec![0; inode.size() as usize];
        if is_fast {
            target.copy_from_slice(&inode.block()[..inode.size() as usize]);
        } else {
            self.open_file(inode)?.read_exact_at(&mut target, 0)?;
        }
        match target.contains(&0) {
            true => Err(ReadError::damaged(format!("the target of the symbolic link {number} has a zero byte"))),
            false => Ok(target),
        }
    }
}

impl<R: ReadAt> FileReader<'_, R> {
    /// Returns the size in bytes.
    pub fn size(&self) -> u64 {
        self.inode.size()
    }

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// - [`ReadError::Damaged`]: the map of the file's blocks is invalid.
    /// - [`ReadError::Io`]: the disk cannot be read, or the range exceeds the end of the file.
    pub fn read_exact_at(&mut self, mut buffer: &mut [u8], mut offset: u64) -> ReadResult<()> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.inode.size()) {
            return Err(ReadError::Io { offset, source: io::ErrorKind::UnexpectedEof.into() });
        }
        let mapper = match &mut self.source {
            Source::Inline(bytes) => {
                buffer.copy_from_slice(&bytes[offset as usize..][..buffer.len()]);
                return Ok(());
            }
            Source::Blocks(mapper) => mapper,
        };
        let block_size = self.reader.volume.block_size as u64;
        while !buffer.is_empty() {
            let run = mapper.run_at(self.reader, self.inode, offset / block_size)?;
            let within = offset - run.first * block_size;
            let length = (run.count * block_size - within).min(buffer.len() as u64) as usize;
            let (piece, rest) = buffer.split_at_mut(length);
            match run.place {
                Place::Zeros => piece.fill(0),
                Place::Blocks(first) => self.reader.read_bytes(first * block_size + within, piece)?,
            }
            buffer = rest;
            offset += length as u64;
        }
        Ok(())
    }

    /// Returns the first run of data in `range`, or `None` if all of it is zeros that are not stored.
    ///
    /// # Errors
    /// As [`Self::read_exact_at`].
    pub fn next_data(&mut self, range: Range<u64>) -> ReadResult<Option<Range<u64>>> {
        if range.end > self.inode.size() {
            return Err(ReadError::Io { offset: range.end, source: io::ErrorKind::UnexpectedEof.into() });
        }
        let mapper = match &mut self.source {
            Source::Inline(_) => return Ok((!range.is_empty()).then_some(range)),
            Source::Blocks(mapper) => mapper,
        };
        let block_size = self.reader.volume.block_size as u64;
        let mut position = range.start;
        while position < range.end {
            let run = mapper.run_at(self.reader, self.inode, position / block_size)?;
            let end = (run.end() * block_size).min(range.end);
            if run.place != Place::Zeros {
                return Ok(Some(position..end));
            }
            position = end;
        }
        Ok(None)
    }
}
