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
use std::time::Duration;

use fuser::{
    Errno, FileHandle, Filesystem, Generation, INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, ReplyAttr,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};
use vmroot_container_fs::{ContainerFs, DirEntry, Error, InodeId, ReadFailures};

use crate::attributes::{attributes, file_type, inode_number, no_attributes};
use crate::prefetch::Prefetcher;

/// The most bytes of a read request.
const MAX_READ: u32 = 1 << 20;

/// The time for which the kernel may cache names and attributes: a year.
const TTL: Duration = Duration::from_secs(365 * 24 * 3600);

/// Inode numbers are never reused, so there is one generation.
const GENERATION: Generation = Generation(0);

/// The names at the offsets 0 and 1 of a directory. Later offsets are cookies of [`ContainerFs::readdir`], plus two.
const DOTS: [&[u8]; 2] = [b".", b".."];

/// Capabilities that save requests. Those that an old kernel does not know are left out.
const CAPABILITIES: [InitFlags; 4] = [
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_EXPLICIT_INVAL_DATA,
];

/// The prefix of the xattrs that hold POSIX access control lists (acl(5)).
const ACL_PREFIX: &[u8] = b"system.posix_acl_";

thread_local! {
    /// The bytes of a read before they are written to the device.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A [`ContainerFs`] as a file system for `fuser`.
pub(crate) struct Adapter {
    root: Arc<ContainerFs>,
    prefetcher: Prefetcher,
    failures: ReadFailures,
}

impl Adapter {
    pub(crate) fn new(root: Arc<ContainerFs>, prefetcher: Prefetcher) -> Self {
        Self { root, prefetcher, failures: ReadFailures::default() }
    }

    /// Logs a failure to read a file at an offset.
    fn log_failure(&self, ino: InodeId, offset: u64, error: &Error) {
        if let (Error::Contents { source, .. }, Some(extent)) = (error, self.root.extent(ino)) {
            self.failures.report(self.root.contents_file(extent.file), extent.offset + offset, source);
        }
    }

    /// Returns the inode with a number. The kernel only sends numbers that it received, but nothing relies on that.
    fn inode(&self, number: INodeNo) -> Result<InodeId, Errno> {
        number.0.checked_sub(1).and_then(|number| self.root.inode_id(number)).ok_or(Errno::ESTALE)
    }

    /// Calls `add` with the entries of a directory from `offset` on and with the offset after each, until `add` returns
    /// `true`.
    fn list(
        &self,
        directory: INodeNo,
        offset: u64,
        mut add: impl FnMut(&DirEntry<'_>, u64) -> bool,
    ) -> Result<(), Errno> {
        let directory = self.inode(directory)?;
        let dots = DOTS.len() as u64;
        let entries = self.root.readdir(directory, offset.saturating_sub(dots)).map_err(errno)?;
        let kind = self.root.stat(directory).kind;
        for (next, name) in (1..=dots).zip(DOTS).skip(offset.min(dots) as usize) {
            // The kernel ignores the inode of `.` and `..`, and the parent's is not known here.
            if add(&DirEntry { name, ino: directory, kind, next }, next) {
                return Ok(());
            }
        }
        for entry in entries {
            if add(&entry, entry.next + dots) {
                break;
            }
        }
        Ok(())
    }
}

fn errno(error: Error) -> Errno {
    Errno::from_i32(error.errno().raw_os_error())
}

impl Filesystem for Adapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for capability in CAPABILITIES {
            // An error means that the kernel does not support it. It sends more requests then, with the same results.
            let _ = config.add_capabilities(capability);
        }
        if self.root.any_has_xattr(ACL_PREFIX) {
            let _ = config.add_capabilities(InitFlags::FUSE_POSIX_ACL);
        }
        // This also limits read requests, and is far below fuser's limit.
        let _ = config.set_max_write(MAX_READ);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.inode(parent).map(|parent| self.root.lookup(parent, name.as_bytes()));
        match found {
            Ok(Ok(ino)) => reply.entry(&TTL, &attributes(&self.root.stat(ino)), GENERATION),
            Ok(Err(Error::NotFound(_))) => reply.entry(&TTL, &no_attributes(), GENERATION),
            Ok(Err(error)) => reply.error(errno(error)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.inode(ino) {
            Ok(ino) => reply.attr(&TTL, &attributes(&self.root.stat(ino))),
            Err(error) => reply.error(error),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.inode(ino).and_then(|ino| self.root.readlink(ino).map_err(errno)) {
            Ok(target) => reply.data(target),
            Err(error) => reply.error(error),
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
        let ino = match self.inode(ino) {
            Ok(ino) => ino,
            Err(error) => return reply.error(error),
        };
        let size = size as usize;
        BUFFER.with_borrow_mut(|buffer| {
            if buffer.len() < size {
                buffer.resize(size, 0);
            }
            match self.root.read_at(ino, offset, &mut buffer[..size]) {
                Ok(count) => reply.data(&buffer[..count]),
                Err(error) => {
                    self.log_failure(ino, offset, &error);
                    reply.error(errno(error));
                }
            }
        });
        if offset == 0 {
            self.prefetcher.record_read(ino);
        }
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = self.list(ino, offset, |entry, next| {
            reply.add(inode_number(entry.ino), next, file_type(entry.kind), OsStr::from_bytes(entry.name))
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn readdirplus(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        let listed = self.list(ino, offset, |entry, next| {
            let attributes = attributes(&self.root.stat(entry.ino));
            reply.add(attributes.ino, next, OsStr::from_bytes(entry.name), &TTL, &attributes, GENERATION)
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let size = self.root.statfs();
        let block_size = size.block_size as u32;
        reply.statfs(size.blocks, 0, 0, size.inodes, 0, block_size, 255, block_size);
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        match self.inode(ino).map(|ino| self.root.xattr(ino, name.as_bytes())) {
            Ok(Some(value)) => reply_bytes(value, size, reply),
            Ok(None) => reply.error(Errno::ENODATA),
            Err(error) => reply.error(error),
        }
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        match self.inode(ino) {
            Ok(ino) => {
                let names = self.root.xattrs(ino).flat_map(|(name, _)| [name, b"\0"]).collect::<Vec<_>>().concat();
                reply_bytes(&names, size, reply);
            }
            Err(error) => reply.error(error),
        }
    }
}

/// Replies to a request of xattr(7): with the number of bytes if `size` is 0, otherwise with the bytes.
fn reply_bytes(bytes: &[u8], size: u32, reply: ReplyXattr) {
    if size == 0 {
        reply.size(bytes.len() as u32);
    } else if bytes.len() > size as usize {
        reply.error(Errno::ERANGE);
    } else {
        reply.data(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use vmroot_layer_index::{BuildOptions, Index, build, merge};
    use vmroot_testkit::layer::{Encoding, Entry, Layer};

    use super::*;

    #[test]
    fn unknown_inode_numbers_are_stale() {
        let directory = tempfile::tempdir().unwrap();
        let tar = Layer::new([Entry::file("file", "")]).to_tar(&Encoding::default());
        let built = build(tar.as_slice(), directory.path(), &BuildOptions::default()).unwrap();
        let layer = Index::open(&built.publish().unwrap()).unwrap();
        let root = directory.path().join("root.idx");
        merge(None, &[&layer], layer.identity(), File::create(&root).unwrap()).unwrap();
        let contents = |diff_id: &_| directory.path().join(format!("{diff_id}.contents").replace("sha256:", ""));
        let adapter = Adapter::new(Arc::new(ContainerFs::open(&root, &contents).unwrap()), Prefetcher::new().0);
        assert_eq!(adapter.inode(INodeNo(1)).ok(), Some(InodeId::ROOT));
        assert_eq!(adapter.inode(INodeNo(2)).ok(), Some(InodeId(1)));
        for unknown in [0, 3, 1 << 32, (1 << 32) + 1, u64::MAX] {
            assert_eq!(adapter.inode(INodeNo(unknown)).unwrap_err().code(), Errno::ESTALE.code());
            assert!(adapter.list(INodeNo(unknown), 0, |_, _| false).is_err());
        }
        assert!(adapter.list(INodeNo(2), 0, |_, _| false).is_err(), "not a directory");
        for (offset, count) in [(0, 3), (1, 2), (2, 1), (3, 0), (u64::MAX, 0)] {
            let mut listed = 0;
            adapter
                .list(INodeNo(1), offset, |_, _| {
                    listed += 1;
                    false
                })
                .unwrap();
            assert_eq!(listed, count, "from {offset}");
        }
    }
}
