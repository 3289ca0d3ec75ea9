//! Checking everything in the store, and mending what can be mended.

mod layers;
mod roots;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use vmroot_cache::Verdict;
use vmroot_errors::with_causes;
use vmroot_model::Digest;

use crate::collect::Needed;
use crate::image::layers;
use crate::layer::Layer;
use crate::record::Records;
use crate::store::until_cancelled;
use crate::{Error, Progress, Record, Result, Store};

const MISSING: &str = "is missing";
const MISNAMED: &str = "is not the index that its name says";
const UNNEEDED: &str = "removed; no image needs it";

/// One thing that was found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
    /// What was done about it.
    pub remedy: String,
    /// Whether everything is as it should be now; otherwise an image must be pulled again.
    pub mended: bool,
}

/// What a check of the whole store found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Blobs that were hashed.
    pub blobs: u64,
    /// Layers whose every file was hashed.
    pub layers: u64,
    /// Roots that were read.
    pub roots: u64,
    /// Records that were read.
    pub records: u64,
    /// What was wrong, ordered by path.
    pub findings: Vec<Finding>,
}

/// A check that is under way.
struct Check<'a> {
    store: &'a Store,
    progress: &'a Arc<dyn Progress>,
    /// The records when it began. What they need is kept until it ends.
    records: Vec<Record>,
    needed: Needed,
    found: Found,
}

impl Store {
    /// Reads everything: hashes blobs and file contents, checks indexes and records.
    ///
    /// What is damaged is removed. Layers are made again from their blobs, roots from their layers, records from their
    /// copies; a damaged blob whose layer is whole is fetched again when something needs it. Other threads and processes
    /// may go on meanwhile: what they remove is not missed, and what they make is not taken for damaged.
    ///
    /// # Errors
    /// Only when the store cannot be read or written at all: damage is a finding.
    pub fn verify(&self, progress: &Arc<dyn Progress>) -> Result<Found> {
        let _working = self.in_use.work();
        let (_pin, records, rest) = self.in_use.pin_all(|| {
            let Records { whole, damaged, mended } = self.records()?;
            Ok((whole, (damaged, mended)))
        })?;
        let needed = Needed::by(&records);
        let mut check = Check { store: self, progress, records, needed, found: Found::default() };
        check.records(rest.0, rest.1);
        check.blobs()?;
        check.layers()?;
        check.roots()?;
        check.configs()?;
        let Check { mut found, .. } = check;
        found.findings.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }
}

impl Check<'_> {
    fn records(&mut self, damaged: Vec<Error>, mended: Vec<crate::record::MendedCopy>) {
        self.found.records = self.records.len() as u64;
        for error in damaged {
            let Error::Record { path, reason } = error else { continue };
            let remedy = "neither copy can be read: pull the image again, or remove the file".to_owned();
            self.found.findings.push(Finding { path, problem: reason, remedy, mended: false });
        }
        for copy in mended {
            let remedy = "written again from its other copy".to_owned();
            self.found.findings.push(Finding { path: copy.path, problem: copy.problem, remedy, mended: true });
        }
    }

    fn blobs(&mut self) -> Result<()> {
        let store = self.store;
        let blobs: Vec<_> = store.cache.blobs()?.into_iter().filter(|blob| !blob.partial).collect();
        self.found.blobs = blobs.len() as u64;
        let verdicts = store.pool.install(|| {
            let verify = |blob: &vmroot_cache::BlobEntry| {
                let verdict = store.cache.verify_while(&blob.digest, &|| store.options.cancel.control_flow());
                store.check_cancelled()?;
                Ok((blob.digest, verdict?))
            };
            blobs.par_iter().map(verify).collect::<Result<Vec<_>>>()
        })?;
        for (digest, verdict) in verdicts {
            if !matches!(verdict, Verdict::Damaged { .. }) {
                continue;
            }
            // Once more under its lock: another thread may have put a whole one in its place.
            let verdict = store.cache.remove_damaged(&digest, &mut until_cancelled(&store.options.cancel))?;
            let Verdict::Damaged { actual, path } = verdict else { continue };
            let needed =
                self.needed.blobs.contains(&digest) || Needed::by(&self.records_now()?).blobs.contains(&digest);
            let remedy = if needed { "removed; fetched again when it is needed" } else { UNNEEDED };
            let problem = format!("has the digest {actual}");
            self.found.findings.push(Finding { path, problem, remedy: remedy.to_owned(), mended: true });
        }
        Ok(())
    }

    /// Checks that the configs of images are here: nothing else says what those are.
    fn configs(&mut self) -> Result<()> {
        let mut configs: Vec<Digest> = self.records.iter().map(|record| record.config.digest).collect();
        configs.sort_unstable();
        configs.dedup();
        for digest in configs {
            self.store.check_cancelled()?;
            // Those that are here were hashed with the other blobs.
            if self.store.cache.get(&digest)?.is_some() {
                continue;
            }
            let path = self.store.cache.layout().blob(&digest);
            let findings = &mut self.found.findings;
            let damaged = findings.iter().position(|finding| finding.path == path).map(|at| findings.remove(at));
            let (problem, done) = damaged.map_or((MISSING.to_owned(), ""), |finding| (finding.problem, "removed; "));
            let remedy = format!("{done}it is the config of an image: pull the image again");
            findings.push(Finding { path, problem, remedy, mended: false });
        }
        Ok(())
    }

    /// The records as they are now, with those of images that are being pulled.
    fn records_now(&self) -> Result<Vec<Record>> {
        let still = self.store.in_use.still();
        let mut records = self.store.records()?.whole;
        records.extend(still.records().cloned());
        Ok(records)
    }

    /// The layers of an image that needs something, if one does; one that is being pulled now counts.
    fn layers_for(&self, needs: impl Fn(&[Layer]) -> bool) -> Result<Option<Vec<Layer>>> {
        Ok(match first(&self.records, &needs) {
            Some(layers) => Some(layers),
            None => first(&self.records_now()?, &needs),
        })
    }

    /// Whether a file that is gone is missed. One that is only needed by what is being pulled now may have been removed just
    /// before, and comes back with that pull.
    fn is_missed(&self, needs: impl Fn(&[Layer]) -> bool) -> bool {
        first(&self.records, &needs).is_some()
    }
}

fn first(records: &[Record], needs: &impl Fn(&[Layer]) -> bool) -> Option<Vec<Layer>> {
    records.iter().map(layers).find(|layers| needs(layers))
}

/// What came of mending a file, as a finding.
fn mended(path: &Path, problem: String, result: Result<()>, remedy: &str) -> Result<Finding> {
    let path = path.to_owned();
    let (remedy, mended) = match result {
        Ok(()) => (remedy.to_owned(), true),
        Err(Error::Damaged { .. }) => ("what it is made from is not here: pull the image again".to_owned(), false),
        Err(error @ (Error::Layer { .. } | Error::Decompress { .. } | Error::Blob { .. })) => {
            (format!("cannot be made again: {}", with_causes(&error)), false)
        }
        Err(error) => return Err(error),
    };
    Ok(Finding { path, problem, remedy, mended })
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(vmroot_cache::Error::Io { action: "remove", path: path.to_owned(), source }.into())
        }
        _ => Ok(()),
    }
}
