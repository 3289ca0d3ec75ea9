//! Creates an empty file system.
//!
//! Only the blocks that are not zero are written: of the journal its first block, of the inode tables the block of the
//! first inodes, and bitmaps only for groups that the kernel cannot describe by itself. A disk of 8 GiB takes less than
//! 300 KiB.
//!
//! The first [`OLD_STYLE_GROUPS`] groups keep their descriptors after each copy of the superblock, as all ext4 readers
//! know it. A larger file system is created with these groups and then grown, so that further descriptors are in the
//! groups that they describe (`meta_bg`).

use std::fs::File;
use std::iter;

use sha2::{Digest as _, Sha256};
use vmroot_container_fs::InodeKind;
use vmroot_output::ImageFile;
use zerocopy::IntoBytes;

use crate::checksum::Seed;
use crate::entry::EntryBlock;
use crate::extents::Mapping;
use crate::format::{BLOCK, FIRST_INODE, GROUP, INODE, INODES_PER_BLOCK, JOURNAL_INODE, ROOT_INODE, inode_flags};
use crate::geometry::Geometry;
use crate::group::{self, Usage};
use crate::identity::Identity;
use crate::inode::{Storage, directory_record, journal_record};
use crate::output::Output;
use crate::space::Space;
use crate::{Error, MAX_LABEL, Result, grow_ext4, journal, superblock};

/// The smallest file system with a journal, in bytes. mke2fs has the same limit.
pub const MIN_SIZE_WITH_JOURNAL: u64 = 8 << 20;
/// The fewest bytes for each inode: a group has at most one inode for each bit of a block.
pub const MIN_BYTES_PER_INODE: u64 = BLOCK as u64;
/// The most bytes for each inode, as in mke2fs.
pub const MAX_BYTES_PER_INODE: u64 = 64 << 20;

/// The groups that have their descriptors after each copy of the superblock: 64 GiB.
const OLD_STYLE_GROUPS: u64 = 512;
/// The directory in which e2fsck puts files without a name. It has blocks in reserve, because a disk that needs
/// repair can be full.
const LOST_AND_FOUND: &[u8] = b"lost+found";
const LOST_AND_FOUND_BLOCKS: u64 = 4;
/// The root directory and `lost+found`.
const DIRECTORIES: u32 = 2;

/// Options of [`create_ext4`].
#[derive(Debug, Default, Clone, Copy)]
pub struct CreateOptions<'a> {
    /// Create a journal, of the size that mke2fs chooses.
    pub journal: bool,
    /// The label of the file system, at most [`MAX_LABEL`] bytes.
    pub label: &'a str,
    /// The UUID. `None` derives it from the size and the other options.
    pub uuid: Option<[u8; 16]>,
    /// Bytes for each inode, from [`MIN_BYTES_PER_INODE`] to [`MAX_BYTES_PER_INODE`]. `None`: 4096 for the first 32 MiB
    /// and then 16 KiB, from 4 TiB on 32 KiB, and from 16 TiB on 64 KiB.
    pub bytes_per_inode: Option<u64>,
}

/// Writes an empty file system of `size` bytes to a regular file or a device, replacing its previous contents.
///
/// It has a root directory with `lost+found`, and no reserved blocks. The bytes depend only on the arguments. A regular
/// file gets exactly this size; the file system can be up to one group (128 MiB) smaller, if the rest is too small for
/// the metadata of a group. There is no `resize_inode`; [`grow_ext4`](crate::grow_ext4) and Linux need none.
///
/// # Errors
/// - [`Error::TooSmall`]: the size is too small for the metadata, or for a journal ([`MIN_SIZE_WITH_JOURNAL`]).
/// - [`Error::LabelTooLong`], [`Error::BytesPerInode`]: the options exceed their limits.
/// - [`Error::Growth`]: the size needs more inodes than ext4 has numbers.
/// - [`Error::Write`]: the file cannot be written.
pub fn create_ext4(file: &File, size: u64, options: &CreateOptions<'_>) -> Result<()> {
    check(size, options)?;
    let target = ImageFile::buffered(file).map_err(Error::Write)?;
    if let Some(device) = target.device_size().map_err(Error::Write)?.filter(|device| *device < size) {
        return Err(Error::TooSmall { size: device, needed: size });
    }
    let blocks = size / BLOCK as u64;
    let inodes_per_group = inodes_per_group(size, options.bytes_per_inode);
    let first = blocks.min(OLD_STYLE_GROUPS * GROUP);
    let empty = Empty::new(first, inodes_per_group, options.journal.then(|| journal::blocks_for(blocks)))
        .ok_or_else(|| Error::TooSmall { size, needed: smallest(options) })?;
    let uuid = options.uuid.unwrap_or_else(|| derived_uuid(size, options));
    target.blank(size).map_err(Error::Write)?;
    empty.write(&Identity::new(uuid, options.label, 0), file)?;
    if blocks > first {
        grow_ext4(file, size)?;
    }
    Ok(())
}

