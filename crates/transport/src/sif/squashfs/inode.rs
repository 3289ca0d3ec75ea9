//! Inodes.

use super::metadata::Cursor;
use super::{Squashfs, Xattr};
use crate::Result;

/// The index that stands for no fragment.
const NO_FRAGMENT: u32 = u32::MAX;
/// The index that stands for no xattrs.
const NO_XATTRS: u32 = u32::MAX;
/// The maximum length in bytes of a symbolic link's target, as in the kernel.
const TARGET_LIMIT: u32 = 4096;

/// A file of any type.
#[derive(Debug)]
pub(in crate::sif) struct Inode {
    pub(in crate::sif) attributes: Attributes,
    pub(in crate::sif) kind: Kind,
}

/// The attributes of a file.
#[derive(Debug)]
pub(in crate::sif) struct Attributes {
    /// The permission bits, with those for set-user-ID, set-group-ID and sticky.
    pub(in crate::sif) mode: u32,
    pub(in crate::sif) uid: u32,
    pub(in crate::sif) gid: u32,
    /// The time of the last change, in seconds since 1970.
    pub(in crate::sif) modified: u32,
    /// The inode's number.
    pub(in crate::sif) number: u32,
    /// The number of names.
    pub(in crate::sif) links: u32,
    pub(in crate::sif) xattrs: Vec<Xattr>,
}

/// The type of a file, and its contents.
#[derive(Debug)]
pub(in crate::sif) enum Kind {
    Directory(Listing),
    File(Contents),
    Symlink(Vec<u8>),
    /// A device, with its major and minor number.
    Block(u32, u32),
    Character(u32, u32),
    Fifo,
    Socket,
}

/// The location of a directory's entries.
#[derive(Debug, Clone, Copy)]
pub(in crate::sif) struct Listing {
    /// The offset of the first block, from the start of the directory table.
    pub(super) block: u32,
    /// The offset in that block.
    pub(super) offset: u16,
    /// The length in bytes of the entries.
    pub(super) len: u32,
}

/// The location of a file's bytes.
#[derive(Debug, Clone, Copy)]
pub(in crate::sif) struct Contents {
    /// The length in bytes of the file.
    pub(in crate::sif) size: u64,
    /// The offset of the first block.
    pub(super) start: u64,
    /// The block with the end of the file, and the offset in it.
    pub(super) fragment: Option<(u32, u32)>,
    /// The position of the sizes of the blocks.
    pub(super) sizes: Cursor,
}

impl Squashfs {
    /// Reads the inode of a reference.
    pub(in crate::sif) fn inode(&mut self, reference: u64) -> Result<Inode> {
        let mut at = self.cursor(self.inode_table, reference)?;
        let at = &mut at;
        let kind = self.u16(at)?;
        let mode = u32::from(self.u16(at)?) & 0o7777;
        let (uid, gid) = (self.u16(at)?, self.u16(at)?);
        let (uid, gid) = (self.id(uid)?, self.id(gid)?);
        let modified = self.u32(at)?;
        let number = self.u32(at)?;
        let (kind, links, xattrs) = match kind {
            1 => self.directory(at)?,
            8 => self.extended_directory(at)?,
            2 => self.file(at)?,
            9 => self.extended_file(at)?,
            3..=7 | 10..=14 => self.special(at, kind)?,
            other => return Err(self.broken(format!("has an inode of the unknown type {other}"))),
        };
        let xattrs = if xattrs == NO_XATTRS { Vec::new() } else { self.xattrs(xattrs)? };
        Ok(Inode { attributes: Attributes { mode, uid, gid, modified, number, links, xattrs }, kind })
    }

    fn directory(&mut self, at: &mut Cursor) -> Result<(Kind, u32, u32)> {
        let (block, links) = (self.u32(at)?, self.u32(at)?);
        let (len, offset) = (u32::from(self.u16(at)?), self.u16(at)?);
        Ok((Kind::Directory(Listing { block, offset, len: len.saturating_sub(DOTS) }), links, NO_XATTRS))
    }

    fn extended_directory(&mut self, at: &mut Cursor) -> Result<(Kind, u32, u32)> {
        let (links, len, block) = (self.u32(at)?, self.u32(at)?, self.u32(at)?);
        let _parent = self.u32(at)?;
        let _index = self.u16(at)?;
        let (offset, xattrs) = (self.u16(at)?, self.u32(at)?);
        Ok((Kind::Directory(Listing { block, offset, len: len.saturating_sub(DOTS) }), links, xattrs))
    }

    fn file(&mut self, at: &mut Cursor) -> Result<(Kind, u32, u32)> {
        let start = u64::from(self.u32(at)?);
        let (fragment, offset) = (self.u32(at)?, self.u32(at)?);
        let size = u64::from(self.u32(at)?);
        let fragment = (fragment != NO_FRAGMENT).then_some((fragment, offset));
        Ok((Kind::File(Contents { size, start, fragment, sizes: *at }), 1, NO_XATTRS))
    }

    fn extended_file(&mut self, at: &mut Cursor) -> Result<(Kind, u32, u32)> {
        let (start, size) = (self.u64(at)?, self.u64(at)?);
        let _sparse = self.u64(at)?;
        let links = self.u32(at)?;
        let (fragment, offset) = (self.u32(at)?, self.u32(at)?);
        let xattrs = self.u32(at)?;
        let fragment = (fragment != NO_FRAGMENT).then_some((fragment, offset));
        Ok((Kind::File(Contents { size, start, fragment, sizes: *at }), links, xattrs))
    }

    /// Reads a link, a device, a FIFO or a socket. The types from 8 on have xattrs.
    fn special(&mut self, at: &mut Cursor, kind: u16) -> Result<(Kind, u32, u32)> {
        let links = self.u32(at)?;
        let kind_of_file = match kind {
            3 | 10 => {
                let len = self.u32(at)?;
                if len == 0 || len > TARGET_LIMIT {
                    return Err(self.broken(format!("has a symbolic link with a target of {len} bytes")));
                }
                let mut target = vec![0; len as usize];
                self.fill(at, &mut target)?;
                Kind::Symlink(target)
            }
            4 | 5 | 11 | 12 => {
                let device = self.u32(at)?;
                let (major, minor) = ((device & 0xfff00) >> 8, (device & 0xff) | ((device >> 12) & 0xfff00));
                if matches!(kind, 4 | 11) { Kind::Block(major, minor) } else { Kind::Character(major, minor) }
            }
            6 | 13 => Kind::Fifo,
            _ => Kind::Socket,
        };
        let xattrs = if kind >= 8 { self.u32(at)? } else { NO_XATTRS };
        Ok((kind_of_file, links, xattrs))
    }
}

/// The part of a directory's length that stands for `.` and `..`, which are not stored.
const DOTS: u32 = 3;
