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
mod merge;
mod new_inode;
mod plan;
mod rootless;
mod target;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use rustix::fd::AsFd;
use rustix::fs::{CWD, Mode, OFlags, openat};
use vmroot_container_fs::{ContainerFs, InodeId};

pub use rootless::{OVERRIDE_STAT, XATTR_PREFIX};

use crate::{Error, Result};
use export::Export;
use merge::{Conflict, Merge};
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
    let plan = Plan::of_entries(fs, InodeId::ROOT)?;
    let exported = Export::new(fs, target, options, &plan, root, None).run();
    if matches!(exported, Err(Error::Cancelled | Error::Incomplete(_))) {
        target::remove(target, existed).map_err(vmroot_output::Error::on("remove the incomplete tree", target))?;
    }
    Ok(Report::new(plan.bytes, exported?))
}

/// Entries to put into a directory that exists.
pub(crate) enum Entries<'a> {
    /// Those of a directory of the root.
    Of(InodeId),
    /// An inode, under a name.
    Named(InodeId, &'a [u8]),
}

/// Puts entries into a directory, among those that it has. Directories are merged, and other entries replaced, but no
/// directory by a file and no file by a directory. The directory itself keeps its attributes.
pub(crate) fn merge_into(
    fs: &ContainerFs,
    entries: &Entries<'_>,
    target: &Path,
    keep_owners: bool,
    options: &DirectoryOptions<'_>,
) -> Result<Report> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = openat(CWD, target, flags, Mode::empty());
    let root = opened.map_err(vmroot_output::Error::on("open the directory", target))?;
    let plan = match *entries {
        Entries::Of(directory) => Plan::of_entries(fs, directory)?,
        Entries::Named(ino, name) => Plan::of_inode(fs, ino, name)?,
    };
    let merge = Merge::find(&plan, root.as_fd(), keep_owners).map_err(|conflict| match conflict {
        Conflict::DirectoryOntoFile(number) => Error::DirectoryOntoFile(target.join(plan.directory_path(number))),
        Conflict::FileOntoDirectory(position) => {
            let links = plan.links.iter().map(|link| &link.node);
            let node = plan.nodes.iter().chain(links).nth(position).copied();
            Error::FileOntoDirectory(target.join(node.map_or_else(PathBuf::new, |node| plan.path(node))))
        }
        Conflict::Unreadable(number, errno) => {
            vmroot_output::Error::on("read", target.join(plan.directory_path(number)))(errno).into()
        }
    })?;
    let omissions = Export::new(fs, target, options, &plan, root, Some(merge)).run()?;
    Ok(Report::new(plan.bytes, omissions))
}
