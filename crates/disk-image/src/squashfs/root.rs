//! The attributes of the root directory.
//!
//! sqfstar gives the root directory the user who runs it and the time of day, whatever the tar and (before 4.6) its own
//! options say. Here it gets those of the image: in its inode, which is not compressed, and in the table of owners, which
//! loses the user who ran the program and gains who is missing. That table is at the end of the image, but for the
//! xattrs, which move along (kernel documentation, "Squashfs 4.0 Filesystem").

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use vmroot_container_fs::{ContainerFs, InodeId, InodeKind};

use super::PROGRAM;
use crate::{Error, Result};

/// Bytes of a block of metadata; two in front of it say how many there are, and whether they are compressed.
const METADATA: u64 = 8192;
const UNCOMPRESSED: u16 = 0x8000;
/// The image ends at a multiple of this.
const PADDING: u64 = 4096;
/// Nothing lies there.
const NOWHERE: u64 = u64::MAX;
/// Types of directories: small, and with room for an index and xattrs.
const DIRECTORIES: [u16; 2] = [1, 8];

/// Gives the root directory the attributes of the root's, and says how long the image is.
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
    let places = image.root_inode()?;
    for (place, byte) in places.iter().zip(&mut inode) {
        *byte = image.read::<1>(*place)?[0];
    }
    if !DIRECTORIES.contains(&u16::from_le_bytes([inode[0], inode[1]])) {
        return Err(unexpected("a root that is no directory"));
    }
    let seconds = stat.mtime.seconds.clamp(0, u32::MAX.into()) as u32;
    inode[2..4].copy_from_slice(&((stat.mode & 0o7777) as u16).to_le_bytes());
    inode[4..6].copy_from_slice(&number(stat.uid).to_le_bytes());
    inode[6..8].copy_from_slice(&number(stat.gid).to_le_bytes());
    inode[8..].copy_from_slice(&seconds.to_le_bytes());
    for (place, byte) in places.into_iter().zip(inode) {
        image.write(place, &[byte])?;
    }
    image.set_owners(&owners)?;
    Ok(image.length.next_multiple_of(PADDING))
}

/// Everybody who has something below the root directory, but for sockets.
fn owners_of(fs: &ContainerFs) -> BTreeSet<u32> {
    let stats = fs.inodes().skip(1).map(|ino| fs.stat(ino));
    let kept = stats.filter(|stat| stat.kind != InodeKind::Socket);
    kept.flat_map(|stat| [stat.uid, stat.gid]).collect()
}

/// An image, and where its parts are.
struct Image<'f> {
    file: &'f File,
    /// Bytes, without what fills the last block.
    length: u64,
    /// The block of the root's inode in the table of inodes, and where in the block.
    root: u64,
    inodes: u64,
    /// How many owners there are, and where the list of their blocks is.
    owners: u16,
    owner_list: u64,
    /// The same of xattrs.
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

    /// Where the first twelve bytes of the root's inode are: they may be in two blocks.
    fn root_inode(&self) -> Result<Vec<u64>> {
        let mut block = self.inodes + (self.root >> 16);
        let mut offset = self.root & 0xffff;
        let mut places = Vec::new();
        while places.len() < 12 {
            let length = self.metadata(block)?;
            while offset < length && places.len() < 12 {
                places.push(block + 2 + offset);
                offset += 1;
            }
            offset -= length.min(offset);
            block += 2 + length;
        }
        Ok(places)
    }

    /// The length of a block of metadata.
    fn metadata(&self, block: u64) -> Result<u64> {
        let header = u16::from_le_bytes(self.read(block)?);
        let length = u64::from(header & !UNCOMPRESSED);
        match header & UNCOMPRESSED {
            0 => Err(unexpected("compressed inodes")),
            _ if length == 0 || length > METADATA => Err(unexpected("a block of metadata of no size")),
            _ => Ok(length),
        }
    }

    fn owners(&self) -> Result<Vec<u32>> {
        let count = u64::from(self.owners);
        let mut owners = Vec::new();
        for number in 0..(4 * count).div_ceil(METADATA) {
            let block = u64::from_le_bytes(self.read(self.owner_list + 8 * number)?);
            for place in (0..self.metadata(block)?).step_by(4) {
                owners.push(u32::from_le_bytes(self.read(block + 2 + place)?));
            }
        }
        Ok(owners)
    }

    /// Puts another table of owners in place of the one there is, and what is behind it behind that.
    fn set_owners(&mut self, owners: &[u32]) -> Result<()> {
        if owners == self.owners()? {
            return Ok(());
        }
        let count = u16::try_from(owners.len()).map_err(|_| unexpected("65,536 owners"))?;
        let old_lists = (4 * u64::from(self.owners)).div_ceil(METADATA);
        let start = if old_lists == 0 { self.owner_list } else { u64::from_le_bytes(self.read(self.owner_list)?) };
        let tail_start = self.owner_list + 8 * old_lists;
        let tail = self.length.checked_sub(tail_start).ok_or_else(|| unexpected("owners behind its end"))?;
        let mut tail = vec![0; usize::try_from(tail).map_err(|_| unexpected("more xattrs than memory"))?];
        self.file.read_exact_at(&mut tail, tail_start).map_err(Error::Write)?;

        let (mut blocks, mut list) = (Vec::new(), Vec::new());
        for owners in owners.chunks(METADATA as usize / 4) {
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

    /// Fills the last block with zeros, and ends a file there; a device has its own end.
    fn pad(&self) -> Result<()> {
        let end = self.length.next_multiple_of(PADDING);
        if self.file.metadata().map_err(Error::Write)?.is_file() {
            self.file.set_len(end).map_err(Error::Write)?;
        }
        self.write(self.length, &[0; PADDING as usize][..(end - self.length) as usize])
    }

    /// Says of the xattrs, which were moved, where they are.
    fn move_xattrs(&mut self, moved: u64) -> Result<()> {
        if self.xattr_list == NOWHERE {
            return Ok(());
        }
        let list = self.xattr_list.wrapping_add(moved);
        self.write(56, &list.to_le_bytes())?;
        // Where the xattrs begin, how many sets of them there are, and where the blocks are that describe these.
        let sets = u64::from(u32::from_le_bytes(self.read(list + 8)?));
        let blocks = (16 * sets).div_ceil(METADATA);
        for place in [list].into_iter().chain((0..blocks).map(|block| list + 16 + 8 * block)) {
            let position = u64::from_le_bytes(self.read(place)?).wrapping_add(moved);
            self.write(place, &position.to_le_bytes())?;
        }
        Ok(())
    }

    fn read<const LENGTH: usize>(&self, at: u64) -> Result<[u8; LENGTH]> {
        let mut bytes = [0; LENGTH];
        self.file.read_exact_at(&mut bytes, at).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => unexpected("parts behind its end"),
            _ => Error::Write(error),
        })?;
        Ok(bytes)
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, at).map_err(Error::Write)
    }
}

fn unexpected(what: &'static str) -> Error {
    Error::Unexpected { program: PROGRAM, what }
}
