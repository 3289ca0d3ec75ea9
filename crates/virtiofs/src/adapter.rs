//! The guest's requests, translated.
//!
//! The root never changes, which saves most requests: names that exist and that do not, attributes, links, directories
//! and file pages are the guest's to keep, open and opendir are answered "not implemented", which makes it never ask
//! again, and a directory comes with the attributes of what it holds.

use std::ffi::CStr;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use fuse_backend_rs::abi::fuse_abi::{CreateIn, stat64, statvfs64};
use fuse_backend_rs::api::filesystem::{
    Context, DirEntry, Entry, FileSystem, FsOptions, GetxattrReply, ListxattrReply, OpenOptions, SetattrValid,
    ZeroCopyReader, ZeroCopyWriter,
};
use rustix::io::Errno;
use vmroot_container_fs::{ContainerFs, Error, InodeId, InodeKind, ReadFailures};

use crate::attributes::{TTL, attributes, entry, no_entry, number, statfs};
use crate::requests::MAX_DATA;
use crate::sources::Sources;

/// Offsets in a directory: 0 is before `.`, 1 before `..`, and what follows are cookies of [`ContainerFs::readdir`].
const DOTS: [&[u8]; 2] = [b".", b".."];

/// What makes the guest ask less; what an old kernel does not know is left out by the library.
const CAPABILITIES: FsOptions = FsOptions::ASYNC_READ
    .union(FsOptions::ASYNC_DIO)
    .union(FsOptions::BIG_WRITES)
    .union(FsOptions::MAX_PAGES)
    .union(FsOptions::DO_READDIRPLUS)
    .union(FsOptions::PARALLEL_DIROPS)
    .union(FsOptions::CACHE_SYMLINKS)
    .union(FsOptions::EXPLICIT_INVAL_DATA);

/// What the names of POSIX access lists start with (acl(5)).
const ACCESS_LISTS: &[u8] = b"system.posix_acl_";

/// The bits of open(2)'s flags that say whether a file is written: `O_WRONLY`, `O_RDWR`.
const WRITING: u32 = 0o3;

/// A [`ContainerFs`] as `fuse-backend-rs` wants it.
pub(crate) struct Adapter {
    root: Arc<ContainerFs>,
    sources: Sources,
    failures: ReadFailures,
}

impl Adapter {
    pub(crate) fn new(root: Arc<ContainerFs>) -> Self {
        Self { sources: Sources::new(&root), root, failures: ReadFailures::default() }
    }

    /// The inode that a request is about: the guest may name any number.
    fn inode(&self, number: u64) -> io::Result<InodeId> {
        number.checked_sub(1).and_then(|number| self.root.inode_id(number)).ok_or(Errno::STALE.into())
    }

    /// Hands the entries of a directory from `offset` on to `add`, until that says 0: it is full.
    fn list(
        &self,
        directory: u64,
        offset: u64,
        add: &mut dyn FnMut(DirEntry<'_>, InodeId) -> io::Result<usize>,
    ) -> io::Result<()> {
        let directory = self.inode(directory)?;
        let dots = DOTS.len() as u64;
        let entries = self.root.readdir(directory, offset.saturating_sub(dots)).map_err(failed)?;
        // The guest does not look at the inode of a dot, and no one is known for the second.
        let dotted = (1..=dots).zip(DOTS).skip(offset.min(dots) as usize).map(|(next, name)| (name, directory, next));
        let entries = entries.map(|entry| (entry.name, entry.ino, entry.next + dots));
        for (name, ino, offset) in dotted.chain(entries) {
            // The type bits of a mode are, shifted, those of readdir(3).
            let type_ = self.root.stat(ino).mode >> 12 & 0o17;
            if add(DirEntry { ino: number(ino), offset, type_, name }, ino)? == 0 {
                break;
            }
        }
        Ok(())
    }
}

fn failed(error: Error) -> io::Error {
    error.errno().into()
}

fn read_only<T>() -> io::Result<T> {
    Err(Errno::ROFS.into())
}

impl FileSystem for Adapter {
    type Inode = u64;
    type Handle = u64;

    fn init(&self, _: FsOptions) -> io::Result<FsOptions> {
        let lists = if self.root.any_has_xattr(ACCESS_LISTS) { FsOptions::POSIX_ACL } else { FsOptions::empty() };
        Ok(CAPABILITIES | lists)
    }

    fn lookup(&self, _: &Context, parent: u64, name: &CStr) -> io::Result<Entry> {
        match self.root.lookup(self.inode(parent)?, name.to_bytes()) {
            Ok(ino) => Ok(entry(&self.root.stat(ino))),
            Err(Error::NotFound(_)) => Ok(no_entry()),
            Err(error) => Err(failed(error)),
        }
    }

    fn getattr(&self, _: &Context, inode: u64, _: Option<u64>) -> io::Result<(stat64, Duration)> {
        Ok((attributes(&self.root.stat(self.inode(inode)?)), TTL))
    }

    fn readlink(&self, _: &Context, inode: u64) -> io::Result<Vec<u8>> {
        Ok(self.root.readlink(self.inode(inode)?).map_err(failed)?.to_vec())
    }

    /// Never asked for again after "not implemented"; the guest keeps pages from then on as with `FOPEN_KEEP_CACHE`.
    fn open(&self, _: &Context, _: u64, flags: u32, _: u32) -> io::Result<(Option<u64>, OpenOptions, Option<u32>)> {
        if flags & WRITING == 0 { Err(Errno::NOSYS.into()) } else { read_only() }
    }

