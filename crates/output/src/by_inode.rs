//! Omissions that are recorded by inode, before paths are known.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::PathBuf;

use crate::{LISTED_OMISSIONS, OmissionReason, Omissions, Omitted};

/// Omissions by inode. Paths are looked up at the end, because nearly every export has no omission.
#[derive(Debug)]
pub struct OmissionsByInode<I> {
    total: u64,
    /// At most [`LISTED_OMISSIONS`] entries.
    listed: Vec<(I, Omitted, OmissionReason)>,
}

impl<I> Default for OmissionsByInode<I> {
    fn default() -> Self {
        Self { total: 0, listed: Vec::new() }
    }
}

impl<I: Copy + Eq + Hash> OmissionsByInode<I> {
    /// Adds an omission.
    pub fn add(&mut self, inode: I, what: Omitted, why: OmissionReason) {
        self.total += 1;
        if self.listed.len() < LISTED_OMISSIONS {
            self.listed.push((inode, what, why));
        }
    }

    /// Converts to [`Omissions`]. Each inode is listed under its first path in `paths`.
    pub fn with_paths(self, paths: impl Iterator<Item = (I, PathBuf)>) -> Omissions {
        let mut omissions = Omissions::default();
        if self.total == 0 {
            return omissions;
        }
        let mut by_inode: HashMap<I, Vec<(Omitted, OmissionReason)>> = HashMap::new();
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
