//! Whether this process sees what an overlay notes in xattrs.
//!
//! `trusted.*` is there only for processes that have `CAP_SYS_ADMIN` in the first user namespace. For all others the
//! kernel leaves these xattrs out of its answers and reports no error, so the process must look at itself.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::thread::{CapabilitySet, capabilities};

use super::marks::USER;
use crate::{HostWalk, Result};

/// The inode number of the first user namespace (the kernel's `PROC_USER_INIT_INO`).
const FIRST_NAMESPACE: u64 = 0xefff_fffd;

/// Whether this process sees `trusted.*`.
pub(super) fn of_trusted() -> bool {
    let is_capable = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
    is_capable && in_first_namespace()
}

fn in_first_namespace() -> bool {
    match fs::metadata("/proc/self/ns/user") {
        Ok(namespace) => namespace.ino() == FIRST_NAMESPACE,
        // A kernel without user namespaces, unless it is only that procfs is not mounted.
        Err(_) => Path::new("/proc/self").exists(),
    }
}

/// Whether anything in a directory has a mark of an overlay that was mounted with `userxattr`.
pub(super) fn finds_user_marks(directory: &Path) -> Result<bool> {
    for entry in HostWalk::of_directory(directory)? {
        if entry?.xattrs.iter().any(|(name, _)| name.starts_with(USER)) {
            return Ok(true);
        }
    }
    Ok(false)
}
