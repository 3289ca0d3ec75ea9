//! Verification of image records, of their metadata, and of the journal.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::attributes::fault_of_read;
use super::{AffectedImage, Check, FileKind, Finding};
use crate::collect::list;
use crate::metadata;
use crate::record::{Copies, copy_of, read_copies};
use crate::{Record, Result, Store};

const MISPLACED: &str = "is the record of another name or platform";
const FROM_COPY: &str = "written again from its other copy";

/// The files of the records, as a verification reads them: both copies of each.
#[derive(Debug, Default)]
pub(super) struct ReadRecords {
    pub(super) whole: Vec<Record>,
    /// The first copies of records of which one copy is damaged or missing, or both.
    faulty: Vec<PathBuf>,
    metadata: Vec<PathBuf>,
}

impl ReadRecords {
    /// Reads the records without changing them.
    pub(super) fn read(store: &Store) -> Result<Self> {
        let mut read = Self::default();
        let mut records = BTreeSet::new();
        for path in list(&store.cache.layout().images())? {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("json" | "copy") => drop(records.insert(path.with_extension("json"))),
                _ if metadata::is_metadata(&path) => read.metadata.push(path),
                _ => {}
            }
        }
        for path in records {
            match read_copies(&path)? {
                Copies::Neither => {}
                Copies::Both(record) if is_at(&record, &path) => read.whole.push(*record),
                Copies::One { record, .. } if is_at(&record, &path) => {
                    read.whole.push(*record);
                    read.faulty.push(path);
                }
                _ => read.faulty.push(path),
            }
        }
        Ok(read)
    }
}

/// Returns whether a record has the name that its name and platform give it.
fn is_at(record: &Record, path: &Path) -> bool {
    path.file_name().is_some_and(|name| *name == *record.file_name())
}

/// The fault of a record's files.
enum RecordFault {
    /// One copy is damaged, and the other one is whole.
    Copy { path: PathBuf, problem: String },
    /// Neither copy can be used.
    Both(String),
    /// A whole record in the place of another one.
    Misplaced(Box<Record>),
}

/// Returns the fault of the record at `path`, if it has one. A missing copy is that of a process that was killed, and no
/// fault.
fn fault_of(path: &Path) -> Result<Option<RecordFault>> {
    Ok(match read_copies(path)? {
        Copies::Neither => None,
        Copies::Both(record) | Copies::One { record, .. } if !is_at(&record, path) => {
            Some(RecordFault::Misplaced(record))
        }
        Copies::Both(_) | Copies::One { problem: None, .. } => None,
        Copies::One { problem: Some(problem), other, .. } => Some(RecordFault::Copy { path: other, problem }),
        Copies::Damaged(reason) => Some(RecordFault::Both(reason)),
    })
}

impl Check<'_> {
    /// Checks the records, their metadata and the journal. Returns the number of files with metadata.
    pub(super) fn records(&self, read: &ReadRecords) -> Result<u64> {
        self.journal()?;
        for path in &read.faulty {
            self.check_record(path)?;
        }
        let whole = self.needs.records.iter().map(|record| self.store.cache.layout().image_record(&record.key()));
        for path in whole.flat_map(|path| [copy_of(&path), path]) {
            self.check_mode(&path, FileKind::Record).into_iter().for_each(|it| self.add(it));
        }
        for path in &read.metadata {
            self.check_metadata(path)?;
        }
        Ok(read.metadata.len() as u64)
    }

    /// Reports a damaged journal. Nothing can be read from it.
    fn journal(&self) -> Result<()> {
        let path = self.store.damaged_journal();
        if !path.exists() {
            return Ok(());
        }
        let found = Finding::new(path, FileKind::Journal, "is a damaged transaction of image records");
        self.settle(found, |found| {
            let quarantined = self.quarantine(&found)?.map(|aside| aside.path);
            let advice = "an image that was pulled, loaded or removed at that time may have its earlier name: see \
                          `vmroot images`";
            let finding = found.lost("moved to the quarantine");
            Ok(Some(Finding { quarantined, advice: Some(advice.to_owned()), ..finding }))
        })
    }

    fn check_record(&self, path: &Path) -> Result<()> {
        let found = match fault_of(path)? {
            Some(RecordFault::Copy { path, problem }) => Finding::new(path, FileKind::Record, problem),
            Some(RecordFault::Both(problem)) => Finding::new(path, FileKind::Record, problem),
            Some(RecordFault::Misplaced(_)) => Finding::new(path, FileKind::Record, MISPLACED),
            None if self.is_repair() => return self.store.restore_copy(path, &**self.progress),
            None => return Ok(()),
        };
        let record = self.needs.records.iter().find(|record| is_at(record, path));
        let found = found.with_images(record.map(AffectedImage::of).into_iter().collect());
        self.settle(found, |found| self.repair_record(path, found))
    }

    fn repair_record(&self, path: &Path, found: Finding) -> Result<Option<Finding>> {
        let lock = self.store.lock_records(Some(&**self.progress))?;
        match fault_of(path)? {
            None => Ok(None),
            Some(RecordFault::Copy { .. }) => {
                self.store.write_other_copy(&lock, path)?;
                Ok(Some(found.repaired(FROM_COPY)))
            }
            Some(fault) => {
                let first = self.quarantine(&found)?;
                let second = self.quarantine(&Finding { path: copy_of(path), ..found.clone() })?;
                let quarantined = first.or(second).map(|aside| aside.path);
                let has_own = |record: &Record| self.needs.records.iter().any(|other| other.key() == record.key());
                Ok(Some(match fault {
                    RecordFault::Misplaced(record) if has_own(&record) => {
                        found.set_aside(quarantined, "the image has its own record")
                    }
                    _ => Finding { quarantined, ..found.lost("neither copy can be used") },
                }))
            }
        }
    }

    fn check_metadata(&self, path: &Path) -> Result<()> {
        if let Some(mode) = self.check_mode(path, FileKind::Metadata) {
            self.add(mode);
        }
        let Some(problem) = metadata_fault(path)? else { return Ok(()) };
        let of_image =
            |record: &&Record| path.file_name().is_some_and(|name| *name == *metadata::file_name(record.id()));
        let images = self.needs.records.iter().filter(of_image).map(AffectedImage::of).collect();
        let found = Finding::new(path, FileKind::Metadata, problem).with_images(images);
        self.settle(found, |found| {
            let _lock = self.store.lock_records(Some(&**self.progress))?;
            if metadata_fault(path)?.is_none() {
                return Ok(None);
            }
            let quarantined = self.quarantine(&found)?.map(|aside| aside.path);
            let is_unneeded = found.images.is_empty();
            let finding = match is_unneeded {
                true => found.set_aside(None, "no image needs it"),
                false => found.lost("moved to the quarantine"),
            };
            Ok(Some(Finding { quarantined, ..finding }))
        })
    }
}

fn metadata_fault(path: &Path) -> Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(metadata::parse(path, &bytes).err()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => match fault_of_read(&error) {
            Some(fault) => Ok(Some(fault)),
            None => Err(vmroot_output::Error::on("read", path)(error).into()),
        },
    }
}
