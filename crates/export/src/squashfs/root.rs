//! Setting the attributes of the root directory.
//!
//! sqfstar gives the root directory the current user and time. The tar does not change that, and before 4.6 neither do
//! its options. This module writes the attributes of the image into the inode, which is not compressed, and into the
//! table of owners: the current user is removed, and missing owners are added. The table is at the end of the image,
//! followed only by the xattrs, which are moved (kernel documentation, "Squashfs 4.0 Filesystem").

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use vmroot_container_fs::{ContainerFs, InodeId, InodeKind};

use super::PROGRAM;
use crate::{Error, Result};

/// The size of a metadata block in bytes. Its two-byte header has the length and whether it is compressed.
const MAX_METADATA: u64 = 8192;
const UNCOMPRESSED: u16 = 0x8000;
/// The length of an image is a multiple of this.
const PADDING: u64 = 4096;
/// The offset of a table that does not exist.
const ABSENT: u64 = u64::MAX;
/// The types of directory inodes: basic, and extended with an index and xattrs.
const DIRECTORY_TYPES: [u16; 2] = [1, 8];

/// Sets the attributes of the root directory. Returns the length of the image in bytes.
pub(super) fn set_attributes(fs: &ContainerFs, file: &File) -> Result<u64> {
    let mut image = Image::open(file)?;
    let stat = fs.stat(InodeId::ROOT);
    let mut owners = image.owners()?;
    let used = owners_of(fs);
    owners.retain(|id| used.contains(id));
    for id in [stat.uid, stat.gid] {
        if !owners.contains(&id) {
            owners.push(id);
        }
    }
    let number = |id: u32| owners.iter().position(|owner| *owner == id).map_or(0, |number| number as u16);
    let mut inode = [0; 12];
    let positions = image.root_inode_positions()?;
    for (position, byte) in positions.iter().zip(&mut inode) {
        *byte = image.read::<1>(*position)?[0];
    }
    if !DIRECTORY_TYPES.contains(&u16::from_le_bytes([inode[0], inode[1]])) {
        return Err(unexpected("a root that is not a directory"));
    }
    let seconds = stat.mtime.seconds.clamp(0, u32::MAX.into()) as u32;
    inode[2..4].copy_from_slice(&((stat.mode & 0o7777) as u16).to_le_bytes());
    inode[4..6].copy_from_slice(&number(stat.uid).to_le_bytes());
    inode[6..8].copy_from_slice(&number(stat.gid).to_le_bytes());
    inode[8..].copy_from_slice(&seconds.to_le_bytes());
    for (position, byte) in positions.into_iter().zip(inode) {
        image.write(position, &[byte])?;
    }
    image.set_owners(&owners)?;
    Ok(image.length.next_multiple_of(PADDING))
}

/// Returns the users and groups of all inodes except the root directory and sockets.
fn owners_of(fs: &ContainerFs) -> BTreeSet<u32> {
    let stats = fs.inodes().skip(1).map(|ino| fs.stat(ino));
    let kept = stats.filter(|stat| stat.kind != InodeKind::Socket);
    kept.flat_map(|stat| [stat.uid, stat.gid]).collect()
}

/// An image and the positions of its parts.
struct Image<'f> {
    file: &'f File,
    /// The length in bytes without the padding.
    length: u64,
    /// A reference to the root inode: its block in the inode table, and its offset in the block.
    root: u64,
    inodes: u64,
    /// The number of owners, and the offset of the list of their blocks.
    owners: u16,
    owner_list: u64,
    /// The offset of the list of xattr blocks.
    xattr_list: u64,
}

impl<'f> Image<'f> {
    fn open(file: &'f File) -> Result<Self> {
        let mut image = Self { file, length: 0, root: 0, inodes: 0, owners: 0, owner_list: 0, xattr_list: 0 };
        if image.read(0)? != *b"hsqs" {
            return Err(unexpected("another magic number"));
        }
        image.owners = u16::from_le_bytes(image.read(26)?);
        image.root = u64::from_le_bytes(image.read(32)?);
        image.length = u64::from_le_bytes(image.read(40)?);
        image.owner_list = u64::from_le_bytes(image.read(48)?);
        image.xattr_list = u64::from_le_bytes(image.read(56)?);
        image.inodes = u64::from_le_bytes(image.read(64)?);
        Ok(image)
    }

    /// Returns the positions of the first twelve bytes of the root inode, which may be in two blocks.
    fn root_inode_positions(&self) -> Result<Vec<u64>> {
        let mut block = self.inodes + (self.root >> 16);
        let mut offset = self.root & 0xffff;
        let mut positions = Vec::new();
        while positions.len() < 12 {
            let length = self.metadata_length(block)?;
            while offset < length && positions.len() < 12 {
                positions.push(block + 2 + offset);
                offset += 1;
            }
            offset -= length.min(offset);
            block += 2 + length;
        }
        Ok(positions)
    }

