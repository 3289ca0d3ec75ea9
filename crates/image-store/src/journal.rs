//! Changes of several image records as one transaction.
//!
//! A change of more than one record is first written to a journal. The next holder of the lock of the records, or the
//! next store, completes the transaction of a process that was killed.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use vmroot_cache::{Lock, LockName, Mode, PUBLISHED_MODE};
use vmroot_model::{Digest, Platform, Reference};
use vmroot_output::write_atomically;

use crate::collect::remove;
use crate::metadata::Metadata;
use crate::{Progress, Record, Result, Store};

/// The journal in the directory of the records. The name has no extension, so earlier versions do not take it for a
/// record.
const JOURNAL: &str = "journal";

/// A name that another image had before.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moved {
    /// The name.
    pub reference: Reference,
    /// The platform of the record.
    pub platform: Platform,
    /// The id of the image that had the name.
    pub from: Digest,
    /// The id of the image that has the name now.
    pub to: Digest,
    /// Whether the earlier image has no name any more. It stays in the store under its id.
    pub dangling: bool,
}

impl std::fmt::Display for Moved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} was the image {} before", self.reference, self.from)?;
        if self.dangling {
            write!(
                f,
                ", which has no name now: `vmroot rm {hex}` or `vmroot gc --dangling` removes it",
                hex = &self.from.hex()[..12]
            )
        } else {
            Ok(())
        }
    }
}

/// Records to write and records to remove.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Transaction {
    pub(crate) write: Vec<Record>,
    pub(crate) remove: Vec<Record>,
    /// Metadata to write, or to remove.
    #[serde(default)]
    pub(crate) metadata: Vec<(Digest, Option<Metadata>)>,
}

#[derive(Serialize, Deserialize)]
struct Journal<'a> {
    /// The digest of the bytes of `transaction`.
    digest: Digest,
    #[serde(borrow)]
    transaction: &'a RawValue,
}

/// The exclusive lock of the image records. No transaction is incomplete while it is held.
#[must_use = "the lock is released as soon as this is dropped"]
pub(crate) struct RecordsLock {
    _lock: Lock,
}

impl Store {
    /// Writes records as one transaction, and replaces earlier ones of the same name and platform. After a crash, all
    /// records are written or none.
    ///
    /// An image that loses its last name stays as an image without a name. An image that gets a name is no longer
    /// recorded without one. Returns the names that have moved from another image.
    ///
    /// The caller must have made the images complete, and must hold them in use: see [`Store::pull`].
    ///
    /// # Errors
    /// - [`Error::Cache`](crate::Error::Cache) if the records cannot be locked, read or written, or if the wait for the
    ///   lock is cancelled.
    pub fn write_records(&self, records: &[Record], progress: &dyn Progress) -> Result<Vec<Moved>> {
        self.write_family(records, &BTreeMap::new(), progress)
    }

    /// Writes records as [`Self::write_records`] does, and the parents of their images, by the ids of the children. A
    /// parent that would make an image its own ancestor is left out.
    pub(crate) fn write_family(
        &self,
        records: &[Record],
        parents: &BTreeMap<Digest, Digest>,
        progress: &dyn Progress,
    ) -> Result<Vec<Moved>> {
        let lock = self.lock_records(Some(progress))?;
        let (mut transaction, moved) = self.plan(records)?;
        let snapshot = self.snapshot()?;
        let parent_of = |id: &Digest| parents.get(id).copied().or_else(|| snapshot.metadata(id).parent);
        for (child, parent) in parents {
            if !is_ancestor(child, *parent, parent_of) {
                let metadata = Metadata { parent: Some(*parent), ..snapshot.metadata(child) };
                transaction.metadata.push((*child, Some(metadata)));
            }
        }
        self.commit(&lock, &transaction)?;
        Ok(moved)
    }

