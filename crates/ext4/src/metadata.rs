//! Writes inodes and the blocks that belong to them: directories, symlinks, extent trees, xattrs.

use std::iter;
use std::ops::Range;

use vmroot_container_fs::{ContainerFs, InodeId, InodeKind, Stat};
use zerocopy::IntoBytes;

use super::checksum::Seed;
use super::content::{Content, SHORT_LINK};
use super::directory::{Directory, children};
use super::extents::Mapping;
use super::format::{BLOCK, INODE, InodeRecord, JOURNAL_INODE, inode_flags};
use super::inode::{Storage, device_block, journal_record, number_of, record, value_record};
use super::journal;
use super::layout::Layout;
use super::output::Output;
use super::space::Space;
use super::xattr::XattrSet;
use crate::Result;

/// Writes the inode tables and the blocks, each in ascending order.
pub(super) struct MetadataWriter<'w, 'a> {
    content: &'w Content<'a>,
    layout: &'w Layout,
    uuid: [u8; 16],
    seed: Seed,
    tables: Output<'w>,
    blocks: Output<'w>,
}

impl<'w, 'a> MetadataWriter<'w, 'a> {
    pub(super) fn new(content: &'w Content<'a>, layout: &'w Layout, uuid: [u8; 16], file: &'w std::fs::File) -> Self {
        let seed = Seed::of(&uuid);
        Self { content, layout, uuid, seed, tables: Output::new(file), blocks: Output::new(file) }
    }

    /// Writes all metadata. Returns the extents and the size in bytes of the journal, if there is one.
    pub(super) fn write(mut self) -> Result<Option<([u8; 60], u64)>> {
        let fs = self.content.fs;
        let mut parents = vec![0; fs.inode_count() as usize];
        let root = self.write_inode(InodeId::ROOT, InodeId::ROOT)?;
        self.write_record(number_of(InodeId::ROOT), &root)?;
        let journal = self.write_journal()?;
        record_parents(fs, InodeId::ROOT, &mut parents);
        for ino in fs.inodes().skip(1) {
            let record = self.write_inode(ino, InodeId(parents[ino.0 as usize]))?;
            record_parents(fs, ino, &mut parents);
            self.write_record(number_of(ino), &record)?;
        }
        for number in 0..self.content.xattr_blocks.len() {
            self.write_xattr_block(number)?;
        }
        self.tables.flush()?;
        self.blocks.flush()?;
        Ok(journal)
    }

    /// Writes the blocks of an inode. Returns its record.
    fn write_inode(&mut self, ino: InodeId, parent: InodeId) -> Result<InodeRecord> {
        let fs = self.content.fs;
        let stat = fs.stat(ino);
        let mut storage = match stat.kind {
            InodeKind::Directory => self.write_directory(&stat, parent)?,
            InodeKind::Symlink => self.write_symlink(&stat)?,
            InodeKind::Regular => self.write_file(&stat)?,
            InodeKind::Character | InodeKind::Block => {
                Storage { block: device_block(stat.device), ..Storage::default() }
            }
            _ => Storage::default(),
        };
        self.set_xattrs(ino, &mut storage);
        Ok(record(&stat, &storage, self.seed))
    }

    fn write_directory(&mut self, stat: &Stat, parent: InodeId) -> Result<Storage> {
        let fs = self.content.fs;
        let directory = Directory::new(fs, stat.ino, &self.content.hasher).expect("the content was counted");
        let mut storage =
            self.write_mapping(number_of(stat.ino), self.place(stat.ino), iter::once(0..directory.blocks()))?;
        let seed = self.seed.inode(number_of(stat.ino));
        let mut places = self.space(self.place(stat.ino));
        let output = &mut self.blocks;
        directory.write(fs, stat.ino, parent, seed, |block| output.write_block(places.allocate_block(), block))?;
        storage.size = directory.blocks() * BLOCK as u64;
        storage.flags |= if directory.is_indexed() { inode_flags::INDEX } else { 0 };
        Ok(storage)
    }

    fn write_symlink(&mut self, stat: &Stat) -> Result<Storage> {
        let target = self.content.fs.readlink(stat.ino)?;
        if stat.size < SHORT_LINK {
            let mut block = [0; 60];
            block[..target.len()].copy_from_slice(target);
            return Ok(Storage { block, size: stat.size, ..Storage::default() });
        }
        let place = self.place(stat.ino);
        let storage = self.write_mapping(number_of(stat.ino), place, iter::once(0..1))?;
        self.write_padded(place, target)?;
        Ok(Storage { size: stat.size, ..storage })
    }

    fn write_file(&mut self, stat: &Stat) -> Result<Storage> {
        let content = self.content;
        let runs =
            content.fs.extent(stat.ino).map_or_else(Default::default, |extent| content.data_runs(stat.ino, extent));
        let storage = self.write_mapping(number_of(stat.ino), self.place(stat.ino), runs.iter().cloned())?;
        Ok(Storage { size: stat.size, ..storage })
    }