fn check(size: u64, options: &CreateOptions<'_>) -> Result<()> {
    let (length, ratio) = (options.label.len(), options.bytes_per_inode.unwrap_or(MIN_BYTES_PER_INODE));
    if length > MAX_LABEL {
        return Err(Error::LabelTooLong { length, limit: MAX_LABEL });
    }
    if !(MIN_BYTES_PER_INODE..=MAX_BYTES_PER_INODE).contains(&ratio) {
        return Err(Error::BytesPerInode { bytes: ratio, least: MIN_BYTES_PER_INODE, most: MAX_BYTES_PER_INODE });
    }
    if options.journal && size < MIN_SIZE_WITH_JOURNAL {
        return Err(Error::TooSmall { size, needed: MIN_SIZE_WITH_JOURNAL });
    }
    Ok(())
}

/// Returns the number of inodes of each group of a file system of `size` bytes.
fn inodes_per_group(size: u64, ratio: Option<u64>) -> u32 {
    const TEBI: u64 = 1 << 40;
    let group = GROUP * BLOCK as u64;
    let inodes = match (ratio, size) {
        (Some(ratio), _) => group.min(size) / ratio,
        // Small disks have small files. The kernel never changes the number, so it must also fit a grown disk.
        (None, size) if size < group => (size >> 14).max((size >> 12).min(8192)),
        (None, size) if size < 4 * TEBI => group >> 14,
        (None, size) if size < 16 * TEBI => group >> 15,
        (None, size) => (group >> 16).min(u64::from(u32::MAX) / size.div_ceil(group)),
    };
    let whole = inodes / u64::from(INODES_PER_BLOCK) * u64::from(INODES_PER_BLOCK);
    whole.clamp(INODES_PER_BLOCK.into(), 8 * BLOCK as u64) as u32
}

/// Returns the smallest size with these options.
fn smallest(options: &CreateOptions<'_>) -> u64 {
    let fits = |blocks: &u64| {
        let size = blocks * BLOCK as u64;
        let journal = options.journal.then(|| journal::blocks_for(*blocks));
        Empty::new(*blocks, inodes_per_group(size, options.bytes_per_inode), journal).is_some()
    };
    (1..=GROUP).find(fits).unwrap_or(GROUP) * BLOCK as u64
}

fn derived_uuid(size: u64, options: &CreateOptions<'_>) -> [u8; 16] {
    let CreateOptions { journal, label, uuid: _, bytes_per_inode } = options;
    let text = format!("vmroot empty ext4 size={size} journal={journal} inodes={bytes_per_inode:?} label={label}");
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&Sha256::digest(text)[..16]);
    // Version 8 of RFC 9562: the bits are the implementation's.
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

/// The layout of an empty file system.
struct Empty {
    geometry: Geometry,
    blocks: u64,
    /// Number of blocks of the journal.
    journal: Option<u64>,
}

impl Empty {
    /// Returns `None` if the blocks are too few.
    fn new(blocks: u64, inodes_per_group: u32, journal: Option<u64>) -> Option<Self> {
        let mut groups = blocks.div_ceil(GROUP);
        while groups > 0 {
            let geometry = Geometry::new(groups, inodes_per_group);
            let empty = Self { blocks: blocks.min(groups * GROUP), geometry, journal };
            if empty.blocks >= empty.geometry.min_blocks() && empty.end() < empty.blocks {
                return Some(empty);
            }
            // The last group is too small even for its own metadata, so it is left out.
            groups -= 1;
        }
        None
    }