    /// As [`Self::open`], with `FOPEN_CACHE_DIR`.
    fn opendir(&self, _: &Context, _: u64, _: u32) -> io::Result<(Option<u64>, OpenOptions)> {
        Err(Errno::NOSYS.into())
    }

    fn read(
        &self,
        _: &Context,
        inode: u64,
        _: u64,
        guest: &mut dyn ZeroCopyWriter,
        size: u32,
        offset: u64,
        _: Option<u64>,
        _: u32,
    ) -> io::Result<usize> {
        let ino = self.inode(inode)?;
        if self.root.stat(ino).kind == InodeKind::Directory {
            return Err(Errno::ISDIR.into());
        }
        // The guest would take the bytes that are missing from a short answer for zeros.
        if size > MAX_DATA || size as usize > guest.available_bytes() {
            return Err(Errno::INVAL.into());
        }
        let Some(extent) = self.root.extent(ino).filter(|extent| offset < extent.length) else { return Ok(0) };
        let count = (extent.length - offset).min(size.into()) as usize;
        let start = extent.offset + offset;
        let read = self.sources.lend(&self.root, extent.file, |file| {
            guest.write_all_from(file, count, start)?;
            Ok(count)
        });
        read.map_err(|cause| {
            self.failures.report(self.root.contents_file(extent.file), start, &cause);
            // Whatever it is here, to the guest its disk is bad.
            Errno::IO.into()
        })
    }

    fn readdir(
        &self,
        _: &Context,
        inode: u64,
        _: u64,
        _: u32,
        offset: u64,
        add: &mut dyn FnMut(DirEntry<'_>) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.list(inode, offset, &mut |dirent, _| add(dirent))
    }

    fn readdirplus(
        &self,
        _: &Context,
        inode: u64,
        _: u64,
        _: u32,
        offset: u64,
        add: &mut dyn FnMut(DirEntry<'_>, Entry) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.list(inode, offset, &mut |dirent, ino| add(dirent, entry(&self.root.stat(ino))))
    }

    fn statfs(&self, _: &Context, _: u64) -> io::Result<statvfs64> {
        statfs(&self.root.statfs())
    }

    fn getxattr(&self, _: &Context, inode: u64, name: &CStr, size: u32) -> io::Result<GetxattrReply> {
        let value = self.root.xattr(self.inode(inode)?, name.to_bytes()).ok_or(Errno::NODATA)?;
        Ok(match room(value.len(), size)? {
            Room::None(length) => GetxattrReply::Count(length),
            Room::Enough => GetxattrReply::Value(value.to_vec()),
        })
    }

    fn listxattr(&self, _: &Context, inode: u64, size: u32) -> io::Result<ListxattrReply> {
        let names =
            self.root.xattrs(self.inode(inode)?).flat_map(|(name, _)| [name, b"\0"]).collect::<Vec<_>>().concat();
        Ok(match room(names.len(), size)? {
            Room::None(length) => ListxattrReply::Count(length),
            Room::Enough => ListxattrReply::Names(names),
        })
    }

    fn setattr(
        &self,
        _: &Context,
        _: u64,
        _: stat64,
        _: Option<u64>,
        _: SetattrValid,
    ) -> io::Result<(stat64, Duration)> {
        read_only()
    }

    fn symlink(&self, _: &Context, _: &CStr, _: u64, _: &CStr) -> io::Result<Entry> {
        read_only()
    }

    fn mknod(&self, _: &Context, _: u64, _: &CStr, _: u32, _: u32, _: u32) -> io::Result<Entry> {
        read_only()
    }

    fn mkdir(&self, _: &Context, _: u64, _: &CStr, _: u32, _: u32) -> io::Result<Entry> {
        read_only()
    }

    fn unlink(&self, _: &Context, _: u64, _: &CStr) -> io::Result<()> {
        read_only()
    }

    fn rmdir(&self, _: &Context, _: u64, _: &CStr) -> io::Result<()> {
        read_only()
    }

    fn rename(&self, _: &Context, _: u64, _: &CStr, _: u64, _: &CStr, _: u32) -> io::Result<()> {
        read_only()
    }

    fn link(&self, _: &Context, _: u64, _: u64, _: &CStr) -> io::Result<Entry> {
        read_only()
    }

    fn create(
        &self,
        _: &Context,
        _: u64,
        _: &CStr,
        _: CreateIn,
    ) -> io::Result<(Entry, Option<u64>, OpenOptions, Option<u32>)> {
        read_only()
    }

    fn write(
        &self,
        _: &Context,
        _: u64,
        _: u64,
        _: &mut dyn ZeroCopyReader,
        _: u32,
        _: u64,
        _: Option<u64>,
        _: bool,
        _: u32,
        _: u32,
    ) -> io::Result<usize> {
        read_only()
    }

    fn fallocate(&self, _: &Context, _: u64, _: u64, _: u32, _: u64, _: u64) -> io::Result<()> {
        read_only()
    }

    fn setxattr(&self, _: &Context, _: u64, _: &CStr, _: &[u8], _: u32) -> io::Result<()> {
        read_only()
    }

    fn removexattr(&self, _: &Context, _: u64, _: &CStr) -> io::Result<()> {
        read_only()
    }
}

/// What the caller of xattr(7) has room for.
enum Room {
    /// For nothing: it asks how many bytes there are.
    None(u32),
    /// For all.
    Enough,
}

fn room(length: usize, size: u32) -> io::Result<Room> {
    match size {
        0 => Ok(Room::None(u32::try_from(length).map_err(|_| Errno::TOOBIG)?)),
        size if length > size as usize => Err(Errno::RANGE.into()),
        _ => Ok(Room::Enough),
    }
}
