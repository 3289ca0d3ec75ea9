//! What a form leaves out, by path.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Paths that are listed; further ones are counted.
pub const LISTED_OMISSIONS: usize = 1000;

/// Paths of a root of which a form lacks something.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Omissions {
    /// How many there are.
    pub total: u64,
    /// The first [`LISTED_OMISSIONS`] of them.
    pub paths: Vec<PathBuf>,
}

impl Omissions {
    /// Counts a path of a root; the root directory is the empty one, and listed as `.`.
    pub fn add(&mut self, path: &[u8]) {
        self.total += 1;
        if self.paths.len() < LISTED_OMISSIONS {
            self.paths.push(named(path));
        }
    }

    /// Adds those of another part of the same root.
    pub fn append(&mut self, other: Self) {
        self.total += other.total;
        let room = LISTED_OMISSIONS - self.paths.len();
        self.paths.extend(other.paths.into_iter().take(room));
    }
}

/// A path of a root or a layer for messages: the root directory is `.`.
pub(crate) fn named(path: &[u8]) -> PathBuf {
    OsStr::from_bytes(if path.is_empty() { b"." } else { path }).into()
}
