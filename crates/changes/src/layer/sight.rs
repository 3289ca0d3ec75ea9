//! Whether this process can read the xattr marks of an overlay.
//!
//! Only processes with `CAP_SYS_ADMIN` in the initial user namespace can read `trusted.*`. For others, the kernel omits
//! these xattrs without an error, so the capabilities of this process are checked.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::thread::{CapabilitySet, capabilities};

use super::marks::USER;
use crate::{HostWalk, Result};

/// The inode number of the initial user namespace (the kernel's `PROC_USER_INIT_INO`).
const INITIAL_NAMESPACE: u64 = 0xefff_fffd;

/// Returns true if this process can read `trusted.*`.
pub(super) fn sees_trusted_xattrs() -> bool {
    let is_capable = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
    is_capable && is_in_initial_namespace()
}

fn is_in_initial_namespace() -> bool {
    match fs::metadata("/proc/self/ns/user") {
        Ok(namespace) => namespace.ino() == INITIAL_NAMESPACE,
        // The kernel has no user namespaces, or procfs is not mounted.
        Err(_) => Path::new("/proc/self").exists(),
    }
}

/// Returns true if an entry of the directory has a mark of an overlay with `userxattr`.
pub(super) fn has_user_marks(directory: &Path) -> Result<bool> {
    for entry in HostWalk::of_directory(directory)? {
        if entry?.xattrs.iter().any(|(name, _)| name.starts_with(USER)) {
            return Ok(true);
        }
    }
    Ok(false)
}
