//! A reader of squashfs 4.0 (Documentation/filesystems/squashfs.rst of the kernel).
//!
//! Every number of the file is checked before use. Memory does not depend on the file: blocks have at most 1 MiB, and
//! metadata blocks 8 KiB. All numbers are little-endian.

mod directory;
mod file;
mod inode;
mod metadata;
mod tables;

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::ZlibDecoder;
use vmroot_compress::{Compression, Decoder, Limits};

use crate::section::Section;
use crate::{Error, Result};

pub(super) use self::directory::Entries;
pub(super) use self::file::{FileReader, Piece};
pub(super) use self::inode::{Attributes, Inode, Kind};
pub(super) use self::tables::Xattr;

/// The length of the superblock in bytes.
const SUPERBLOCK: usize = 96;
/// The magic number.
const MAGIC: &[u8] = b"hsqs";
/// The only version: the major and the minor number.
const VERSION: (u16, u16) = (4, 0);
/// The range of sizes of a data block in bytes.
const BLOCK_SIZES: std::ops::RangeInclusive<u32> = 4096..=1 << 20;
/// The maximum length in bytes of a metadata block, decompressed.
const METADATA_BLOCK: usize = 8192;
/// The bit of a data block's size that marks it as not compressed.
const UNCOMPRESSED_DATA: u32 = 1 << 24;
/// The number of metadata blocks that are kept.
const KEPT_BLOCKS: usize = 512;
/// The offset of a table that does not exist.
const NO_TABLE: u64 = u64::MAX;

/// The compressor of a squashfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compressor {
    Zlib,
    Xz,
    Zstd,
}

/// An open squashfs.
#[derive(Debug)]
pub(super) struct Squashfs {
    path: PathBuf,
    image: Section,
    compressor: Compressor,
    block_size: u32,
    /// The reference of the root directory's inode.
    root: u64,
    inode_table: u64,
    directory_table: u64,
    fragments: Option<tables::Fragments>,
    ids: Vec<u32>,
    xattrs: Option<tables::XattrTable>,
    /// Decompressed metadata blocks by their offsets, with the offsets of the next ones.
    metadata: HashMap<u64, (Arc<[u8]>, u64)>,
    /// The last decompressed fragment block, by its offset.
    fragment: Option<(u64, Arc<[u8]>)>,
}

impl Squashfs {
    /// Reads the superblock and the tables of owners. `path` is the name of the file in messages.
    pub(super) fn open(path: &Path, image: Section) -> Result<Self> {
        let broken = |reason: String| Error::member(path, "the root file system", reason);
        let mut start = [0; SUPERBLOCK];
        let read = image.peek(&mut start).map_err(Error::io("read", path))?;
        if read < SUPERBLOCK || !start.starts_with(MAGIC) {
            return Err(broken("is not a squashfs".to_owned()));
        }
        let mut fields = Fields { path, bytes: &start[4..] };
        let _inodes = fields.u32()?;
        let _time = fields.u32()?;
        let block_size = fields.u32()?;
        let fragment_count = fields.u32()?;
        let compressor = fields.u16()?;
        let _block_log = fields.u16()?;
        let _flags = fields.u16()?;
        let id_count = fields.u16()?;
        let version = (fields.u16()?, fields.u16()?);
        let root = fields.u64()?;
        let _bytes_used = fields.u64()?;
        let [ids, xattrs, inode_table, directory_table, fragments, _export] =
            [fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?];
        if version != VERSION {
            return Err(broken(format!(
                "is a squashfs of version {}.{}, and only 4.0 is supported",
                version.0, version.1
            )));
        }
        if !BLOCK_SIZES.contains(&block_size) || !block_size.is_power_of_two() {
            return Err(broken(format!("has blocks of {block_size} bytes, which squashfs does not allow")));
        }
        let compressor = match compressor {
            1 => Compressor::Zlib,
            4 => Compressor::Xz,
            6 => Compressor::Zstd,
            2 => return Err(broken("is compressed with lzma, which is not supported".to_owned())),
            3 => return Err(broken("is compressed with lzo, which is not supported".to_owned())),
            5 => return Err(broken("is compressed with lz4, which is not supported".to_owned())),
            other => return Err(broken(format!("has the unknown compressor {other}"))),
        };
        let mut squashfs = Self {
            path: path.to_owned(),
            image,
            compressor,
            block_size,
            root,
            inode_table,
            directory_table,
            fragments: None,
            ids: Vec::new(),
            xattrs: None,
            metadata: HashMap::new(),
            fragment: None,
        };
        squashfs.fragments = (fragments != NO_TABLE && fragment_count > 0)
            .then_some(tables::Fragments { table: fragments, count: fragment_count });
        squashfs.ids = squashfs.read_ids(ids, id_count)?;
        squashfs.xattrs = if xattrs == NO_TABLE { None } else { Some(squashfs.read_xattr_table(xattrs)?) };
        Ok(squashfs)
    }

