//! What of a root a file system has no place for, so that it is left out and reported.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use vmroot_container_fs::{ContainerFs, InodeId};
use vmroot_export::{LISTED_OMISSIONS, Omissions, Omitted, Why};

/// What inodes lack. Their paths are looked for in the end: nearly always nothing is lacking.
#[derive(Debug, Default)]
pub(crate) struct Lacks {
    total: u64,
    /// As many as are listed.
    listed: Vec<(InodeId, Omitted, Why)>,
}

impl Lacks {
    /// Counts one.
    pub(crate) fn add(&mut self, ino: InodeId, what: Omitted, why: Why) {
        self.total += 1;
        if self.listed.len() < LISTED_OMISSIONS {
            self.listed.push((ino, what, why));
        }
    }

    /// The same under the first name of each inode.
    pub(crate) fn with_paths(self, fs: &ContainerFs) -> Omissions {
        let mut omissions = Omissions::default();
        if self.total == 0 {
            return omissions;
        }
        let mut by_inode: HashMap<InodeId, Vec<(Omitted, Why)>> = HashMap::new();
        for (ino, what, why) in self.listed {
            by_inode.entry(ino).or_default().push((what, why));
        }
        for entry in fs.walk().filter(|entry| entry.link_to.is_none()) {
            for (what, why) in by_inode.remove(&entry.ino).unwrap_or_default() {
                omissions.add(|| PathBuf::from(OsStr::from_bytes(&entry.path)), what, why);
            }
        }
        omissions.total = self.total;
        omissions
    }
}
