//! Omissions that are found inode by inode, before their paths are known.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::PathBuf;

use crate::{LISTED_OMISSIONS, Omissions, Omitted, Why};

/// What inodes lack. Their paths are looked for in the end: nearly always nothing is lacking.
#[derive(Debug)]
pub struct OmissionsByInode<I> {
    total: u64,
    /// As many as are listed.
    listed: Vec<(I, Omitted, Why)>,
}

impl<I> Default for OmissionsByInode<I> {
    fn default() -> Self {
        Self { total: 0, listed: Vec::new() }
    }
}

impl<I: Copy + Eq + Hash> OmissionsByInode<I> {
    /// Counts one.
    pub fn add(&mut self, inode: I, what: Omitted, why: Why) {
        self.total += 1;
        if self.listed.len() < LISTED_OMISSIONS {
            self.listed.push((inode, what, why));
        }
    }

    /// The same under the first name of each inode, as `paths` gives them.
    pub fn with_paths(self, paths: impl Iterator<Item = (I, PathBuf)>) -> Omissions {
        let mut omissions = Omissions::default();
        if self.total == 0 {
            return omissions;
        }
        let mut by_inode: HashMap<I, Vec<(Omitted, Why)>> = HashMap::new();
        for (inode, what, why) in self.listed {
            by_inode.entry(inode).or_default().push((what, why));
        }
        for (inode, path) in paths {
            for (what, why) in by_inode.remove(&inode).unwrap_or_default() {
                omissions.add(|| path.clone(), what, why);
            }
        }
        omissions.total = self.total;
        omissions
    }
}
