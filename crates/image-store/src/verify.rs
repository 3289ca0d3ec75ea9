//! Verification of a store, and repair of damaged files.

mod layers;
mod roots;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::ThreadPool;
use rayon::prelude::*;
use vmroot_cache::Verdict;
use vmroot_errors::with_causes;
use vmroot_model::Digest;

use crate::catalogue::Records;
use crate::collect::{Needed, remove};
use crate::image::layers;
use crate::layer::Layer;
use crate::store::until_cancelled;
use crate::{Error, Progress, Record, Result, Store};

const MISSING: &str = "is missing";
const MISNAMED: &str = "does not have the digest of its file name";
const UNNEEDED: &str = "removed; no image needs it";

/// A fault of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// The fault.
    pub problem: String,
    /// The action that was taken.
    pub remedy: String,
    /// Whether the fault is repaired. If not, an image must be pulled again.
    pub repaired: bool,
}

/// The result of a verification of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The number of hashed blobs.
    pub blobs: u64,
    /// The number of layers of which every file was hashed.
    pub layers: u64,
    /// The number of roots that were read.
    pub roots: u64,
    /// The number of records that were read.
    pub records: u64,
    /// The faults, ordered by path.
    pub findings: Vec<Finding>,
}

/// A verification in progress.
struct Check<'a> {
    store: &'a Store,
    progress: &'a Arc<dyn Progress>,
    /// Threads that hash files.
    pool: ThreadPool,
    /// The records at the start. Their files are kept until the end.
    records: Vec<Record>,
    needed: Needed,
    found: VerifyReport,
}

impl Store {
    /// Verifies the whole store: hashes blobs and file contents, and checks indexes and records.
    ///
    /// Damaged files are removed. Layers are built again from their blobs, roots from their layers, and records from
    /// their copies. A damaged blob whose layer is valid is fetched again when it is next needed.
    ///
    /// Other threads and processes may use the store meanwhile. Files that they remove are not reported as missing, and
    /// files that they are writing are not reported as damaged.
    ///
    /// # Errors
    /// Damage is reported in the result and is not an error.
    ///
    /// - [`Error::Cache`] if the store cannot be read or written.
    /// - [`Error::Threads`] if the threads cannot be started.
    /// - [`Error::Cancelled`] if the work was cancelled.
    pub fn verify(&self, progress: &Arc<dyn Progress>) -> Result<VerifyReport> {
        let _working = self.in_use.begin_work();
        self.recover()?;
        let (_pin, records, rest) = self.in_use.pin_all(|| {
            let Records { whole, damaged, repaired } = self.records()?;
            Ok((whole, (damaged, repaired)))
        })?;
        let needed = Needed::by(&records);
        let mut check =
            Check { store: self, progress, pool: self.verify_pool()?, records, needed, found: VerifyReport::default() };
        check.records(rest.0, rest.1)?;
        check.blobs()?;
        check.layers()?;
        check.roots()?;
        check.configs()?;
        let Check { mut found, .. } = check;
        found.findings.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Starts the threads of a verification.
    ///
    /// Not rayon's global pool: that one belongs to the program, and it is not for work that waits for a disk.
    fn verify_pool(&self) -> Result<ThreadPool> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.options.parallel.max(1))
            .thread_name(|number| format!("verify-{number}"))
            .build()
            .map_err(|error| Error::Threads(error.to_string()))
    }
}