    /// Takes the lock of the records, and completes the transaction of a process that was killed.
    pub(crate) fn lock_records(&self, progress: Option<&dyn Progress>) -> Result<RecordsLock> {
        let lock = match progress {
            Some(progress) => self.lock(&LockName::Images, progress)?,
            None => {
                let mut waiting = crate::store::until_cancelled(&self.options.cancel);
                self.cache.lock(&LockName::Images, Mode::Exclusive, &mut waiting)?
            }
        };
        let lock = RecordsLock { _lock: lock };
        self.replay(&lock)?;
        Ok(lock)
    }

    /// Completes the transaction of a process that was killed, unless a process is working on one now.
    pub(crate) fn recover(&self) -> Result<()> {
        if !self.journal().exists() {
            return Ok(());
        }
        match self.cache.try_lock(&LockName::Images, Mode::Exclusive)? {
            Some(lock) => self.replay(&RecordsLock { _lock: lock }),
            None => Ok(()),
        }
    }

    /// Writes and removes records, all or none.
    pub(crate) fn commit(&self, _lock: &RecordsLock, transaction: &Transaction) -> Result<()> {
        // A change of one record needs no journal: its first copy makes it valid.
        if transaction.write.len() + transaction.remove.len() + transaction.metadata.len() < 2 {
            return self.change_records(transaction, || self.apply(transaction));
        }
        let body = serde_json::to_string(transaction).expect("a record has no keys but strings");
        let raw = RawValue::from_string(body).expect("serde_json writes JSON");
        let journal = Journal { digest: Digest::of(raw.get().as_bytes()), transaction: &raw };
        let bytes = serde_json::to_vec(&journal).expect("a record has no keys but strings");
        self.change_records(transaction, || {
            write_atomically(&self.journal(), PUBLISHED_MODE, &bytes)?;
            self.apply(transaction)?;
            remove(&self.journal()).map(drop)
        })
    }

    fn apply(&self, transaction: &Transaction) -> Result<()> {
        transaction.write.iter().try_for_each(|record| self.write_record(record))?;
        transaction.remove.iter().try_for_each(|record| self.remove_record(record))?;
        transaction.metadata.iter().try_for_each(|(id, metadata)| self.write_metadata(id, metadata.as_ref()))
    }

    fn replay(&self, _lock: &RecordsLock) -> Result<()> {
        let Some(bytes) = self.read_journal()? else { return Ok(()) };
        let path = self.journal();
        match parse(&bytes) {
            Some(transaction) => self.change_records(&transaction, || {
                self.apply(&transaction)?;
                remove(&path).map(drop)
            }),
            // It was complete when it got its name, so the disk has damaged it. Its records may be old or new. A
            // verification reports it.
            None => {
                let aside = self.damaged_journal();
                tracing::warn!(path = %aside.display(), "a journal of image records is damaged; it was put aside");
                Ok(fs::rename(&path, &aside).map_err(vmroot_output::Error::on("rename", &path))?)
            }
        }
    }

