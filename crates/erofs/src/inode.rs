//! Serialises inodes.

use vmroot_container_fs::{InodeId, InodeKind, Stat, pack_device};
use zerocopy::IntoBytes;

use super::format::{CompactInode, ExtendedInode, FORMAT_EXTENDED, LAYOUT_COMPRESSED, LAYOUT_INLINE, LAYOUT_PLAIN};
use super::plan::{Layout, PlacedInode};

/// Writes the inode in its short or long form. The caller appends its xattrs and its tail.
pub(crate) fn write(ino: InodeId, stat: &Stat, placed: &PlacedInode, xattr_count: u16, bytes: &mut Vec<u8>) {
    let (layout, data) = match placed.layout {
        Layout::Bare => (LAYOUT_PLAIN, device(stat)),
        Layout::Plain { block } => (LAYOUT_PLAIN, block),
        Layout::Inline { block } => (LAYOUT_INLINE, block),
        Layout::Compressed { blocks } => (LAYOUT_COMPRESSED, blocks),
    };
    let mode = stat.mode as u16;
    if placed.extended {
        let inode = ExtendedInode {
            format: (layout << 1 | FORMAT_EXTENDED).into(),
            xattr_count: xattr_count.into(),
            mode: mode.into(),
            size: placed.size.into(),
            data: data.into(),
            number: (ino.0 + 1).into(),
            uid: stat.uid.into(),
            gid: stat.gid.into(),
            mtime: (stat.mtime.seconds as u64).into(),
            mtime_nanoseconds: stat.mtime.nanoseconds.into(),
            nlink: stat.nlink.into(),
            ..ExtendedInode::default()
        };
        bytes.extend_from_slice(inode.as_bytes());
    } else {
        let inode = CompactInode {
            format: (layout << 1).into(),
            xattr_count: xattr_count.into(),
            mode: mode.into(),
            nlink: (stat.nlink as u16).into(),
            size: (placed.size as u32).into(),
            data: data.into(),
            number: (ino.0 + 1).into(),
            uid: (stat.uid as u16).into(),
            gid: (stat.gid as u16).into(),
            ..CompactInode::default()
        };
        bytes.extend_from_slice(inode.as_bytes());
    }
}

/// Returns the device number of a device node, and 0 for other kinds.
fn device(stat: &Stat) -> u32 {
    match stat.kind {
        InodeKind::Character | InodeKind::Block => pack_device(stat.device),
        _ => 0,
    }
}
