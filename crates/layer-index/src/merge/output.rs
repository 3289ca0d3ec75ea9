//! The result of a merge: what it is made of, and the writing of it.

use std::io::{Seek, Write};
use std::path::PathBuf;

use vmroot_model::Digest;

use super::stack::{Part, Stack};
use crate::access::prefix;
use crate::format::{ContentsRecord, DirentRecord, InodeRecord, KIND_ROOT, NO_INODE, Section, mode};
use crate::inode::{Inode, InodeKind};
use crate::write::IndexWriter;
use crate::xattr::XattrTable;
use crate::{Error, Result};

/// The most records that a section may have: see [`NO_INODE`].
const MAX_RECORDS: usize = NO_INODE as usize - 1;

pub(super) struct Output<'a> {
    stack: &'a Stack<'a>,
    /// Where the attributes of each inode are from. The root of no layers has none.
    inodes: Vec<Option<Part>>,
    /// The link count of each inode.
    links: Vec<u32>,
    /// Where each dirent is from, and its inode in the result.
    dirents: Vec<OutputDirent>,
    /// For each directory that is complete, how many dirents it and those before it have.
    ends: Vec<u32>,
    name_bytes: usize,
    xattrs: XattrTable,
    /// For each source, the result's number of its first contents file.
    first_contents: Vec<u32>,
    /// For each source and xattr set, the field `InodeRecord::xattrs` of the result; 0 until it is known.
    xattr_fields: Vec<Vec<u32>>,
}

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
        // An upper layer mostly adds.
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

    /// Adds a directory with the attributes of this one.
    pub(super) fn add_directory(&mut self, attributes: Option<Part>) -> Result<u32> {
        self.add(attributes, 2)
    }

    /// Adds an inode that is no directory and has no name yet.
    pub(super) fn add_inode(&mut self, part: Part) -> Result<u32> {
        self.add(Some(part), 0)
    }

    fn add(&mut self, part: Option<Part>, links: u32) -> Result<u32> {
        if self.inodes.len() >= MAX_RECORDS {
            return Err(full("inodes"));
        }
        if let Some(part) = part {
            self.add_xattrs(part)?;
        }
        self.inodes.push(part);
        self.links.push(links);
        Ok((self.inodes.len() - 1) as u32)
    }

    fn add_xattrs(&mut self, part: Part) -> Result<()> {
        if let Some(set) = self.stack.record(part).xattrs.get().checked_sub(1) {
            let field = &mut self.xattr_fields[part.source as usize][set as usize];
            if *field == 0 {
                let inode = self.stack.sources[part.source as usize].inode(part.inode);
                *field = self.xattrs.add(inode.xattrs()).ok_or_else(|| full("bytes of xattrs"))?;
            }
        }
        Ok(())
    }

    /// Counts one more name of an inode, or one more subdirectory.
    pub(super) fn add_link(&mut self, number: u32) {
        self.links[number as usize] += 1;
    }

    /// Adds a dirent with the name of this one to the directory that comes next.
    pub(super) fn add_dirent(&mut self, source: u32, dirent: u32, inode: u32) -> Result<()> {
        if self.dirents.len() >= MAX_RECORDS {
            return Err(full("directory entries"));
        }
        self.name_bytes += usize::from(self.stack.sources[source as usize].dirent(dirent).name_length.get());
        if self.name_bytes >= MAX_RECORDS {
            return Err(full("bytes of names"));
        }
        self.dirents.push(OutputDirent { source, dirent, inode });
        Ok(())
    }

    /// Completes a directory: they are completed in the order of their numbers.
    pub(super) fn end_directory(&mut self) {
        self.ends.push(self.dirents.len() as u32);
    }

    pub(super) fn write<W: Write + Seek>(self, chain_id: &Digest, out: W) -> Result<u64> {
        let contents = self.stack.sources.iter().flat_map(|source| source.index.contents());
        let write = || {
            let mut writer = IndexWriter::new(out)?;
            writer.records(Section::Inodes, self.inode_records())?;
            writer.records(Section::Dirents, self.dirent_records())?;
            writer.strings(Section::Names, self.dirents.iter().map(|dirent| self.name(dirent)))?;
            writer.strings(Section::Symlinks, self.sources().map(|inode| inode.link_target()))?;
            writer.records(Section::XattrSets, self.xattrs.sets.iter().copied())?;
            writer.records(Section::Xattrs, self.xattrs.xattrs.iter().copied())?;
            writer.bytes(Section::XattrBytes, &self.xattrs.bytes)?;
            let digests = self.sources().filter_map(|inode| inode.content_digest());
            writer.strings(Section::Digests, digests.map(|digest| &digest[..]))?;
            writer.records(Section::Contents, contents.map(ContentsRecord::from))?;
            writer.finish(KIND_ROOT, chain_id).map(|(_, length)| length)
        };
        write().map_err(|source| Error::Io { path: PathBuf::new(), source })
    }

    /// The inodes of the sources that the result's are made of, in its order.
    fn sources(&self) -> impl Iterator<Item = Inode<'a>> {
        self.inodes.iter().flatten().map(|part| self.stack.sources[part.source as usize].inode(part.inode))
    }

    fn name(&self, dirent: &OutputDirent) -> &'a [u8] {
        self.stack.sources[dirent.source as usize].name(dirent.dirent)
    }

    fn inode_records(&self) -> impl Iterator<Item = InodeRecord> {
        let (mut symlinks, mut digests, mut first) = (0, 0, 0);
        let mut ends = self.ends.iter();
        self.inodes.iter().zip(&self.links).map(move |(part, &links)| {
            let mut record = part.map_or_else(empty_root, |part| self.inode_record(part));
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

    /// The record of a source with what does not depend on its place in the result.
    fn inode_record(&self, part: Part) -> InodeRecord {
        let mut record = *self.stack.record(part);
        record.flags = 0.into();
        if let Some(set) = record.xattrs.get().checked_sub(1) {
            record.xattrs = self.xattr_fields[part.source as usize][set as usize].into();
        }
        if record.mode.get() & mode::TYPE == mode::REGULAR && record.size.get() > 0 {
            record.count += self.first_contents[part.source as usize];
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
                prefix: prefix(name),
                name_length: (name.len() as u16).into(),
                kind: self.dirent_kind(dirent.inode),
                reserved: 0,
            }
        })
    }

    fn dirent_kind(&self, inode: u32) -> u8 {
        let mode = self.inodes[inode as usize].map_or(mode::DIRECTORY, |part| self.stack.record(part).mode.get());
        InodeKind::of_mode(mode).expect("sources have no other types").dirent_kind()
    }
}

/// The root of no layers.
fn empty_root() -> InodeRecord {
    InodeRecord { mode: (mode::DIRECTORY | 0o755).into(), ..InodeRecord::default() }
}

fn full(what: &'static str) -> Error {
    Error::TooLarge { what, limit: u64::from(u32::MAX) }
}
