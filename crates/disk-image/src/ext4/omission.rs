//! What of a root ext4 has no place for, so that it is left out and reported.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use bstr::BString;
use vmroot_container_fs::{ContainerFs, InodeId};

/// Omissions that are listed; further ones are counted.
pub const LISTED_OMISSIONS: usize = 1000;

/// Something that is not in the image as it is in the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Omission {
    /// Where, without a leading slash; the first name of several.
    pub path: PathBuf,
    /// What.
    pub what: Lack,
}

/// What the disk format lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// An xattr of a namespace that ext4 does not know, or an access control list that is none.
    Xattr(BString),
    /// A time before 1901 or after 2446; the image has the nearest there is.
    Time,
}

impl fmt::Display for Omission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.what {
            Lack::Xattr(name) => write!(f, "xattr {name:?}"),
            Lack::Time => write!(f, "time"),
        }
    }
}

/// Collects omissions.
#[derive(Debug, Default)]
pub(super) struct Omissions {
    total: u64,
    listed: Vec<(InodeId, Lack)>,
}

impl Omissions {
    pub(super) fn add(&mut self, ino: InodeId, what: Lack) {
        self.total += 1;
        if self.listed.len() < LISTED_OMISSIONS {
            self.listed.push((ino, what));
        }
    }

    /// How many there are, and those that are listed with their paths.
    pub(super) fn with_paths(self, fs: &ContainerFs) -> (u64, Vec<Omission>) {
        let mut paths: BTreeMap<InodeId, PathBuf> = BTreeMap::new();
        if !self.listed.is_empty() {
            let wanted: std::collections::BTreeSet<_> = self.listed.iter().map(|(ino, _)| *ino).collect();
            for entry in fs.walk().filter(|entry| wanted.contains(&entry.ino)) {
                paths.entry(entry.ino).or_insert_with(|| OsStr::from_bytes(&entry.path).into());
            }
        }
        let path = |ino: &InodeId| paths.get(ino).cloned().unwrap_or_default();
        (self.total, self.listed.iter().map(|(ino, what)| Omission { path: path(ino), what: what.clone() }).collect())
    }
}
