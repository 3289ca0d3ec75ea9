//! Translates the guest's requests.
//!
//! The root never changes, so most requests can be avoided. The guest may cache names, including missing ones,
//! attributes, symlinks, directories and file pages indefinitely. `open` and `opendir` return `ENOSYS`, and the guest
//! does not send them again. Directories are listed with the attributes of their entries.

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

use crate::attributes::{TTL, attributes, entry, inode_number, no_entry, statfs};
use crate::contents_files::ContentsFiles;
use crate::requests::MAX_DATA;

/// The names at the offsets 0 and 1 of a directory. Later offsets are cookies of [`ContainerFs::readdir`], plus two.
const DOTS: [&[u8]; 2] = [b".", b".."];

/// Capabilities that save requests. The library leaves out the ones that an old kernel does not know.
const CAPABILITIES: FsOptions = FsOptions::ASYNC_READ
    .union(FsOptions::ASYNC_DIO)
    .union(FsOptions::BIG_WRITES)
    .union(FsOptions::MAX_PAGES)
    .union(FsOptions::DO_READDIRPLUS)
    .union(FsOptions::PARALLEL_DIROPS)
    .union(FsOptions::CACHE_SYMLINKS)
    .union(FsOptions::EXPLICIT_INVAL_DATA);

/// The prefix of the xattrs that hold POSIX access control lists (acl(5)).
const ACL_PREFIX: &[u8] = b"system.posix_acl_";

/// The bits of the flags of open(2) that request writing: `O_WRONLY`, `O_RDWR`.
const WRITE_FLAGS: u32 = 0o3;

/// A [`ContainerFs`] as a file system for `fuse-backend-rs`.
pub(crate) struct Adapter {
    root: Arc<ContainerFs>,
    contents_files: ContentsFiles,
    failures: ReadFailures,
}

impl Adapter {
    pub(crate) fn new(root: Arc<ContainerFs>) -> Self {
        Self { contents_files: ContentsFiles::new(&root), root, failures: ReadFailures::default() }
    }

    /// Returns the inode with a number. The guest may send any number.
    fn inode(&self, number: u64) -> io::Result<InodeId> {
        number.checked_sub(1).and_then(|number| self.root.inode_id(number)).ok_or(Errno::STALE.into())
    }

    /// Calls `add` with the entries of a directory from `offset` on, until `add` returns 0 because the reply is full.
    fn list(
        &self,
        directory: u64,
        offset: u64,
        add: &mut dyn FnMut(DirEntry<'_>, InodeId) -> io::Result<usize>,
    ) -> io::Result<()> {
        let directory = self.inode(directory)?;
        let dots = DOTS.len() as u64;
        let entries = self.root.readdir(directory, offset.saturating_sub(dots)).map_err(failed)?;
        // The guest ignores the inode of `.` and `..`, and the parent's is not known here.
        let dotted = (1..=dots).zip(DOTS).skip(offset.min(dots) as usize).map(|(next, name)| (name, directory, next));
        let entries = entries.map(|entry| (entry.name, entry.ino, entry.next + dots));
        for (name, ino, offset) in dotted.chain(entries) {
            // The type bits of a mode, shifted, are the types of readdir(3).
            let type_ = self.root.stat(ino).mode >> 12 & 0o17;
            if add(DirEntry { ino: inode_number(ino), offset, type_, name }, ino)? == 0 {
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
        let lists = if self.root.any_has_xattr(ACL_PREFIX) { FsOptions::POSIX_ACL } else { FsOptions::empty() };
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

    /// Returns `ENOSYS`: the guest does not send `open` again, and keeps pages as with `FOPEN_KEEP_CACHE`.
    fn open(&self, _: &Context, _: u64, flags: u32, _: u32) -> io::Result<(Option<u64>, OpenOptions, Option<u32>)> {
        if flags & WRITE_FLAGS == 0 { Err(Errno::NOSYS.into()) } else { read_only() }
    }

    /// Returns `ENOSYS`, as [`Self::open`] does. The guest caches directories as with `FOPEN_CACHE_DIR`.
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
        // The guest would treat the missing bytes of a short reply as zeros.
        if size > MAX_DATA || size as usize > guest.available_bytes() {
            return Err(Errno::INVAL.into());
        }
        let Some(extent) = self.root.extent(ino).filter(|extent| offset < extent.length) else { return Ok(0) };
        let count = (extent.length - offset).min(size.into()) as usize;
        let start = extent.offset + offset;
        let read = self.contents_files.with_file(&self.root, extent.file, |file| {
            guest.write_all_from(file, count, start)?;
            Ok(count)
        });
        read.map_err(|cause| {
            self.failures.report(self.root.contents_file(extent.file), start, &cause);
            // To the guest, every cause is a failure of its disk.
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
        Ok(match xattr_reply(value.len(), size)? {
            XattrReply::Size(length) => GetxattrReply::Count(length),
            XattrReply::Value => GetxattrReply::Value(value.to_vec()),
        })
    }

    fn listxattr(&self, _: &Context, inode: u64, size: u32) -> io::Result<ListxattrReply> {
        let names =
            self.root.xattrs(self.inode(inode)?).flat_map(|(name, _)| [name, b"\0"]).collect::<Vec<_>>().concat();
        Ok(match xattr_reply(names.len(), size)? {
            XattrReply::Size(length) => ListxattrReply::Count(length),
            XattrReply::Value => ListxattrReply::Names(names),
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

/// The kind of reply to a request of xattr(7).
enum XattrReply {
    /// The number of bytes, for a caller that requests the size.
    Size(u32),
    /// The bytes.
    Value,
}

fn xattr_reply(length: usize, size: u32) -> io::Result<XattrReply> {
    match size {
        0 => Ok(XattrReply::Size(u32::try_from(length).map_err(|_| Errno::TOOBIG)?)),
        size if length > size as usize => Err(Errno::RANGE.into()),
        _ => Ok(XattrReply::Value),
    }
}