    fn set_xattrs(&mut self, ino: InodeId, storage: &mut Storage) {
        if let Some(number) = self.content.xattr_block_of(ino) {
            let block = &self.content.xattr_blocks[number];
            storage.xattr_block = self.xattr_place(number);
            // External values count for every inode that refers to them, even if the inodes share the block.
            let values = &self.content.values[block.first_value..block.first_value + block.values];
            storage.blocks += 1 + values.iter().map(|length| length.div_ceil(BLOCK as u64)).sum::<u64>();
        } else if self.content.fs.has_xattrs(ino) {
            storage.xattrs = xattr_set(self.content.fs, ino).in_inode();
        }
    }

    /// Writes a block of xattrs and the inodes of its external values.
    fn write_xattr_block(&mut self, number: usize) -> Result<()> {
        let block = &self.content.xattr_blocks[number];
        let set = xattr_set(self.content.fs, block.owner);
        let numbers = (block.first_value..).map(|value| self.content.value_inode(value));
        let at = self.xattr_place(number);
        let bytes = set.block(self.seed, at, block.sharers, numbers);
        self.blocks.write_block(at, &bytes[..])?;
        for (value, bytes) in (block.first_value..).zip(set.external_values()) {
            let (inode, place) = (self.content.value_inode(value), self.layout.placement.values[value]);
            let mut storage = self.write_mapping(inode, place, iter::once(0..bytes.len().div_ceil(BLOCK) as u64))?;
            self.write_padded(place, bytes)?;
            storage.size = bytes.len() as u64;
            storage.flags |= inode_flags::EA_INODE;
            let record = value_record(inode, &storage, self.seed.with(bytes).value(), self.seed);
            self.write_record(inode, &record)?;
        }
        Ok(())
    }

    fn write_journal(&mut self) -> Result<Option<([u8; 60], u64)>> {
        let Some((blocks, place)) = self.layout.placement.journal else { return Ok(None) };
        let mut storage = self.write_mapping(JOURNAL_INODE, place, iter::once(0..blocks))?;
        storage.size = blocks * BLOCK as u64;
        self.write_padded(place, &journal::superblock(blocks, &self.uuid))?;
        self.write_record(JOURNAL_INODE, &journal_record(&storage, self.seed))?;
        Ok(Some((storage.block, storage.size)))
    }

    /// Writes the extent tree of an inode. Returns the fields that describe it.
    fn write_mapping(&mut self, inode: u32, place: u64, runs: impl IntoIterator<Item = Range<u64>>) -> Result<Storage> {
        let mapping = Mapping::allocate(&mut self.space(place), runs);
        let output = &mut self.blocks;
        let block = mapping.write(self.seed.inode(inode), |at, block| output.write_block(at, block))?;
        Ok(Storage { block, blocks: mapping.blocks(), flags: inode_flags::EXTENTS, ..Storage::default() })
    }

    /// Writes bytes to the blocks from a position on, padded with zeros.
    fn write_padded(&mut self, place: u64, bytes: &[u8]) -> Result<()> {
        let mut places = self.space(place);
        for chunk in bytes.chunks(BLOCK) {
            let mut block = [0; BLOCK];
            block[..chunk.len()].copy_from_slice(chunk);
            self.blocks.write_block(places.allocate_block(), &block)?;
        }
        Ok(())
    }

    /// Writes a record to its inode table.
    fn write_record(&mut self, number: u32, record: &InodeRecord) -> Result<()> {
        let in_group = self.layout.geometry.inodes_per_group;
        let place = &self.layout.geometry.places[((number - 1) / in_group) as usize];
        let offset = place.inode_table * BLOCK as u64 + u64::from((number - 1) % in_group) * INODE as u64;
        self.tables.write_bytes(offset, record.as_bytes())
    }

    fn space(&self, place: u64) -> Space<'w> {
        Space::at(&self.layout.geometry, place)
    }

    /// Returns the position at which the allocation of an inode's blocks began.
    fn place(&self, ino: InodeId) -> u64 {
        self.layout.placement.inodes[ino.0 as usize]
    }

    fn xattr_place(&self, number: usize) -> u64 {
        self.space(self.layout.placement.xattr_blocks[number]).allocate_block()
    }
}

fn xattr_set(fs: &ContainerFs, ino: InodeId) -> XattrSet<'_> {
    XattrSet::new(fs.xattrs(ino), |_, _| {})
}

/// Records the parent of each subdirectory. A directory always has a smaller number than its entries.
fn record_parents(fs: &ContainerFs, directory: InodeId, parents: &mut [u32]) {
    for child in children(fs, directory, 0).filter(|child| child.kind == InodeKind::Directory) {
        parents[child.ino.0 as usize] = directory.0;
    }
}
