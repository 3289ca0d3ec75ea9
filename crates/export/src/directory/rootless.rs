//! Attributes that an unprivileged user cannot have, recorded in `user.*` xattrs.
//!
//! `user.containers.override_stat` is what containers-storage writes and fuse-overlayfs reads (`force_mask` in
//! containers-storage.conf(5)): owner, group, mode in octal and type, such as `0:42:0640:file`, `0:0:1777:dir`,
//! `0:0:0666:char-1-3`. Only files and directories can have a `user.*` xattr, so devices, named pipes and sockets are
//! made as empty files, and a symbolic link keeps nothing but its target and times. Xattrs that need privileges have
//! [`XATTR_PREFIX`] before their names: there is no convention to follow for those.

use std::borrow::Cow;

use vmroot_container_fs::{InodeKind, Stat};

/// The xattr that holds owner, group, mode and type.
pub const OVERRIDE_STAT: &str = "user.containers.override_stat";

/// What stands before the names of xattrs that need privileges, as in `user.vmroot.security.capability`.
pub const XATTR_PREFIX: &str = "user.vmroot.";

/// The value of [`OVERRIDE_STAT`].
pub(super) fn override_stat(stat: &Stat) -> String {
    let (major, minor) = stat.device;
    let kind = match stat.kind {
        InodeKind::Directory => "dir".into(),
        InodeKind::Symlink => "symlink".into(),
        InodeKind::Fifo => "pipe".into(),
        InodeKind::Socket => "socket".into(),
        InodeKind::Character => format!("char-{major}-{minor}"),
        InodeKind::Block => format!("block-{major}-{minor}"),
        InodeKind::Regular | InodeKind::Link => "file".into(),
    };
    format!("{}:{}:{:04o}:{kind}", stat.uid, stat.gid, stat.mode & 0o7777)
}

/// The mode on the disk: the user who made the tree can read and change all of it, and no file runs with that user's
/// rights for somebody else.
pub(super) fn accessible_mode(stat: &Stat) -> u32 {
    match stat.kind {
        InodeKind::Directory => stat.mode & 0o1777 | 0o700,
        InodeKind::Regular => stat.mode & 0o777 | 0o600,
        _ => 0o600,
    }
}

/// The name that an xattr has on the disk; nothing for one that would pass for a record of this module.
pub(super) fn recorded_name(name: &[u8]) -> Option<Cow<'_, [u8]>> {
    if name.starts_with(XATTR_PREFIX.as_bytes()) || name == OVERRIDE_STAT.as_bytes() {
        None
    } else if name.starts_with(b"trusted.") || name.starts_with(b"security.") {
        Some(Cow::Owned([XATTR_PREFIX.as_bytes(), name].concat()))
    } else {
        Some(Cow::Borrowed(name))
    }
}