impl Check<'_> {
    /// Reports a damaged journal once, and removes it: nothing can be read from it.
    fn journal(&mut self) -> Result<()> {
        let path = self.store.damaged_journal();
        // Removing a file that does not exist is an error on a file system that is mounted read-only.
        if path.exists() && remove(&path)? {
            let problem = "is a damaged transaction of image records".to_owned();
            let remedy = "removed; an image that was pulled, loaded or removed at that time may have its earlier name: \
                          see `vmroot images`";
            self.found.findings.push(Finding { path, problem, remedy: remedy.to_owned(), repaired: false });
        }
        Ok(())
    }

    fn records(&mut self, damaged: Vec<Error>, repaired: Vec<crate::record::RepairedCopy>) -> Result<()> {
        self.found.records = self.records.len() as u64;
        self.journal()?;
        for error in damaged {
            let Error::Record { path, reason } = error else { continue };
            let remedy = "neither copy can be read: pull the image again, or remove the file".to_owned();
            self.found.findings.push(Finding { path, problem: reason, remedy, repaired: false });
        }
        for copy in repaired {
            let remedy = "written again from its other copy".to_owned();
            self.found.findings.push(Finding { path: copy.path, problem: copy.problem, remedy, repaired: true });
        }
        Ok(())
    }

    fn blobs(&mut self) -> Result<()> {
        let store = self.store;
        let blobs: Vec<_> = store.cache.blobs()?.into_iter().filter(|blob| !blob.is_partial).collect();
        self.found.blobs = blobs.len() as u64;
        let verdicts = self.pool.install(|| {
            let verify = |blob: &vmroot_cache::BlobEntry| {
                let verdict = store.cache.verify(&blob.digest, &store.options.cancel);
                store.check_cancelled()?;
                Ok((blob.digest, verdict?))
            };
            blobs.par_iter().map(verify).collect::<Result<Vec<_>>>()
        })?;
        for (digest, verdict) in verdicts {
            if !matches!(verdict, Verdict::Damaged { .. }) {
                continue;
            }
            // Checked again under the blob's lock: another thread may have replaced it with a valid one.
            let verdict = store.cache.remove_damaged(&digest, &mut until_cancelled(&store.options.cancel))?;
            let Verdict::Damaged { actual, path } = verdict else { continue };
            let needed =
                self.needed.blobs.contains(&digest) || Needed::by(&self.records_now()?).blobs.contains(&digest);
            let remedy = if needed { "removed; fetched again when it is needed" } else { UNNEEDED };
            let problem = format!("has the digest {actual}");
            self.found.findings.push(Finding { path, problem, remedy: remedy.to_owned(), repaired: true });
        }
        Ok(())
    }

    /// Checks that the configs of images exist. A config cannot be built from other files.
    fn configs(&mut self) -> Result<()> {
        let mut configs: Vec<Digest> = self.records.iter().map(|record| record.config.digest).collect();
        configs.sort_unstable();
        configs.dedup();
        for digest in configs {
            self.store.check_cancelled()?;
            // Existing configs were hashed with the other blobs.
            if self.store.has_blob(&digest) {
                continue;
            }
            let path = self.store.cache.layout().blob(&digest);
            let findings = &mut self.found.findings;
            let damaged = findings.iter().position(|finding| finding.path == path).map(|at| findings.remove(at));
            let (problem, done) = damaged.map_or((MISSING.to_owned(), ""), |finding| (finding.problem, "removed; "));
            let remedy = format!("{done}it is the config of an image: pull the image again");
            findings.push(Finding { path, problem, remedy, repaired: false });
        }
        Ok(())
    }

    /// Returns the current records, including those of images that are being pulled.
    fn records_now(&self) -> Result<Vec<Record>> {
        let freeze = self.store.in_use.freeze();
        let mut records = self.store.records()?.whole;
        records.extend(freeze.records().cloned());
        Ok(records)
    }

    /// Returns the layers of an image for which `needs` is true, including images that are being pulled.
    fn layers_for(&self, needs: impl Fn(&[Layer]) -> bool) -> Result<Option<Vec<Layer>>> {
        Ok(match first(&self.records, &needs) {
            Some(layers) => Some(layers),
            None => first(&self.records_now()?, &needs),
        })
    }

    /// Returns whether a missing file is a fault.
    ///
    /// A file that only a running pull needs may have been removed just before, and comes back with that pull.
    fn is_required(&self, needs: impl Fn(&[Layer]) -> bool) -> bool {
        first(&self.records, &needs).is_some()
    }
}

fn first(records: &[Record], needs: &impl Fn(&[Layer]) -> bool) -> Option<Vec<Layer>> {
    records.iter().map(layers).find(|layers| needs(layers))
}

/// Returns the finding for a file after an attempt to repair it.
fn finding_after_repair(path: &Path, problem: String, result: Result<()>, remedy: &str) -> Result<Finding> {
    let path = path.to_owned();
    let (remedy, repaired) = match result {
        Ok(()) => (remedy.to_owned(), true),
        Err(Error::Damaged { .. }) => ("its source is not in the cache: pull the image again".to_owned(), false),
        Err(error @ (Error::Layer { .. } | Error::Decompress { .. } | Error::Blob { .. })) => {
            (format!("cannot be rebuilt: {}", with_causes(&error)), false)
        }
        Err(error) => return Err(error),
    };
    Ok(Finding { path, problem, remedy, repaired })
}
