//! Converts attributes of inodes and of the root for the guest.

use std::io;
use std::time::Duration;

use fuse_backend_rs::abi::fuse_abi::{stat64, statvfs64};
use fuse_backend_rs::api::filesystem::{Context, Entry, FileSystem, ROOT_ID};
use vmroot_container_fs::{InodeId, Stat, StatFs, pack_device};

/// The time for which the guest may cache names and attributes: a year.
pub(crate) const TTL: Duration = Duration::from_secs(365 * 24 * 3600);

/// Converts an inode id to the protocol's number, which is also `st_ino`: the root is 1, and 0 is invalid.
pub(crate) fn inode_number(ino: InodeId) -> u64 {
    u64::from(ino.0) + 1
}

/// Returns the reply for a name that exists.
pub(crate) fn entry(stat: &Stat) -> Entry {
    Entry { inode: inode_number(stat.ino), attr: attributes(stat), ..no_entry() }
}

/// Returns the reply for a missing name: inode 0. The other fields are ignored.
pub(crate) fn no_entry() -> Entry {
    Entry { attr_timeout: TTL, entry_timeout: TTL, ..Entry::default() }
}

pub(crate) fn attributes(stat: &Stat) -> stat64 {
    // The struct has private fields of libc, so it cannot be constructed here.
    let mut attributes = Entry::default().attr;
    attributes.st_ino = inode_number(stat.ino);
    attributes.st_mode = stat.mode;
    attributes.st_nlink = stat.nlink.into();
    attributes.st_uid = stat.uid;
    attributes.st_gid = stat.gid;
    attributes.st_rdev = pack_device(stat.device).into();
    attributes.st_size = to_signed(stat.size);
    attributes.st_blocks = to_signed(stat.blocks);
    attributes.st_blksize = 4096;
    for (seconds, nanoseconds) in [
        (&mut attributes.st_atime, &mut attributes.st_atime_nsec),
        (&mut attributes.st_mtime, &mut attributes.st_mtime_nsec),
        (&mut attributes.st_ctime, &mut attributes.st_ctime_nsec),
    ] {
        *seconds = stat.mtime.seconds;
        *nanoseconds = stat.mtime.nanoseconds.into();
    }
    attributes
}

/// Returns the reply to statfs(2): all blocks and inodes are in use.
pub(crate) fn statfs(size: &StatFs) -> io::Result<statvfs64> {
    // This struct has private fields too. The library's default reply is an empty one.
    let mut answer = Blank.statfs(&Context::new(), ROOT_ID)?;
    answer.f_bsize = size.block_size;
    answer.f_frsize = size.block_size;
    answer.f_blocks = size.blocks;
    answer.f_files = size.inodes;
    answer.f_namemax = 255;
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
