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
use vmroot_container_fs::{ContainerFs, InodeKind, ReadFailures};
use vmroot_mount::{DirectoryEntry, FuseRoot, TTL, XattrReply, inode_number};

use crate::attributes::{attributes, entry, no_entry, statfs};
use crate::contents_files::ContentsFiles;
use crate::requests::MAX_DATA;

/// Capabilities that save requests. The library leaves out the ones that an old kernel does not know.
const CAPABILITIES: FsOptions = FsOptions::ASYNC_READ
    .union(FsOptions::ASYNC_DIO)
    .union(FsOptions::BIG_WRITES)
    .union(FsOptions::MAX_PAGES)
    .union(FsOptions::DO_READDIRPLUS)
    .union(FsOptions::PARALLEL_DIROPS)
    .union(FsOptions::CACHE_SYMLINKS)
    .union(FsOptions::EXPLICIT_INVAL_DATA);

/// The bits of the flags of open(2) that request writing: `O_WRONLY`, `O_RDWR`.
const WRITE_FLAGS: u32 = 0o3;

/// A [`ContainerFs`] as a file system for `fuse-backend-rs`.
pub(crate) struct Adapter {
    root: FuseRoot,
    contents_files: ContentsFiles,
    failures: ReadFailures,
}

impl Adapter {
    pub(crate) fn new(root: Arc<ContainerFs>) -> Self {
        let contents_files = ContentsFiles::new(&root);
        Self { root: FuseRoot::new(root), contents_files, failures: ReadFailures::default() }
    }

    /// Calls `add` with the entries of a directory from `offset` on, until `add` returns 0 because the reply is full.
    fn list(
        &self,
        directory: u64,
        offset: u64,
        mut add: impl FnMut(DirEntry<'_>, &DirectoryEntry<'_>) -> io::Result<usize>,
    ) -> io::Result<()> {
        for entry in self.root.entries(directory, offset)? {
            let (ino, type_) = (inode_number(entry.ino), entry.dirent_type());
            if add(DirEntry { ino, offset: entry.next, type_, name: entry.name }, &entry)? == 0 {
                break;
            }
        }
        Ok(())
    }
}

fn read_only<T>() -> io::Result<T> {
    Err(Errno::ROFS.into())
}

impl FileSystem for Adapter {
    type Inode = u64;
    type Handle = u64;

    fn init(&self, _: FsOptions) -> io::Result<FsOptions> {
        let lists = if self.root.has_access_lists() { FsOptions::POSIX_ACL } else { FsOptions::empty() };
        Ok(CAPABILITIES | lists)
    }

    fn lookup(&self, _: &Context, parent: u64, name: &CStr) -> io::Result<Entry> {
        let found = self.root.lookup(parent, name.to_bytes())?;
        Ok(found.map_or_else(no_entry, |found| entry(&found)))
    }

    fn getattr(&self, _: &Context, inode: u64, _: Option<u64>) -> io::Result<(stat64, Duration)> {
        Ok((attributes(&self.root.attributes(self.root.inode(inode)?)), TTL))
    }

    fn readlink(&self, _: &Context, inode: u64) -> io::Result<Vec<u8>> {
        Ok(self.root.readlink(inode)?.to_vec())
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
        let (ino, root) = (self.root.inode(inode)?, self.root.root());
        if root.stat(ino).kind == InodeKind::Directory {
            return Err(Errno::ISDIR.into());
        }
        // The guest would treat the missing bytes of a short reply as zeros.
        if size > MAX_DATA || size as usize > guest.available_bytes() {
            return Err(Errno::INVAL.into());
        }
        let Some(extent) = root.extent(ino).filter(|extent| offset < extent.length) else { return Ok(0) };
        let count = (extent.length - offset).min(size.into()) as usize;
        let start = extent.offset + offset;
        let read = self.contents_files.with_file(root, extent.file, |file| {
            guest.write_all_from(file, count, start)?;
            Ok(count)
        });
        read.map_err(|cause| {
            self.failures.report(root.contents_file(extent.file), start, &cause);
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
        self.list(inode, offset, |dirent, _| add(dirent))
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
        self.list(inode, offset, |dirent, listed| add(dirent, entry(&self.root.attributes(listed.ino))))
    }

    fn statfs(&self, _: &Context, _: u64) -> io::Result<statvfs64> {
        statfs(&self.root.size())
    }

    fn getxattr(&self, _: &Context, inode: u64, name: &CStr, size: u32) -> io::Result<GetxattrReply> {
        Ok(match self.root.xattr(inode, name.to_bytes(), size)? {
            XattrReply::Size(length) => GetxattrReply::Count(length),
            XattrReply::Bytes(value) => GetxattrReply::Value(value.to_vec()),
        })
    }

    fn listxattr(&self, _: &Context, inode: u64, size: u32) -> io::Result<ListxattrReply> {
        Ok(match self.root.xattr_names(inode, size)? {
            XattrReply::Size(length) => ListxattrReply::Count(length),
            XattrReply::Bytes(names) => ListxattrReply::Names(names),
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
