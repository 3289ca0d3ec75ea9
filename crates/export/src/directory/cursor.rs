//! Opening the directories of the export, at any depth, with few descriptors, and never outside of it.
//!
//! Entries are then made by one name each in such a directory, by calls that never follow a link in the last name.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use vmroot_output::beneath::open_below;

use super::plan::{Plan, ROOT};

/// Descriptors that a cursor holds at most.
const OPEN: usize = 16;
/// The directory that was opened last, and some of those that it lies in.
///
/// Going to a child or a sibling is one system call, and a deep tree costs no more than a shallow one as long as it is
/// walked in order.
pub(super) struct Cursor<'a> {
    plan: &'a Plan<'a>,
    root: BorrowedFd<'a>,
    /// Each lies somewhere below the one before.
    open: Vec<(u32, OwnedFd)>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(plan: &'a Plan<'a>, root: BorrowedFd<'a>) -> Self {
        Self { plan, root, open: Vec::new() }
    }

    /// Opens a directory that has been made.
    pub(super) fn open(&mut self, directory: u32) -> rustix::io::Result<BorrowedFd<'_>> {
        let names = self.go_up_towards(directory);
        if !names.is_empty() {
            let from = self.open.last().map_or(self.root, |(_, fd)| fd.as_fd());
            let fd = open_below(from, &names)?;
            if self.open.len() == OPEN {
                self.open.remove(0);
            }
            self.open.push((directory, fd));
        }
        Ok(self.open.last().map_or(self.root, |(_, fd)| fd.as_fd()))
    }

    /// Closes what does not lie on the way to `directory`, and gives the names that are left to go.
    fn go_up_towards(&mut self, directory: u32) -> Vec<&'a [u8]> {
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
