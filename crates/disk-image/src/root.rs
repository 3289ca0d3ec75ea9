//! What every form asks of a root.

use vmroot_container_fs::{ContainerFs, Extent, InodeId, InodeKind};

use crate::Error;

/// All files with contents, in the order in which these lie.
pub(crate) fn files(fs: &ContainerFs) -> Vec<(InodeId, Extent)> {
    let mut files: Vec<_> = fs.inodes().filter_map(|ino| Some((ino, fs.extent(ino)?))).collect();
    files.sort_unstable_by_key(|(ino, extent)| (extent.file, extent.offset, *ino));
    files
}

/// Something that a form cannot hold, with its first path.
pub(crate) fn unrepresentable(fs: &ContainerFs, ino: InodeId, form: &'static str, what: String) -> Error {
    let path = fs.walk().find(|entry| entry.ino == ino).map(|entry| entry.path).unwrap_or_default();
    Error::Unrepresentable { path: path.into(), form, what }
}

/// What directories say of the inodes that they name: `EXT4_FT_*`, which are `EROFS_FT_*` too.
pub(crate) fn file_type(kind: InodeKind) -> u8 {
    match kind {
        InodeKind::Regular => 1,
        InodeKind::Directory => 2,
        InodeKind::Character => 3,
        InodeKind::Block => 4,
        InodeKind::Fifo => 5,
        InodeKind::Socket => 6,
        InodeKind::Symlink => 7,
        InodeKind::Link => unreachable!("a root has no links to paths"),
    }
}

/// A device number as the kernel's `new_encode_dev` packs it: 12 bits of major and 20 of minor number.
pub(crate) fn device_number((major, minor): (u32, u32)) -> u32 {
    minor & 0xff | major << 8 | (minor & !0xff) << 12
}
