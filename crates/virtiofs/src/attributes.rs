//! Converts attributes of inodes and of the root for the guest.

use std::io;

use fuse_backend_rs::abi::fuse_abi::{stat64, statvfs64};
use fuse_backend_rs::api::filesystem::{Context, Entry, FileSystem, ROOT_ID};
use vmroot_mount::{Attributes, FileSystemSize, TTL};

/// Returns the reply for a name that exists.
pub(crate) fn entry(found: &Attributes) -> Entry {
    Entry { inode: found.number, attr: attributes(found), ..no_entry() }
}

/// Returns the reply for a missing name: inode 0. The other fields are ignored.
pub(crate) fn no_entry() -> Entry {
    Entry { attr_timeout: TTL, entry_timeout: TTL, ..Entry::default() }
}

pub(crate) fn attributes(source: &Attributes) -> stat64 {
    // The struct has private fields of libc, so it cannot be constructed here.
    let mut attributes = Entry::default().attr;
    attributes.st_ino = source.number;
    attributes.st_mode = source.mode;
    attributes.st_nlink = source.nlink.into();
    attributes.st_uid = source.uid;
    attributes.st_gid = source.gid;
    attributes.st_rdev = source.rdev.into();
    attributes.st_size = to_signed(source.size);
    attributes.st_blocks = to_signed(source.blocks);
    attributes.st_blksize = source.block_size.into();
    for (seconds, nanoseconds) in [
        (&mut attributes.st_atime, &mut attributes.st_atime_nsec),
        (&mut attributes.st_mtime, &mut attributes.st_mtime_nsec),
        (&mut attributes.st_ctime, &mut attributes.st_ctime_nsec),
    ] {
        *seconds = source.time.seconds;
        *nanoseconds = source.time.nanoseconds.into();
    }
    attributes
}

/// Returns the reply to statfs(2): all blocks and inodes are in use.
pub(crate) fn statfs(size: &FileSystemSize) -> io::Result<statvfs64> {
    // This struct has private fields too. The library's default reply is an empty one.
    let mut answer = Blank.statfs(&Context::new(), ROOT_ID)?;
    answer.f_bsize = size.block_size.into();
    answer.f_frsize = size.block_size.into();
    answer.f_blocks = size.blocks;
    answer.f_files = size.inodes;
    answer.f_namemax = size.max_name.into();
    Ok(answer)
}

/// A file system with the library's default replies.
struct Blank;

impl FileSystem for Blank {
    type Inode = u64;
    type Handle = u64;
}

/// Converts a size to the protocol's signed type. No index holds 2^63 bytes.
fn to_signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