    /// Returns the end of the used blocks.
    fn end(&self) -> u64 {
        let mut space = Space::at(&self.geometry, 0);
        Mapping::allocate(&mut space, iter::once(0..1));
        Mapping::allocate(&mut space, iter::once(0..LOST_AND_FOUND_BLOCKS));
        self.journal.map(|blocks| Mapping::allocate(&mut space, iter::once(0..blocks)));
        space.position()
    }

    fn write(&self, identity: &Identity, file: &File) -> Result<()> {
        let seed = Seed::of(&identity.uuid);
        let mut writer = Writer { geometry: &self.geometry, seed, output: Output::new(file) };
        let mut space = Space::at(&self.geometry, 0);
        writer.directory(ROOT_INODE, 0o755, &mut space, &[(ROOT_INODE, &[(LOST_AND_FOUND, FIRST_INODE)])])?;
        let empty: &[Entries<'_>] = &[(ROOT_INODE, &[]), (0, &[]), (0, &[]), (0, &[])];
        writer.directory(FIRST_INODE, 0o700, &mut space, empty)?;
        let journal = self.journal.map(|blocks| writer.journal(blocks, &identity.uuid, &mut space)).transpose()?;
        let usage = Usage {
            geometry: &self.geometry,
            blocks: self.blocks,
            end: space.position(),
            last_inode: FIRST_INODE.into(),
            directories: vec![DIRECTORIES],
        };
        let mut output = writer.output;
        let descriptors = group::write_groups(&usage, seed, &mut output)?;
        let record = superblock::superblock(&usage, false, identity, journal);
        superblock::write_superblocks(&record, &descriptors, self.geometry.groups(), &mut output)
    }
}

/// The entries of a block of a directory: the inode of `..`, or 0 after the first block, and names with their inodes.
type Entries<'e> = (u32, &'e [(&'e [u8], u32)]);

/// Writes inodes of the first group, and their blocks.
struct Writer<'w> {
    geometry: &'w Geometry,
    seed: Seed,
    output: Output<'w>,
}

impl Writer<'_> {
    /// Writes a directory whose entries are directories.
    fn directory(&mut self, number: u32, mode: u16, space: &mut Space<'_>, blocks: &[Entries<'_>]) -> Result<()> {
        let seed = self.seed.inode(number);
        let mapping = Mapping::allocate(space, iter::once(0..blocks.len() as u64));
        let places = mapping.extents.iter().flat_map(|extent| extent.physical..extent.physical + extent.length);
        let mut links = 2;
        for (place, &(parent, entries)) in places.zip(blocks) {
            let mut block = EntryBlock::new();
            if parent != 0 {
                block.push(b".", number, InodeKind::Directory);
                block.push(b"..", parent, InodeKind::Directory);
            }
            entries.iter().for_each(|(name, inode)| block.push(name, *inode, InodeKind::Directory));
            links += entries.len() as u16;
            self.output.write_block(place, block.finish(seed))?;
        }
        let storage = self.storage(&mapping, seed, blocks.len() as u64)?;
        self.inode(number, directory_record(number, 0o040_000 | mode, links, &storage, self.seed).as_bytes())
    }

    /// Writes an empty journal. Returns its extents and its size in bytes.
    fn journal(&mut self, blocks: u64, uuid: &[u8; 16], space: &mut Space<'_>) -> Result<([u8; 60], u64)> {
        let mapping = Mapping::allocate(space, iter::once(0..blocks));
        self.output.write_block(mapping.extents[0].physical, &journal::superblock(blocks, uuid))?;
        let storage = self.storage(&mapping, self.seed.inode(JOURNAL_INODE), blocks)?;
        self.inode(JOURNAL_INODE, journal_record(&storage, self.seed).as_bytes())?;
        Ok((storage.block, storage.size))
    }

    fn storage(&mut self, mapping: &Mapping, seed: Seed, blocks: u64) -> Result<Storage> {
        let output = &mut self.output;
        let block = mapping.write(seed, |at, block| output.write_block(at, block))?;
        let size = blocks * BLOCK as u64;
        Ok(Storage { block, blocks: mapping.blocks(), size, flags: inode_flags::EXTENTS, ..Storage::default() })
    }

    fn inode(&mut self, number: u32, record: &[u8]) -> Result<()> {
        let table = self.geometry.places[0].inode_table * BLOCK as u64;
        self.output.write_bytes(table + u64::from(number - 1) * INODE as u64, record)
    }
}
