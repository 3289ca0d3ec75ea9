//! The images of a store's own cache and of its shared ones.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::path::PathBuf;
use std::sync::Arc;

use super::Snapshot;
use crate::Record;

/// The images of several caches, and what they were merged from.
#[derive(Debug, Default)]
pub(crate) struct Visible {
    parts: Vec<Arc<Snapshot>>,
    merged: Arc<Snapshot>,
}

impl Visible {
    /// Returns the images of the own cache and of shared ones, each with its directory. They are merged again only if one
    /// of them has changed.
    pub(crate) fn merge(&mut self, own: &Arc<Snapshot>, shared: Vec<(PathBuf, Arc<Snapshot>)>) -> Arc<Snapshot> {
        let parts: Vec<Arc<Snapshot>> =
            std::iter::once(Arc::clone(own)).chain(shared.iter().map(|(_, part)| Arc::clone(part))).collect();
        let is_same = self.parts.len() == parts.len() && self.parts.iter().zip(&parts).all(|(a, b)| Arc::ptr_eq(a, b));
        if !is_same {
            self.merged = Arc::new(merge(own, &shared));
            self.parts = parts;
        }
        Arc::clone(&self.merged)
    }
}

fn merge(own: &Snapshot, shared: &[(PathBuf, Arc<Snapshot>)]) -> Snapshot {
    let mut entries: HashMap<String, Arc<Record>> = HashMap::new();
    let mut metadata = own.metadata.clone();
    for record in &own.records {
        entries.insert(record.file_name(), Arc::clone(record));
    }
    for (directory, part) in shared {
        // The owner has decrypted the encrypted ones for himself.
        for record in part.records.iter().filter(|record| !record.is_encrypted()) {
            if let MapEntry::Vacant(vacant) = entries.entry(record.file_name()) {
                let record = Record { shared_cache: Some(directory.clone()), ..(**record).clone() };
                vacant.insert(Arc::new(record));
            }
        }
        for (id, of_shared) in &part.metadata {
            metadata.entry(*id).or_insert_with(|| of_shared.clone());
        }
    }
    let mut merged = Snapshot { metadata, damaged: own.damaged.clone(), ..Snapshot::default() };
    merged.fill(entries.iter().collect());
    merged
}
