//! The tar of an image archive.

use std::collections::BTreeMap;

use crate::layer::{Encoding, Entry, Layer};

/// Files and links by name, and the directories that they need. They are written in the order of names, as Docker does.
#[derive(Debug, Default)]
pub(super) struct Members {
    members: BTreeMap<String, Entry>,
}

impl Members {
    pub(super) fn file(&mut self, name: &str, bytes: impl AsRef<[u8]>) {
        self.insert(name, Entry::file(name, bytes));
    }

    pub(super) fn symlink(&mut self, name: &str, target: &str) {
        self.insert(name, Entry::symlink(name, target));
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    fn insert(&mut self, name: &str, entry: Entry) {
        for (slash, _) in name.match_indices('/') {
            let directory = &name[..=slash];
            self.members.entry(directory.into()).or_insert_with(|| Entry::directory(directory));
        }
        self.members.insert(name.into(), entry);
    }

    pub(super) fn to_tar(&self) -> Vec<u8> {
        Layer::new(self.members.values().cloned()).to_tar(&Encoding::default())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.members.values()
    }
}
