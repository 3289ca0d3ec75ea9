//! Exporting a root as a directory.
//!
//! [`plan`] lists the entries, and [`export`] creates them in four passes. [`cursor`] guarantees that they are created
//! inside the target. [`attributes`] sets attributes and handles those that an unprivileged user cannot set, and
//! [`rootless`] records these in xattrs.

mod acl;
mod attributes;
mod cursor;
mod entry_writer;
mod export;
mod new_inode;
mod plan;
mod rootless;
mod target;

use std::num::NonZeroUsize;
use std::path::Path;

use vmroot_container_fs::ContainerFs;

pub use rootless::{OVERRIDE_STAT, XATTR_PREFIX};

use crate::{Error, Result};
use export::Export;
use plan::Plan;
use vmroot_output::{Hook, Report};

/// Options of [`export_directory`].
#[derive(Debug, Default, Clone, Copy)]
pub struct DirectoryOptions<'a> {
    /// Record owners, modes, file types and privileged xattrs in `user.*` xattrs such as [`OVERRIDE_STAT`], instead of
    /// setting them. All entries belong to the exporting user and are readable for that user.
    pub rootless: bool,
    /// The number of threads that write files. `None` is one for each core.
    pub threads: Option<NonZeroUsize>,
    /// Fail at the first attribute or entry that the system refuses.
    pub strict: bool,
    /// Sync everything to disk before returning, by syncfs(2).
    pub sync: bool,
    /// Receives progress. `Break` cancels the export.
    pub hook: Option<Hook<'a>>,
}

/// Exports the root to `target`, which must be an empty directory or not exist.
///
/// Owners, modes, times with nanoseconds, hard links, devices, xattrs and holes are kept. File contents share blocks
/// with the contents files where the file system supports it (btrfs, XFS), and are copied otherwise. Attributes and
/// entries that the system refuses are left out and reported.
///
/// The report lists the attributes and entries that the system refused, sorted by path. If there are too many to list,
/// the selection depends on the threads.
///
/// A strict or a cancelled export removes what it created. After other errors, the entries created so far remain, most
/// of them readable only for the exporting user. Remove them before another attempt.
///
/// # Errors
/// - [`Error::TargetNotEmpty`]: `target` has entries. Nothing was written.
/// - [`Error::Incomplete`]: the system refused something, and `strict` is set.
/// - [`Error::Io`]: a file or directory cannot be created, written, or removed after a strict or a cancelled export.
/// - [`Error::Root`]: the root cannot be read.
/// - [`Error::Cancelled`]: the hook returned `Break`.
pub fn export_directory(fs: &ContainerFs, target: &Path, options: &DirectoryOptions<'_>) -> Result<Report> {
    let existed = target.exists();
    let root = target::open_empty(target)?;
    let plan = Plan::of(fs)?;
    let exported = Export::new(fs, target, options, &plan, root).run();
    if matches!(exported, Err(Error::Cancelled | Error::Incomplete(_))) {
        target::remove(target, existed).map_err(vmroot_output::Error::on("remove the incomplete tree", target))?;
    }
    Ok(Report::new(plan.bytes, exported?))
}
