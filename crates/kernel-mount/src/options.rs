//! Mount options.

use rustix::mount::MountAttrFlags;

/// Options of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MountOptions {
    /// Make device nodes work and set-user-id bits count, for a mount that becomes the root of a guest. Without it,
    /// both are shown and have no effect.
    pub suid_dev: bool,
    /// Fail if EROFS cannot represent the whole root. Without it, the rest is left out, with a warning.
    pub strict: bool,
}

impl MountOptions {
    pub(crate) fn attributes(self) -> MountAttrFlags {
        if self.suid_dev {
            MountAttrFlags::empty()
        } else {
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV
        }
    }
}
