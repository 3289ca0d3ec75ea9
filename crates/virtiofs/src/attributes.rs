//! What the guest is told of an inode, and of the root.

use std::io;
use std::time::Duration;

use fuse_backend_rs::abi::fuse_abi::{stat64, statvfs64};
use fuse_backend_rs::api::filesystem::{Context, Entry, FileSystem, ROOT_ID};
use vmroot_container_fs::{InodeId, Stat, StatFs, pack_device};

/// How long the guest may keep names and attributes: a year.
pub(crate) const TTL: Duration = Duration::from_secs(365 * 24 * 3600);

/// The number of an inode in the protocol, and as `st_ino`: 1 is the root, and 0 none.
pub(crate) fn number(ino: InodeId) -> u64 {
    u64::from(ino.0) + 1
}

/// What a name leads to.
pub(crate) fn entry(stat: &Stat) -> Entry {
    Entry { inode: number(stat.ino), attr: attributes(stat), ..no_entry() }
}

/// What the guest is told of a name that does not exist: inode 0, and the rest does not matter.
pub(crate) fn no_entry() -> Entry {
    Entry { attr_timeout: TTL, entry_timeout: TTL, ..Entry::default() }
}

pub(crate) fn attributes(stat: &Stat) -> stat64 {
    // It has fields that are no one's but libc's, so a blank one is filled.
    let mut attributes = Entry::default().attr;
    attributes.st_ino = number(stat.ino);
    attributes.st_mode = stat.mode;
    attributes.st_nlink = stat.nlink.into();
    attributes.st_uid = stat.uid;
    attributes.st_gid = stat.gid;
    attributes.st_rdev = pack_device(stat.device).into();
    attributes.st_size = signed(stat.size);
    attributes.st_blocks = signed(stat.blocks);
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

/// What statfs(2) says: all is in use.
pub(crate) fn statfs(size: &StatFs) -> io::Result<statvfs64> {
    // As above; and here it is the library's own answer that is blank.
    let mut answer = Blank.statfs(&Context::new(), ROOT_ID)?;
    answer.f_bsize = size.block_size;
    answer.f_frsize = size.block_size;
    answer.f_blocks = size.blocks;
    answer.f_files = size.inodes;
    answer.f_namemax = 255;
    Ok(answer)
}

/// A file system about which nothing is known.
struct Blank;

impl FileSystem for Blank {
    type Inode = u64;
    type Handle = u64;
}

/// No index holds 2^63 bytes; the protocol takes the bits as they are.
fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
