//! A root as a directory.
//!
//! [`plan`] lists what is to be made, [`export`] makes it in four passes, and [`cursor`] says why nothing of it can
//! land outside of the target. [`attributes`] knows what an unprivileged user is refused, [`rootless`] how that is
//! recorded instead.

mod acl;
mod attributes;
mod cursor;
mod export;
mod made;
mod maker;
mod plan;
mod rootless;
mod target;

use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;

use vmroot_container_fs::ContainerFs;

pub use rootless::{OVERRIDE_STAT, XATTR_PREFIX};

use crate::Result;
use export::Export;
use plan::Plan;
use vmroot_output::{Hook, Omissions};

/// How a root becomes a directory.
#[derive(Default, Clone, Copy)]
pub struct DirectoryOptions<'a> {
    /// Record owners, modes, types and privileged xattrs in `user.*` xattrs, [`OVERRIDE_STAT`] first of all, instead of
    /// setting them. The entries are the exporting user's own, and that user can read all of them.
    pub rootless: bool,
    /// Threads that write files; as many as the machine has cores if nothing is said.
    pub threads: Option<NonZeroUsize>,
    /// Fail at the first thing that the system refuses. What was written by then is left.
    pub strict: bool,
    /// Wait until everything is on the disk: syncfs(2).
    pub sync: bool,
    /// Hears of progress and may stop the export.
    pub hook: Option<Hook<'a>>,
}

impl DirectoryOptions<'_> {
    fn threads(&self) -> usize {
        self.threads.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
    }
}

/// What an export made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryReport {
    /// Paths, the target itself included.
    pub entries: u64,
    /// Bytes of file contents, holes included.
    pub bytes: u64,
    /// What the system refused, sorted by path. Which are listed, when there are more, depends on the threads.
    pub omissions: Omissions,
}

/// Makes `target`, which must be missing or an empty directory, the root.
///
/// Owners, modes, times to the nanosecond, hard links, devices, xattrs and holes are kept. File bytes are shared with
/// the contents files where the file system can (btrfs, XFS), and copied where not. Whatever the system refuses to this
/// user is left out and reported.
///
/// # Errors
/// [`Error::TargetNotEmpty`](crate::Error::TargetNotEmpty), with nothing written.
/// [`Error::Incomplete`](crate::Error::Incomplete) if that is asked for, [`Error::Io`](crate::Error::Io) with
/// the path, and [`Error::Cancelled`](crate::Error::Cancelled): what was written by then is left, most of it readable
/// for the exporting user only; remove it before another attempt.
pub fn export_directory(fs: &ContainerFs, target: &Path, options: &DirectoryOptions<'_>) -> Result<DirectoryReport> {
    let root = target::open_empty(target)?;
    let plan = Plan::of(fs)?;
    let omissions = Export::new(fs, target, options, &plan, root).run()?;
    let entries = plan.directories.len() + plan.nodes.len() + plan.links.len();
    Ok(DirectoryReport { entries: entries as u64, bytes: plan.bytes, omissions })
}
