//! Translates the kernel's requests.
//!
//! The root never changes, so most requests can be avoided. The kernel may cache names, including missing ones,
//! attributes, symlinks, directories and file pages indefinitely. `open` and `opendir` return `ENOSYS`, and the kernel
//! does not send them again. Directories are listed with the attributes of their entries.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use fuser::{
    Errno, FileHandle, Filesystem, Generation, INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, ReplyAttr,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};
use vmroot_container_fs::{ContainerFs, Error, InodeId, ReadFailures};
use vmroot_mount::{DirectoryEntry, FuseRoot, TTL, XattrReply, inode_number};

use crate::attributes::{attributes, file_type, no_attributes};
use crate::prefetch::Prefetcher;

/// The most bytes of a read request.
const MAX_READ: u32 = 1 << 20;

/// Inode numbers are never reused, so there is one generation.
const GENERATION: Generation = Generation(0);

/// Capabilities that save requests. Those that an old kernel does not know are left out.
const CAPABILITIES: [InitFlags; 4] = [
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_EXPLICIT_INVAL_DATA,
];

thread_local! {
    /// The bytes of a read before they are written to the device.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A [`ContainerFs`] as a file system for `fuser`.
pub(crate) struct Adapter {
    root: FuseRoot,
    prefetcher: Prefetcher,
    failures: ReadFailures,
}

impl Adapter {
    pub(crate) fn new(root: Arc<ContainerFs>, prefetcher: Prefetcher) -> Self {
        Self { root: FuseRoot::new(root), prefetcher, failures: ReadFailures::default() }
    }

    /// Logs a failure to read a file at an offset.
    fn log_failure(&self, ino: InodeId, offset: u64, error: &Error) {
        if let (Error::Contents { source, .. }, Some(extent)) = (error, self.root.root().extent(ino)) {
            self.failures.report(self.root.root().contents_file(extent.file), extent.offset + offset, source);
        }
    }

    /// Calls `add` with the entries of a directory from `offset` on, until `add` returns `true`.
    fn list(
        &self,
        directory: INodeNo,
        offset: u64,
        mut add: impl FnMut(&DirectoryEntry<'_>) -> bool,
    ) -> Result<(), Errno> {
        self.root.entries(directory.0, offset).map_err(errno)?.any(|entry| add(&entry));
        Ok(())
    }
}

fn errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_i32(errno.raw_os_error())
}

impl Filesystem for Adapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for capability in CAPABILITIES {
            // An error means that the kernel does not support it. It sends more requests then, with the same results.
            let _ = config.add_capabilities(capability);
        }
        if self.root.has_access_lists() {
            let _ = config.add_capabilities(InitFlags::FUSE_POSIX_ACL);
        }
        // This also limits read requests, and is far below fuser's limit.
        let _ = config.set_max_write(MAX_READ);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.root.lookup(parent.0, name.as_bytes()) {
            Ok(Some(found)) => reply.entry(&TTL, &attributes(&found), GENERATION),
            Ok(None) => reply.entry(&TTL, &no_attributes(), GENERATION),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.root.inode(ino.0) {
            Ok(ino) => reply.attr(&TTL, &attributes(&self.root.attributes(ino))),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.root.readlink(ino.0) {
            Ok(target) => reply.data(target),
            Err(error) => reply.error(errno(error)),
        }
    }

    /// Returns `ENOSYS`: the kernel does not send `open` again, and keeps pages as with `FOPEN_KEEP_CACHE`.
    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    /// Returns `ENOSYS`, as [`Self::open`] does. The kernel caches directories as with `FOPEN_CACHE_DIR`.
    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        // The kernel would treat the missing bytes of a short reply as zeros.
        if size > MAX_READ {
            return reply.error(Errno::EINVAL);
        }
        let ino = match self.root.inode(ino.0) {
            Ok(ino) => ino,
            Err(error) => return reply.error(errno(error)),
        };
        let size = size as usize;
        BUFFER.with_borrow_mut(|buffer| {
            if buffer.len() < size {
                buffer.resize(size, 0);
            }
            match self.root.root().read_at(ino, offset, &mut buffer[..size]) {
                Ok(count) => reply.data(&buffer[..count]),
                Err(error) => {
                    self.log_failure(ino, offset, &error);
                    reply.error(errno(error.errno()));
                }
            }
        });
        if offset == 0 {
            self.prefetcher.record_read(ino);
        }
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = self.list(ino, offset, |entry| {
            let number = INodeNo(inode_number(entry.ino));
            reply.add(number, entry.next, file_type(entry.kind), OsStr::from_bytes(entry.name))
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn readdirplus(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        let listed = self.list(ino, offset, |entry| {
            let attributes = attributes(&self.root.attributes(entry.ino));
            reply.add(attributes.ino, entry.next, OsStr::from_bytes(entry.name), &TTL, &attributes, GENERATION)
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let size = self.root.size();
        reply.statfs(size.blocks, 0, 0, size.inodes, 0, size.block_size, size.max_name, size.block_size);
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        reply_xattr(self.root.xattr(ino.0, name.as_bytes(), size), reply);
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        reply_xattr(self.root.xattr_names(ino.0, size), reply);
    }
}

fn reply_xattr<T: AsRef<[u8]>>(answer: Result<XattrReply<T>, rustix::io::Errno>, reply: ReplyXattr) {
    match answer {
        Ok(XattrReply::Size(size)) => reply.size(size),
        Ok(XattrReply::Bytes(bytes)) => reply.data(bytes.as_ref()),
        Err(error) => reply.error(errno(error)),
    }
}
