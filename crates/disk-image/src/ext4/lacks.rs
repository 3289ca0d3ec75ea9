//! What of a root ext4 has no place for, so that it is left out and reported.

use std::collections::BTreeSet;

use vmroot_container_fs::{ContainerFs, InodeId};
use vmroot_export::Omissions;

/// What an inode can lack.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lack {
    /// Some of its xattrs.
    Xattrs,
    /// Its time.
    Time,
}

/// Inodes that lack something.
#[derive(Debug, Default)]
pub(super) struct Lacks {
    xattrs: BTreeSet<InodeId>,
    times: BTreeSet<InodeId>,
}

impl Lacks {
    pub(super) fn add(&mut self, ino: InodeId, lack: Lack) {
        match lack {
            Lack::Xattrs => self.xattrs.insert(ino),
            Lack::Time => self.times.insert(ino),
        };
    }

    /// Under the first name of each: those that lack xattrs, and those that lack their time.
    pub(super) fn with_paths(self, fs: &ContainerFs) -> [Omissions; 2] {
        let mut omissions = [Omissions::default(), Omissions::default()];
        if self.xattrs.is_empty() && self.times.is_empty() {
            return omissions;
        }
        for entry in fs.walk().filter(|entry| entry.link_to.is_none()) {
            for (inodes, omissions) in [&self.xattrs, &self.times].into_iter().zip(&mut omissions) {
                if inodes.contains(&entry.ino) {
                    omissions.add(&entry.path);
                }
            }
        }
        omissions
    }
}