    /// Reads the journal, if there is one.
    pub(crate) fn read_journal(&self) -> Result<Option<Vec<u8>>> {
        let path = self.journal();
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => Ok(Some(read.map_err(vmroot_output::Error::on("read", &path))?)),
        }
    }

    /// Returns the path of a journal that was damaged, and is not in use any more.
    pub(crate) fn damaged_journal(&self) -> PathBuf {
        self.journal().with_extension("damaged")
    }

    fn journal(&self) -> PathBuf {
        self.cache.layout().images().join(JOURNAL)
    }

    /// Plans the transaction that writes `records`. The lock of the records must be held.
    fn plan(&self, records: &[Record]) -> Result<(Transaction, Vec<Moved>)> {
        let snapshot = self.snapshot()?;
        let mut transaction = Transaction::default();
        // The last one of equal names counts.
        for record in records {
            transaction.write.retain(|earlier| earlier.key() != record.key());
            transaction.write.push(record.clone());
        }
        // A damaged record is replaced without a trace: its image is unknown.
        let replaced = |record: &Record| {
            let old = snapshot.record_like(record).filter(|old| old.id() != record.id())?;
            Some((Arc::clone(old), *record.id()))
        };
        let replaced: Vec<_> = transaction.write.iter().filter_map(replaced).collect();
        let written: HashSet<String> = transaction.write.iter().map(Record::file_name).collect();
        let records_of = |id: &Digest| snapshot.by_id.get(id).into_iter().flatten();
        let has_name = |id: &Digest| {
            let stays = |record: &Arc<Record>| record.reference.is_some() && !written.contains(&record.file_name());
            let gets_one = |record: &Record| record.id() == id && record.reference.is_some();
            transaction.write.iter().any(gets_one) || records_of(id).any(stays)
        };
        // An image with a name is not recorded without one as well.
        let named: HashSet<Digest> = transaction.write.iter().map(|record| *record.id()).filter(has_name).collect();
        let mut nameless = Vec::new();
        let mut moved = Vec::new();
        for (old, to) in replaced {
            let dangling = !has_name(old.id());
            if dangling && !transaction.write.iter().chain(&nameless).any(|record| record.id() == old.id()) {
                nameless.push(old.with_reference(None));
            }
            let Some(reference) = old.reference.clone() else { continue };
            moved.push(Moved { reference, platform: old.platform.clone(), from: *old.id(), to, dangling });
        }
        transaction.write.retain(|record| record.reference.is_some() || !named.contains(record.id()));
        transaction.write.append(&mut nameless);
        let of_named = named.iter().flat_map(records_of).filter(|record| record.reference.is_none());
        transaction.remove.extend(of_named.map(|record| (**record).clone()));
        Ok((transaction, moved))
    }
}

/// Returns whether `id` is `descendant` or one of its ancestors.
pub(crate) fn is_ancestor(id: &Digest, descendant: Digest, parent_of: impl Fn(&Digest) -> Option<Digest>) -> bool {
    let mut seen = HashSet::new();
    let mut next = Some(descendant);
    // Damaged metadata may already have a cycle.
    while let Some(ancestor) = next.filter(|ancestor| seen.insert(*ancestor)) {
        if ancestor == *id {
            return true;
        }
        next = parent_of(&ancestor);
    }
    false
}

/// Parses a journal. Returns `None` if it is damaged.
pub(crate) fn parse(bytes: &[u8]) -> Option<Transaction> {
    let journal: Journal<'_> = serde_json::from_slice(bytes).ok()?;
    let text = journal.transaction.get();
    (Digest::of(text.as_bytes()) == journal.digest).then(|| serde_json::from_str(text).ok())?
}

#[cfg(test)]
mod tests {
    use vmroot_model::{Descriptor, MediaType};

    use super::*;
    use crate::{NoProgress, StoreOptions};

