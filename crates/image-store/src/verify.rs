//! Verification of a store: every file is read and checked. With repair, damaged files are fetched or rebuilt, and the
//! rest is moved to the quarantine of the cache.

mod advice;
mod attributes;
mod blobs;
mod finding;
mod layers;
mod needs;
mod quarantine;
mod reading;
mod records;
mod roots;
mod sources;
mod strays;

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rayon::ThreadPool;
use rayon::prelude::*;
use vmroot_errors::{ErrorKind, with_causes};
use vmroot_model::Digest;

pub(crate) use self::attributes::fault_of_read;
pub use self::finding::{AffectedImage, FileKind, Finding, FindingState, VerifyReport};
use self::needs::Needs;
pub use self::quarantine::QuarantinedFile;
use self::records::ReadRecords;
use self::sources::Sources;
pub use self::sources::{ImageOrigins, NoOrigins};
use crate::{Error, Progress, Result, Store};

const MISSING: &str = "is missing";
const MISNAMED: &str = "does not have the digest of its file name";

/// The condition of a file.
#[derive(Debug, PartialEq, Eq)]
enum Condition {
    Whole,
    Missing,
    /// The fault, as in "has the digest …".
    Damaged(String),
}

/// A verification in progress.
struct Check<'a> {
    store: &'a Store,
    progress: &'a Arc<dyn Progress>,
    /// Threads that read files.
    pool: ThreadPool,
    /// The files of the records at the start, which are kept until the end.
    needs: Needs,
    /// The sources for a repair. `None` means that no file is changed.
    sources: Option<Sources<'a>>,
    findings: Mutex<Vec<Finding>>,
    read_bytes: AtomicU64,
    total_bytes: u64,
}

impl Store {
    /// Verifies the whole store: hashes blobs and file contents, and checks indexes, records and metadata. No file is
    /// changed.
    ///
    /// Other threads and processes may use the store meanwhile. Files that they remove are not reported as missing, and
    /// files that they are writing are not reported as damaged.
    ///
    /// # Errors
    /// Damage is reported in the result and is not an error.
    ///
    /// - [`Error::Cache`] if the store cannot be listed or read.
    /// - [`Error::Threads`] if the threads cannot be started.
    /// - [`Error::Cancelled`] if the work was cancelled.
    pub fn verify(&self, progress: &Arc<dyn Progress>) -> Result<VerifyReport> {
        self.check_all(None, progress)
    }

    /// Verifies the whole store as [`Self::verify`], and repairs the damage that it finds.
    ///
    /// A damaged or missing blob is fetched again from the source of an image that has it. A layer is built again from
    /// its blob, a root from its layers, a record from its other copy. A file that cannot be repaired, that no image
    /// needs, or that does not belong to the store is moved to the quarantine: see [`Self::quarantined`].
    ///
    /// Several repairs may run at once, and one that was killed is completed by the next. A file under its name is only
    /// replaced by a complete one. Programs that have a damaged file open continue to read it.
    ///
    /// # Errors
    /// As for [`Self::verify`]. A file that cannot be repaired, such as for lack of disk space, is reported in the
    /// result.
    pub fn repair(&self, origins: &dyn ImageOrigins, progress: &Arc<dyn Progress>) -> Result<VerifyReport> {
        self.check_all(Some(Sources::new(origins)), progress)
    }

    fn check_all(&self, sources: Option<Sources<'_>>, progress: &Arc<dyn Progress>) -> Result<VerifyReport> {
        self.recover()?;
        let (_pin, records, read) = self.in_use.pin_all(|| {
            let read = ReadRecords::read(self)?;
            Ok((read.whole.clone(), read))
        })?;
        let mut check = Check {
            store: self,
            progress,
            pool: self.verify_pool()?,
            needs: Needs::of(records),
            sources,
            findings: Mutex::default(),
            read_bytes: AtomicU64::new(0),
            total_bytes: self.usage().map_or(0, |it| it.blobs.bytes + it.layers.bytes + it.roots.bytes),
        };
        let mut report = VerifyReport { records: check.needs.records.len() as u64, ..VerifyReport::default() };
        report.metadata = check.records(&read)?;
        check.blobs(&mut report)?;
        report.layers = check.layers()?;
        report.roots = check.roots()?;
        check.strays()?;
        report.bytes = check.read_bytes.load(Ordering::Relaxed);
        let findings = check.findings.get_mut().unwrap_or_else(PoisonError::into_inner);
        report.findings = std::mem::take(findings);
        report.findings.sort_by(|a, b| a.path.cmp(&b.path));
        check.advise(&mut report.findings);
        Ok(report)
    }

    /// Starts the threads of a verification: one for each core, or more if the options say so.
    ///
    /// Not rayon's global pool: that one belongs to the program, and it is not for work that waits for a disk.
    fn verify_pool(&self) -> Result<ThreadPool> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.options.parallel.max(cores))
            .thread_name(|number| format!("verify-{number}"))
            .build()
            .map_err(|error| Error::Threads(error.to_string()))
    }
}

impl Check<'_> {
    fn is_repair(&self) -> bool {
        self.sources.is_some()
    }

    fn add(&self, finding: Finding) {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).push(finding);
    }

    /// Checks files on all threads of the pool.
    fn for_each<T: Send>(&self, files: Vec<T>, check: impl Fn(T) -> Result<()> + Send + Sync) -> Result<()> {
        self.pool.install(|| {
            files.into_par_iter().try_for_each(|file| {
                self.store.check_cancelled()?;
                check(file)
            })
        })
    }

    /// Adds the finding for a damaged file: as `found` in a verification without repair, or as `repair` returns it.
    /// A file that cannot be repaired for lack of disk space remains as it is.
    fn settle(&self, found: Finding, repair: impl FnOnce(Finding) -> Result<Option<Finding>>) -> Result<()> {
        if !self.is_repair() {
            self.add(found);
            return Ok(());
        }
        let unchanged = found.clone();
        match repair(found) {
            Ok(finding) => finding.into_iter().for_each(|finding| self.add(finding)),
            Err(error) if error.kind() == ErrorKind::NoSpace => {
                self.add(unchanged.unrepaired(format!("not repaired: {}; free disk space", with_causes(&error))));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Returns what `find` finds among the needs of the records, or else among those of images that are recorded or
    /// pulled at this moment.
    fn needed_by<T>(&self, find: impl Fn(&Needs) -> Vec<T>) -> Result<Vec<T>> {
        let found = find(&self.needs);
        if !found.is_empty() {
            return Ok(found);
        }
        let mut records = ReadRecords::read(self.store)?.whole;
        records.extend(self.store.in_use.freeze().records().cloned());
        Ok(find(&Needs::of(records)))
    }

    /// Returns whether a layer's index and contents are in the store, with the right shape.
    fn has_layer(&self, diff_id: &Digest) -> bool {
        self.store.open_layer(diff_id).is_some()
    }
}
