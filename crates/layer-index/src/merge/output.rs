//! The result of a merge: the origin of its records, and writing them.

use std::io::{Seek, Write};
use std::path::PathBuf;

use vmroot_model::Digest;

use super::stack::{SourceInode, Stack};
use crate::access::name_prefix;
use crate::format::{ContentsRecord, DirentRecord, InodeRecord, KIND_ROOT, NO_INODE, Section, mode};
use crate::inode::{Inode, InodeKind};
use crate::write::IndexWriter;
use crate::xattr::XattrTable;
use crate::{Error, Result};

/// The largest number of records in a section. See [`NO_INODE`].
const MAX_RECORDS: usize = NO_INODE as usize - 1;

/// The inodes and dirents of the result, as references to the sources.
pub(super) struct Output<'a> {
    stack: &'a Stack<'a>,
    /// The source inode that each inode has its attributes from. `None` for the root of an empty stack.
    inodes: Vec<Option<SourceInode>>,
    /// The link count of each inode.
    links: Vec<u32>,
    /// The dirents of the result.
    dirents: Vec<OutputDirent>,
    /// For each complete directory, the number of dirents up to its last one.
    ends: Vec<u32>,
    name_bytes: usize,
    xattrs: XattrTable,
    /// For each source, the number in the result of its first contents file.
    first_contents: Vec<u32>,
    /// For each source and xattr set, the value of `InodeRecord::xattrs` in the result, or 0 before the set is added.
    xattr_fields: Vec<Vec<u32>>,
}

/// A dirent of the result: its origin, and the number of its inode in the result.
struct OutputDirent {
    source: u32,
    dirent: u32,
    inode: u32,
}

impl<'a> Output<'a> {
    pub(super) fn new(stack: &'a Stack<'a>) -> Self {
        let first = |number: &mut u32, files| {
            let first = *number;
            *number += files;
            Some(first)
        };
        let files = stack.sources.iter().map(|source| source.index.contents().len() as u32);
        let sets = stack.sources.iter().map(|source| vec![0; source.index.xattr_set_count()]);
        // The sums are good estimates, since upper layers mostly add entries.
        let inodes = stack.sources.iter().map(|source| source.index.inode_count() as usize).sum();
        let dirents = stack.sources.iter().map(|source| source.index.dirent_count() as usize).sum();
        Self {
            stack,
            inodes: Vec::with_capacity(inodes),
            links: Vec::with_capacity(inodes),
            dirents: Vec::with_capacity(dirents),
            ends: Vec::new(),
            name_bytes: 0,
            xattrs: XattrTable::default(),
            first_contents: files.scan(0, first).collect(),
            xattr_fields: sets.collect(),
        }
    }

    /// Adds a directory with the attributes of a source directory, and returns its number.
    pub(super) fn add_directory(&mut self, attributes: Option<SourceInode>) -> Result<u32> {
        self.add(attributes, 2)
    }

    /// Adds an inode that is not a directory and has no name yet, and returns its number.
    pub(super) fn add_inode(&mut self, origin: SourceInode) -> Result<u32> {
        self.add(Some(origin), 0)
    }

    fn add(&mut self, origin: Option<SourceInode>, links: u32) -> Result<u32> {
        if self.inodes.len() >= MAX_RECORDS {
            return Err(too_large("inodes"));
        }
        if let Some(origin) = origin {
            self.add_xattrs(origin)?;
        }
        self.inodes.push(origin);
        self.links.push(links);
        Ok((self.inodes.len() - 1) as u32)
    }

    fn add_xattrs(&mut self, origin: SourceInode) -> Result<()> {
        if let Some(set) = self.stack.record(origin).xattrs.get().checked_sub(1) {
            let field = &mut self.xattr_fields[origin.source as usize][set as usize];
            if *field == 0 {
                let inode = self.stack.sources[origin.source as usize].inode(origin.inode);
                *field = self.xattrs.add(inode.xattrs()).ok_or_else(|| too_large("bytes of xattrs"))?;
            }
        }
        Ok(())
    }

    /// Adds one to the link count of an inode, for a name of it or for a subdirectory.
    pub(super) fn add_link(&mut self, number: u32) {
        self.links[number as usize] += 1;
    }

    /// Adds a dirent with the name of a source's dirent to the directory that [`Self::end_directory`] completes next.
    pub(super) fn add_dirent(&mut self, source: u32, dirent: u32, inode: u32) -> Result<()> {
        if self.dirents.len() >= MAX_RECORDS {
            return Err(too_large("directory entries"));
        }
        self.name_bytes += usize::from(self.stack.sources[source as usize].dirent(dirent).name_length.get());
        if self.name_bytes >= MAX_RECORDS {
            return Err(too_large("bytes of names"));
        }
        self.dirents.push(OutputDirent { source, dirent, inode });
        Ok(())
    }