    /// Returns an error about the file.
    fn broken(&self, reason: impl Into<String>) -> Error {
        Error::member(&self.path, "the root file system", reason)
    }

    /// Reads bytes at an offset of the file.
    fn bytes_at(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let range = self.image.part(offset, len as u64);
        let mut range = range.ok_or_else(|| self.broken(format!("refers to byte {offset}, past its end")))?;
        let mut bytes = vec![0; len];
        range.read_exact(&mut bytes).map_err(Error::io("read", &self.path))?;
        Ok(bytes)
    }

    /// Decompresses a block of at most `limit` bytes.
    fn decompress(&self, compressed: &[u8], limit: usize) -> Result<Vec<u8>> {
        let mut plain = Vec::new();
        let most = limit as u64 + 1;
        let read = match self.compressor {
            Compressor::Zlib => ZlibDecoder::new(compressed).take(most).read_to_end(&mut plain),
            Compressor::Xz | Compressor::Zstd => {
                let expected = if self.compressor == Compressor::Xz { Compression::Xz } else { Compression::Zstd };
                let limits = Limits { max_output: most, ..Limits::default() };
                match Decoder::new(compressed, &limits) {
                    Ok(decoder) if decoder.compression() == expected => decoder.take(most).read_to_end(&mut plain),
                    _ => return Err(self.broken("has a block that is not of its compressor")),
                }
            }
        };
        match read {
            Ok(len) if len <= limit => Ok(plain),
            Ok(_) => Err(self.broken(format!("has a block of more than {limit} bytes"))),
            Err(error) => Err(self.broken(format!("has a block that cannot be decompressed: {error}"))),
        }
    }

    /// Reads a data block of at most `limit` bytes. `word` is its length, with a bit if it is not compressed.
    fn data_block(&self, offset: u64, word: u32, limit: usize) -> Result<Vec<u8>> {
        let len = word & !UNCOMPRESSED_DATA;
        if len > self.block_size {
            return Err(self.broken(format!("has a stored block of {len} bytes, more than a block")));
        }
        let stored = self.bytes_at(offset, len as usize)?;
        if word & UNCOMPRESSED_DATA == 0 {
            return self.decompress(&stored, limit);
        }
        if stored.len() > limit {
            return Err(self.broken(format!("has a block of more than {limit} bytes")));
        }
        Ok(stored)
    }

    /// Returns the reference of the root directory's inode.
    pub(super) fn root(&self) -> u64 {
        self.root
    }
}

/// A reader of the fields of a record.
struct Fields<'a> {
    path: &'a Path,
    bytes: &'a [u8],
}

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let short = || Error::member(self.path, "the root file system", "has a record that is cut off");
        let (field, rest) = self.bytes.split_first_chunk::<N>().ok_or_else(short)?;
        self.bytes = rest;
        Ok(*field)
    }

    fn u16(&mut self) -> Result<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.take().map(u64::from_le_bytes)
    }
}
