//! Mount options of the kernel.

use rustix::mount::MountAttrFlags;
use vmroot_mount::MountOptions;

/// Returns the attributes of a mount.
pub(crate) fn mount_attributes(options: &MountOptions) -> MountAttrFlags {
    if options.suid_dev {
        MountAttrFlags::empty()
    } else {
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV
    }
}
