//! Opening the directories of an export, at any depth and with few descriptors, and never outside the target.
//!
//! Entries are created by a single name in such a directory, with calls that do not follow a symbolic link.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use vmroot_output::beneath::open_below;

use super::plan::{Plan, ROOT};

/// The most descriptors that a cursor holds.
const MAX_OPEN: usize = 16;
/// The directory that was opened last, and some of its ancestors.
///
/// Opening a child or a sibling is one system call, so depth does not matter if a tree is walked in order.
pub(super) struct Cursor<'a> {
    plan: &'a Plan<'a>,
    root: BorrowedFd<'a>,
    /// Each one is a descendant of the one before.
    open: Vec<(u32, OwnedFd)>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(plan: &'a Plan<'a>, root: BorrowedFd<'a>) -> Self {
        Self { plan, root, open: Vec::new() }
    }

    /// Opens a directory that was already created.
    pub(super) fn open(&mut self, directory: u32) -> rustix::io::Result<BorrowedFd<'_>> {
        let names = self.close_unrelated(directory);
        if !names.is_empty() {
            let from = self.open.last().map_or(self.root, |(_, fd)| fd.as_fd());
            let fd = open_below(from, &names)?;
            if self.open.len() == MAX_OPEN {
                self.open.remove(0);
            }
            self.open.push((directory, fd));
        }
        Ok(self.open.last().map_or(self.root, |(_, fd)| fd.as_fd()))
    }

    /// Closes directories that are not ancestors of `directory`, and returns the names from the last one left to it.
    fn close_unrelated(&mut self, directory: u32) -> Vec<&'a [u8]> {
        let mut names = Vec::new();
        let mut at = directory;
        let keep = loop {
            if at == ROOT {
                break 0;
            }
            if let Some(position) = self.open.iter().rposition(|(open, _)| *open == at) {
                break position + 1;
            }
            let record = &self.plan.directories[at as usize];
            names.push(record.name);
            at = record.parent;
        };
        self.open.truncate(keep);
        names.reverse();
        names
    }
}
