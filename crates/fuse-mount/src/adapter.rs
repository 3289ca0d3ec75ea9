//! The kernel's requests, translated.
//!
//! The root never changes, which saves most requests: names that exist and that do not, attributes, links, directories
//! and file pages are the kernel's to keep, open and opendir are answered "not implemented", which makes it never ask
//! again, and a directory comes with the attributes of what it holds.

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

use crate::ahead::Ahead;
use crate::attributes::{attributes, file_type, no_attributes, number};

/// The most bytes of one read request.
const MAX_READ: u32 = 1 << 20;

/// How long the kernel may keep names and attributes: a year.
const TTL: Duration = Duration::from_secs(365 * 24 * 3600);

/// Inode numbers are never used again.
const GENERATION: Generation = Generation(0);

/// Offsets in a directory: 0 is before `.`, 1 before `..`, and what follows are cookies of [`ContainerFs::readdir`].
const DOTS: [&[u8]; 2] = [b".", b".."];

/// What makes the kernel ask less; what an old kernel does not know is left out.
const CAPABILITIES: [InitFlags; 4] = [
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_EXPLICIT_INVAL_DATA,
];

/// What the names of POSIX access lists start with (acl(5)).
const ACCESS_LISTS: &[u8] = b"system.posix_acl_";

thread_local! {
    /// The bytes of a read, before they go to the kernel.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A [`ContainerFs`] as `fuser` wants it.
pub(crate) struct Adapter {
    root: Arc<ContainerFs>,
    ahead: Ahead,
    failures: ReadFailures,
}

impl Adapter {
    pub(crate) fn new(root: Arc<ContainerFs>, ahead: Ahead) -> Self {
        Self { root, ahead, failures: ReadFailures::default() }
    }

    /// Tells of bytes that cannot be read at an offset of a file.
    fn tell(&self, ino: InodeId, offset: u64, error: &Error) {
        if let (Error::Contents { source, .. }, Some(extent)) = (error, self.root.extent(ino)) {
            self.failures.report(self.root.contents_file(extent.file), extent.offset + offset, source);
        }
    }

    /// The inode that a request is about. The kernel knows only numbers that it was told, but nothing depends on that.
    fn inode(&self, number: INodeNo) -> Result<InodeId, Errno> {
        number.0.checked_sub(1).and_then(|number| self.root.inode_id(number)).ok_or(Errno::ESTALE)
    }

    /// Hands the entries of a directory from `offset` on to `add`, each with the offset after it, until that is full.
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
            // The kernel does not look at the inode of a dot, and no one is known for the second.
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
            // Refused by kernels that do not know it: they ask more often, and get the same answers.
            let _ = config.add_capabilities(capability);
        }
        if self.root.any_has_xattr(ACCESS_LISTS) {
            let _ = config.add_capabilities(InitFlags::FUSE_POSIX_ACL);
        }
        // It sizes read requests as well, and is far below fuser's limit.
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

    /// Never asked for again after this answer; the kernel keeps pages from then on as with `FOPEN_KEEP_CACHE`.
    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    /// As [`Self::open`], with `FOPEN_CACHE_DIR`.
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
        // The kernel would take the bytes that are missing from a short answer for zeros.
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
                    self.tell(ino, offset, &error);
                    reply.error(errno(error));
                }
            }
        });
        if offset == 0 {
            self.ahead.sees(ino);
        }
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = self.list(ino, offset, |entry, next| {
            reply.add(number(entry.ino), next, file_type(entry.kind), OsStr::from_bytes(entry.name))
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

/// Answers what xattr(7) calls ask: how many bytes there are when the caller has room for none, or the bytes.
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
    fn numbers_that_the_kernel_was_not_told_are_stale() {
        let directory = tempfile::tempdir().unwrap();
        let tar = Layer::new([Entry::file("file", "")]).to_tar(&Encoding::default());
        let built = build(tar.as_slice(), directory.path(), &BuildOptions::default()).unwrap();
        let layer = Index::open(&built.publish().unwrap()).unwrap();
        let root = directory.path().join("root.idx");
        merge(None, &[&layer], layer.identity(), File::create(&root).unwrap()).unwrap();
        let contents = |diff_id: &_| directory.path().join(format!("{diff_id}.contents").replace("sha256:", ""));
        let adapter = Adapter::new(Arc::new(ContainerFs::open(&root, &contents).unwrap()), Ahead::new().0);
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
