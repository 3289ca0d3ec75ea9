//! How a root is to be mounted.

use rustix::mount::MountAttrFlags;

/// How a root is to be mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MountOptions {
    /// Whether device nodes work and set-user-id bits count: for a mount that becomes the root of a guest. Without it
    /// they are shown as they are, and have no effect.
    pub suid_dev: bool,
    /// Mount nothing if EROFS cannot hold all of the root; otherwise it lacks that, with a warning.
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
