//! Exporting among entries that exist: directories are merged, and other entries replaced.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, FileType, statat, unlinkat};
use rustix::io::Errno;

use super::cursor::Cursor;
use super::plan::{Plan, ROOT};

/// An entry that cannot be put where another one is.
pub(super) enum Conflict {
    /// The directory with this number in the plan is to replace a file.
    DirectoryOntoFile(u32),
    /// The node at this position of the plan is to replace a directory.
    FileOntoDirectory(usize),
    /// A directory of the plan cannot be read.
    Unreadable(u32, Errno),
}

/// The directories of the plan that exist.
pub(super) struct Merge {
    existing: HashSet<u32>,
    /// Set owners and groups. Otherwise new entries belong to the exporting user.
    pub(super) keep_owners: bool,
}

impl Merge {
    /// Finds the directories that exist, and checks that no entry replaces a directory or replaces a file with one.
    pub(super) fn find(plan: &Plan<'_>, root: BorrowedFd<'_>, keep_owners: bool) -> Result<Self, Conflict> {
        let mut merge = Self { existing: HashSet::from([ROOT]), keep_owners };
        let mut cursor = Cursor::new(plan, root);
        for (number, directory) in (ROOT..).zip(&plan.directories).skip(1) {
            if !merge.has(directory.parent) {
                continue;
            }
            let parent = cursor.open(directory.parent);
            let kind = parent.and_then(|parent| kind_of(parent, directory.name));
            match kind.map_err(|errno| Conflict::Unreadable(directory.parent, errno))? {
                None => {}
                Some(FileType::Directory) => drop(merge.existing.insert(number)),
                Some(_) => return Err(Conflict::DirectoryOntoFile(number)),
            }
        }
        let links = plan.links.iter().map(|link| &link.node);
        for (position, node) in plan.nodes.iter().chain(links).enumerate() {
            if !merge.has(node.directory) {
                continue;
            }
            let kind = cursor.open(node.directory).and_then(|directory| kind_of(directory, node.name));
            if kind.map_err(|errno| Conflict::Unreadable(node.directory, errno))? == Some(FileType::Directory) {
                return Err(Conflict::FileOntoDirectory(position));
            }
        }
        Ok(merge)
    }

    /// Returns whether a directory existed before the export.
    pub(super) fn has(&self, directory: u32) -> bool {
        self.existing.contains(&directory)
    }
}

/// Returns the type of an entry, which is not followed.
fn kind_of(directory: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Option<FileType>> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// A name for an entry until it is complete. No other process or thread uses it.
pub(super) fn temporary_name() -> Vec<u8> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!(".tmp-{}-{number}.copy", std::process::id()).into_bytes()
}

/// Removes an entry under a temporary name. The error is ignored: the error of the export is the useful one.
pub(super) fn remove_temporary(directory: impl AsFd, name: &[u8]) {
    let _ = unlinkat(directory, name, AtFlags::empty());
}