    /// Completes a directory. Directories are completed in the order of their numbers.
    pub(super) fn end_directory(&mut self) {
        self.ends.push(self.dirents.len() as u32);
    }

    /// Writes the index to `out` and returns its length in bytes.
    pub(super) fn write<W: Write + Seek>(self, chain_id: &Digest, out: W) -> Result<u64> {
        let contents = self.stack.sources.iter().flat_map(|source| source.index.contents());
        let write = || {
            let mut writer = IndexWriter::new(out)?;
            writer.write_records(Section::Inodes, self.inode_records())?;
            writer.write_records(Section::Dirents, self.dirent_records())?;
            writer.write_strings(Section::Names, self.dirents.iter().map(|dirent| self.name(dirent)))?;
            writer.write_strings(Section::Symlinks, self.source_inodes().map(|inode| inode.link_target()))?;
            writer.write_records(Section::XattrSets, self.xattrs.sets.iter().copied())?;
            writer.write_records(Section::Xattrs, self.xattrs.xattrs.iter().copied())?;
            writer.write_bytes(Section::XattrBytes, &self.xattrs.bytes)?;
            let digests = self.source_inodes().filter_map(|inode| inode.content_digest());
            writer.write_strings(Section::Digests, digests.map(|digest| &digest[..]))?;
            writer.write_records(Section::Contents, contents.map(ContentsRecord::from))?;
            writer.finish(KIND_ROOT, chain_id).map(|(_, length)| length)
        };
        write().map_err(|source| Error::Io { path: PathBuf::new(), source })
    }

    /// Returns the source inodes of the result's inodes, in the order of the result.
    fn source_inodes(&self) -> impl Iterator<Item = Inode<'a>> {
        self.inodes.iter().flatten().map(|origin| self.stack.sources[origin.source as usize].inode(origin.inode))
    }

    fn name(&self, dirent: &OutputDirent) -> &'a [u8] {
        self.stack.sources[dirent.source as usize].name(dirent.dirent)
    }

    fn inode_records(&self) -> impl Iterator<Item = InodeRecord> {
        let (mut symlinks, mut digests, mut first) = (0, 0, 0);
        let mut ends = self.ends.iter();
        self.inodes.iter().zip(&self.links).map(move |(origin, &links)| {
            let mut record = origin.map_or_else(empty_root, |origin| self.inode_record(origin));
            record.nlink = links.into();
            match InodeKind::of_mode(record.mode.get()).expect("sources have no other types") {
                InodeKind::Directory => {
                    let end = *ends.next().expect("every directory was completed");
                    (record.data, record.count) = (u64::from(first).into(), (end - first).into());
                    first = end;
                }
                InodeKind::Symlink => {
                    record.data = symlinks.into();
                    symlinks += record.size.get();
                }
                InodeKind::Regular if record.size.get() > 0 => {
                    digests += 1;
                    record.digest = digests.into();
                }
                _ => {}
            }
            record
        })
    }

    /// Returns the record of a source inode, with the fields set that do not depend on its position in the result.
    fn inode_record(&self, origin: SourceInode) -> InodeRecord {
        let mut record = *self.stack.record(origin);
        record.flags = 0.into();
        if let Some(set) = record.xattrs.get().checked_sub(1) {
            record.xattrs = self.xattr_fields[origin.source as usize][set as usize].into();
        }
        if record.mode.get() & mode::TYPE == mode::REGULAR && record.size.get() > 0 {
            record.count += self.first_contents[origin.source as usize];
        }
        record
    }

    fn dirent_records(&self) -> impl Iterator<Item = DirentRecord> {
        let mut offset = 0;
        self.dirents.iter().map(move |dirent| {
            let name = self.name(dirent);
            let name_offset = offset;
            offset += name.len() as u32;
            DirentRecord {
                name_offset: name_offset.into(),
                inode: dirent.inode.into(),
                prefix: name_prefix(name),
                name_length: (name.len() as u16).into(),
                kind: self.dirent_kind(dirent.inode),
                reserved: 0,
            }
        })
    }

    fn dirent_kind(&self, inode: u32) -> u8 {
        let mode = self.inodes[inode as usize].map_or(mode::DIRECTORY, |origin| self.stack.record(origin).mode.get());
        InodeKind::of_mode(mode).expect("sources have no other types").dirent_kind()
    }
}

/// Returns the root directory of an empty stack.
fn empty_root() -> InodeRecord {
    InodeRecord { mode: (mode::DIRECTORY | 0o755).into(), ..InodeRecord::default() }
}

/// Returns the error for a section that would hold too many of `what`.
fn too_large(what: &'static str) -> Error {
    Error::TooLarge { what, limit: u64::from(u32::MAX) }
}
