//! A directory with one file.
//!
//! As for a root, the kernel may cache everything indefinitely, and `open` and `opendir` return `ENOSYS`, so that it does
//! not send them again.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, InitFlags, KernelConfig, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyOpen, ReplyStatfs, Request,
};
use rustix::process::{getgid, getuid};
use vmroot_mount::TTL;

use crate::attributes::no_attributes;

/// The most bytes of a read request, and of the kernel's readahead.
const MAX_READ: u32 = 1 << 20;
/// The size of a block in bytes.
const BLOCK: u32 = 4096;
/// The longest name of a file.
const MAX_NAME: u32 = 255;
const GENERATION: Generation = Generation(0);

const DIRECTORY: INodeNo = INodeNo(1);
const FILE: INodeNo = INodeNo(2);

thread_local! {
    /// The bytes of a read before they are written to the device.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The bytes of a file that [`Mount::of_file`](crate::Mount::of_file) shows. They never change.
pub trait FileBytes: Send + Sync {
    /// Returns the length in bytes.
    fn length(&self) -> u64;

    /// Fills `buffer` with the bytes from `offset` on. All of them are in the file.
    ///
    /// # Errors
    /// The reader gets the number of the system's error, or else `EIO`.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// The directory as a file system for `fuser`.
pub(crate) struct FileDirectory {
    name: OsString,
    bytes: Arc<dyn FileBytes>,
}

impl FileDirectory {
    pub(crate) fn new(name: &str, bytes: Arc<dyn FileBytes>) -> Self {
        Self { name: name.into(), bytes }
    }

    /// Returns the attributes of an inode. The owner is that of this process.
    fn attributes(&self, ino: INodeNo) -> Option<FileAttr> {
        let (kind, perm, nlink, size) = match ino {
            DIRECTORY => (FileType::Directory, 0o555, 2, 0),
            FILE => (FileType::RegularFile, 0o444, 1, self.bytes.length()),
            _ => return None,
        };
        let [atime, mtime, ctime, crtime] = [UNIX_EPOCH; 4];
        let (uid, gid, blocks) = (getuid().as_raw(), getgid().as_raw(), size.div_ceil(512));
        let (rdev, blksize, flags) = (0, BLOCK, 0);
        Some(FileAttr {
            ino,
            size,
            blocks,
            atime,
            mtime,
            ctime,
            crtime,
            kind,
            perm,
            nlink,
            uid,
            gid,
            rdev,
            blksize,
            flags,
        })
    }
}

impl Filesystem for FileDirectory {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // An error means that the kernel does not support it. It sends more requests then, with the same results.
        let _ = config.add_capabilities(InitFlags::FUSE_EXPLICIT_INVAL_DATA);
        let _ = config.add_capabilities(InitFlags::FUSE_ASYNC_READ);
        // This also limits read requests, and is far below fuser's limit.
        let _ = config.set_max_write(MAX_READ);
        let _ = config.set_max_readahead(MAX_READ);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = (parent == DIRECTORY && name == self.name).then(|| self.attributes(FILE)).flatten();
        reply.entry(&TTL, &found.unwrap_or_else(no_attributes), GENERATION);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(ino) {
            Some(found) => reply.attr(&TTL, &found),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

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
        if ino != FILE || size > MAX_READ {
            return reply.error(Errno::EINVAL);
        }
        let count = self.bytes.length().saturating_sub(offset).min(size.into()) as usize;
        BUFFER.with_borrow_mut(|buffer| {
            if buffer.len() < count {
                buffer.resize(count, 0);
            }
            match self.bytes.read_exact_at(&mut buffer[..count], offset) {
                Ok(()) => reply.data(&buffer[..count]),
                Err(error) => reply.error(error.raw_os_error().map_or(Errno::EIO, Errno::from_i32)),
            }
        });
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        if ino != DIRECTORY {
            return reply.error(Errno::ENOTDIR);
        }
        let entries: [(INodeNo, FileType, &OsStr); 3] = [
            (DIRECTORY, FileType::Directory, ".".as_ref()),
            (DIRECTORY, FileType::Directory, "..".as_ref()),
            (FILE, FileType::RegularFile, &self.name),
        ];
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        for (number, (ino, kind, name)) in entries.into_iter().enumerate().skip(start) {
            if reply.add(ino, number as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(self.bytes.length().div_ceil(BLOCK.into()), 0, 0, 2, 0, BLOCK, MAX_NAME, BLOCK);
    }
}