    fn record(name: Option<&str>, config: &str) -> Record {
        let of = |text: &str| Descriptor::of(MediaType::new("application/json"), text.as_bytes());
        let record = serde_json::json!({
            "reference": name,
            "platform": { "os": "linux", "architecture": "amd64" },
            "digest": Digest::of(config.as_bytes()),
            "manifest": of("{}"),
            "config": of(config),
            "layers": [],
            "pulled": 1,
        });
        serde_json::from_value(record).unwrap()
    }

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(StoreOptions::new(directory.path())).unwrap();
        (directory, store)
    }

    fn listed(store: &Store) -> Vec<(Option<String>, Digest)> {
        let of = |record: Record| (record.reference.as_ref().map(ToString::to_string), *record.id());
        store.records().unwrap().whole.into_iter().map(of).collect()
    }

    #[test]
    fn an_image_keeps_a_record_when_its_name_moves() {
        let (_directory, store) = store();
        let (a, b) = (record(Some("a:1"), "A"), record(Some("a:1"), "B"));
        assert_eq!(store.write_records(std::slice::from_ref(&a), &NoProgress).unwrap(), []);
        let moved = store.write_records(std::slice::from_ref(&b), &NoProgress).unwrap();
        assert_eq!((moved.len(), moved[0].from, moved[0].to, moved[0].dangling), (1, *a.id(), *b.id(), true));
        let name = Some("docker.io/library/a:1".to_owned());
        assert_eq!(listed(&store), [(name.clone(), *b.id()), (None, *a.id())]);
        // A name ends the record without one.
        let again = record(Some("a:2"), "A");
        assert_eq!(store.write_records(&[again], &NoProgress).unwrap(), []);
        assert_eq!(listed(&store), [(name, *b.id()), (Some("docker.io/library/a:2".to_owned()), *a.id())]);
        // An image with another name does not dangle.
        let moved = store.write_records(&[record(Some("a:1"), "C"), record(Some("a:3"), "B")], &NoProgress).unwrap();
        assert_eq!((moved.len(), moved[0].dangling), (1, false));
        assert_eq!(listed(&store).len(), 3);
    }

    /// The next store completes a transaction whose process was killed, at any of its steps.
    #[test]
    fn the_next_store_completes_a_transaction() {
        for steps in 0..3 {
            let (directory, store) = store();
            store.write_records(&[record(Some("old:1"), "O")], &NoProgress).unwrap();
            let transaction = Transaction {
                write: vec![record(Some("a:1"), "A"), record(Some("b:1"), "B")],
                remove: vec![record(Some("old:1"), "O")],
                metadata: Vec::new(),
            };
            let body = RawValue::from_string(serde_json::to_string(&transaction).unwrap()).unwrap();
            let journal = Journal { digest: Digest::of(body.get().as_bytes()), transaction: &body };
            fs::write(store.journal(), serde_json::to_vec(&journal).unwrap()).unwrap();
            transaction.write.iter().take(steps).for_each(|record| store.write_record(record).unwrap());
            drop(store);
            let store = Store::open(StoreOptions::new(directory.path())).unwrap();
            let names: Vec<_> = listed(&store).into_iter().filter_map(|(name, _)| name).collect();
            assert_eq!(names, ["docker.io/library/a:1", "docker.io/library/b:1"]);
            assert!(!store.journal().exists());
        }
    }

    #[test]
    fn a_damaged_journal_is_removed() {
        let (directory, store) = store();
        store.write_records(&[record(Some("a:1"), "A")], &NoProgress).unwrap();
        fs::write(store.journal(), "{\"digest\":\"sha256:").unwrap();
        drop(store);
        let store = Store::open(StoreOptions::new(directory.path())).unwrap();
        assert_eq!(listed(&store).len(), 1);
        assert!(!store.journal().exists());
    }

    #[test]
    fn search_finds_ids_by_their_prefixes() {
        let (_directory, store) = store();
        let records: Vec<Record> = (0..17).map(|n| record(None, &n.to_string())).collect();
        store.write_records(&records, &NoProgress).unwrap();
        assert_eq!(store.ids().unwrap().len(), 17);
        for record in &records {
            let (id, hex) = (record.id(), record.id().hex());
            for term in [&id.to_string(), &id.to_string()[..22], &hex, &hex[..15]] {
                assert_eq!(store.search(term).unwrap(), *id, "{term}");
            }
        }
        // Of 17 ids, two begin with the same digit.
        let digits: Vec<String> = (0..16).map(|digit| format!("{digit:x}")).collect();
        let ambiguous = digits.iter().filter_map(|digit| match store.search(digit) {
            Err(crate::Error::Ambiguous { candidates, .. }) => Some(candidates),
            _ => None,
        });
        assert!(ambiguous.map(|candidates| candidates.split(", ").count()).all(|count| count > 1));
        assert!(digits.iter().any(|digit| matches!(store.search(digit), Err(crate::Error::Ambiguous { .. }))));
        for term in ["", "sha256:", "xyz", "i_dont_exists"] {
            assert!(matches!(store.search(term), Err(crate::Error::NoSuchImage(_))), "{term}");
        }
    }
}
