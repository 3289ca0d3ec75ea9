//! Attributes that an unprivileged user cannot set, recorded in `user.*` xattrs.
//!
//! `user.containers.override_stat` is written by containers-storage and read by fuse-overlayfs (`force_mask` in
//! containers-storage.conf(5)). It has owner, group, octal mode and type, for example `0:42:0640:file`, `0:0:1777:dir`
//! or `0:0:0666:char-1-3`.
//!
//! Only files and directories can have `user.*` xattrs. So devices, named pipes and sockets become empty files, and a
//! symbolic link keeps only its target and times. The names of privileged xattrs get the prefix [`XATTR_PREFIX`],
//! because there is no convention for these.

use std::borrow::Cow;

use vmroot_container_fs::{Device, InodeKind, Stat};

/// The xattr that records owner, group, mode and type.
pub const OVERRIDE_STAT: &str = "user.containers.override_stat";

/// The prefix for the names of privileged xattrs, as in `user.vmroot.security.capability`.
pub const XATTR_PREFIX: &str = "user.vmroot.";

/// Returns the value of [`OVERRIDE_STAT`].
pub(super) fn override_stat(stat: &Stat) -> String {
    let Device { major, minor } = stat.device;
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

/// Returns the mode on disk. The exporting user can read and change all entries, and no file is setuid or setgid.
pub(super) fn accessible_mode(stat: &Stat) -> u32 {
    match stat.kind {
        InodeKind::Directory => stat.mode & 0o1777 | 0o700,
        InodeKind::Regular => stat.mode & 0o777 | 0o600,
        _ => 0o600,
    }
}

/// Returns the name of an xattr on disk, or `None` for a name that this module uses itself.
pub(super) fn recorded_name(name: &[u8]) -> Option<Cow<'_, [u8]>> {
    if name.starts_with(XATTR_PREFIX.as_bytes()) || name == OVERRIDE_STAT.as_bytes() {
        None
    } else if name.starts_with(b"trusted.") || name.starts_with(b"security.") {
        Some(Cow::Owned([XATTR_PREFIX.as_bytes(), name].concat()))
    } else {
        Some(Cow::Borrowed(name))
    }
}