    /// Returns the length of a metadata block.
    fn metadata_length(&self, block: u64) -> Result<u64> {
        let header = u16::from_le_bytes(self.read(block)?);
        let length = u64::from(header & !UNCOMPRESSED);
        match header & UNCOMPRESSED {
            0 => Err(unexpected("compressed inodes")),
            _ if length == 0 || length > MAX_METADATA => Err(unexpected("a block of metadata of no size")),
            _ => Ok(length),
        }
    }

    fn owners(&self) -> Result<Vec<u32>> {
        let count = u64::from(self.owners);
        let mut owners = Vec::new();
        for number in 0..(4 * count).div_ceil(MAX_METADATA) {
            let block = u64::from_le_bytes(self.read(self.owner_list + 8 * number)?);
            for position in (0..self.metadata_length(block)?).step_by(4) {
                owners.push(u32::from_le_bytes(self.read(block + 2 + position)?));
            }
        }
        Ok(owners)
    }

    /// Replaces the table of owners, and moves the data behind it.
    fn set_owners(&mut self, owners: &[u32]) -> Result<()> {
        if owners == self.owners()? {
            return Ok(());
        }
        let count = u16::try_from(owners.len()).map_err(|_| unexpected("65,536 owners"))?;
        let old_lists = (4 * u64::from(self.owners)).div_ceil(MAX_METADATA);
        let start = if old_lists == 0 { self.owner_list } else { u64::from_le_bytes(self.read(self.owner_list)?) };
        let tail_start = self.owner_list + 8 * old_lists;
        let tail = self.length.checked_sub(tail_start).ok_or_else(|| unexpected("owners behind its end"))?;
        let mut tail = vec![0; usize::try_from(tail).map_err(|_| unexpected("more xattrs than memory"))?];
        self.file.read_exact_at(&mut tail, tail_start).map_err(Error::Image)?;

        let (mut blocks, mut list) = (Vec::new(), Vec::new());
        for owners in owners.chunks(MAX_METADATA as usize / 4) {
            list.extend((start + blocks.len() as u64).to_le_bytes());
            blocks.extend((UNCOMPRESSED | (4 * owners.len()) as u16).to_le_bytes());
            blocks.extend(owners.iter().flat_map(|owner| owner.to_le_bytes()));
        }
        let owner_list = start + blocks.len() as u64;
        let moved = (owner_list + list.len() as u64).wrapping_sub(tail_start);
        self.write(start, &[blocks, list, tail].concat())?;
        self.length = self.length.wrapping_add(moved);
        self.pad()?;
        self.write(26, &count.to_le_bytes())?;
        self.write(40, &self.length.to_le_bytes())?;
        self.write(48, &owner_list.to_le_bytes())?;
        self.move_xattrs(moved)
    }

    /// Pads the last block with zeros, and truncates a regular file behind it.
    fn pad(&self) -> Result<()> {
        let end = self.length.next_multiple_of(PADDING);
        if self.file.metadata().map_err(Error::Image)?.is_file() {
            self.file.set_len(end).map_err(Error::Image)?;
        }
        self.write(self.length, &[0; PADDING as usize][..(end - self.length) as usize])
    }

    /// Updates the positions of the xattrs after they were moved.
    fn move_xattrs(&mut self, moved: u64) -> Result<()> {
        if self.xattr_list == ABSENT {
            return Ok(());
        }
        let list = self.xattr_list.wrapping_add(moved);
        self.write(56, &list.to_le_bytes())?;
        // The list has the position of the xattrs, the number of their sets, and the positions of the blocks that
        // describe the sets.
        let sets = u64::from(u32::from_le_bytes(self.read(list + 8)?));
        let blocks = (16 * sets).div_ceil(MAX_METADATA);
        for slot in [list].into_iter().chain((0..blocks).map(|block| list + 16 + 8 * block)) {
            let position = u64::from_le_bytes(self.read(slot)?).wrapping_add(moved);
            self.write(slot, &position.to_le_bytes())?;
        }
        Ok(())
    }

    fn read<const LENGTH: usize>(&self, at: u64) -> Result<[u8; LENGTH]> {
        let mut bytes = [0; LENGTH];
        self.file.read_exact_at(&mut bytes, at).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => unexpected("parts behind its end"),
            _ => Error::Image(error),
        })?;
        Ok(bytes)
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, at).map_err(Error::Image)
    }
}

fn unexpected(what: &'static str) -> Error {
    Error::Unexpected { program: PROGRAM, what }
}
