//! Checking everything in the store, and mending what can be mended.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rayon::prelude::*;
use vmroot_blob_cache::{LockName, Verdict};
use vmroot_layer_index::{Index, verify_contents_while};
use vmroot_model::Digest;

use crate::collect::list;
use crate::image::layers;
use crate::layer::Layer;
use crate::progress::Report;
use crate::root::chain_id;
use crate::{Error, Progress, Record, Result, Store};

const MISSING: &str = "is missing";
const MERGED: &str = "merged again from its layers";

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

impl Store {
    /// Reads everything: hashes blobs and file contents, checks indexes and records.
    ///
    /// What is damaged is removed. Layers are made again from their blobs, roots from their layers, records from their
    /// copies; a damaged blob whose layer is whole is fetched again when something needs it.
    ///
    /// # Errors
    /// Only when the store cannot be read or written at all: damage is a finding.
    pub fn verify(&self, progress: &Arc<dyn Progress>) -> Result<Found> {
        let mut found = Found::default();
        self.verify_blobs(&mut found)?;
        let (records, damaged) = self.records()?;
        found.records = records.len() as u64;
        for error in damaged {
            let Error::Record { path, reason } = error else { continue };
            let remedy = "neither copy can be read: pull the image again, or remove the file".to_owned();
            found.findings.push(Finding { path, problem: reason, remedy, mended: false });
        }
        let mut needed: Vec<Layer> = records.iter().flat_map(layers).collect();
        needed.sort_by_key(|layer| layer.diff_id);
        needed.dedup_by_key(|layer| layer.diff_id);
        self.verify_layers(&needed, &mut found, progress)?;
        self.verify_roots(&mut found)?;
        for record in &records {
            self.check_cancelled()?;
            self.verify_complete(&layers(record), &mut found, progress)?;
            self.verify_config(record, &mut found)?;
        }
        found.findings.sort_by(|a, b| a.path.cmp(&b.path));
        found.findings.dedup();
        Ok(found)
    }

    fn verify_blobs(&self, found: &mut Found) -> Result<()> {
        let blobs: Vec<_> = self.cache.blobs()?.into_iter().filter(|blob| !blob.partial).collect();
        found.blobs = blobs.len() as u64;
        let verdicts = self.pool.install(|| {
            let verify = |blob: &vmroot_blob_cache::BlobEntry| Ok((blob.digest, self.verify_blob(&blob.digest)?));
            blobs.par_iter().map(verify).collect::<Result<Vec<_>>>()
        })?;
        for (digest, verdict) in verdicts {
            let Verdict::Damaged { actual, path } = verdict else { continue };
            self.cache.remove(&digest)?;
            found.findings.push(Finding {
                path,
                problem: format!("has the digest {actual}"),
                remedy: "removed; fetched again when it is needed".to_owned(),
                mended: true,
            });
        }
        Ok(())
    }

    /// Checks every layer that is there; those that records name are made again when they are damaged.
    fn verify_blob(&self, digest: &Digest) -> Result<Verdict> {
        let verdict = self.cache.verify_while(digest, &|| self.options.cancel.going_on());
        self.check_cancelled()?;
        Ok(verdict?)
    }

    fn verify_layers(&self, needed: &[Layer], found: &mut Found, progress: &Arc<dyn Progress>) -> Result<()> {
        let paths = list(&self.cache.layout().layers())?;
        let is_index = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "idx");
        let named = needed.iter().map(|layer| self.cache.layout().layer_index(&layer.diff_id));
        let mut indexes: Vec<PathBuf> = paths.into_iter().filter(is_index).chain(named).collect();
        indexes.sort_unstable();
        indexes.dedup();
        found.layers = indexes.len() as u64;
        let findings = Mutex::new(Vec::new());
        self.pool.install(|| {
            indexes.par_iter().try_for_each(|path| {
                let checked = check_layer(path, &|| self.options.cancel.going_on());
                // What was not read to its end says nothing.
                self.check_cancelled()?;
                let Err(problem) = checked else { return Ok(()) };
                let layer = needed.iter().find(|layer| self.cache.layout().layer_index(&layer.diff_id) == *path);
                let finding = self.mend_layer(path, layer, problem, progress)?;
                findings.lock().expect("nobody panics while holding it").push(finding);
                Ok::<_, Error>(())
            })
        })?;
        found.findings.append(&mut findings.into_inner().expect("nobody panics while holding it"));
        Ok(())
    }

    fn mend_layer(
        &self,
        path: &Path,
        layer: Option<&Layer>,
        problem: String,
        progress: &Arc<dyn Progress>,
    ) -> Result<Finding> {
        {
            let name = layer.map(|layer| LockName::Layer(layer.diff_id));
            let _lock = name.map(|name| self.lock(&name, &**progress)).transpose()?;
            remove(path)?;
            remove(&path.with_extension("contents"))?;
        }
        let path = path.to_owned();
        let Some(layer) = layer else {
            return Ok(Finding { path, problem, remedy: "removed; no image needs it".to_owned(), mended: true });
        };
        match self.ensure_layer(None, layer, &Report::without_blob(progress)) {
            Ok(_) => Ok(Finding { path, problem, remedy: "made again from its blob".to_owned(), mended: true }),
            Err(Error::Damaged { .. }) => Ok(unmended(path, problem)),
            Err(error) => Err(error),
        }
    }

    fn verify_roots(&self, found: &mut Found) -> Result<()> {
        for path in list(&self.cache.layout().roots())? {
            let named =
                path.file_stem().and_then(|stem| stem.to_str()).map(|hex| Digest::parse(&format!("sha256:{hex}")));
            let Some(Ok(chain_id)) = named else { continue };
            self.check_cancelled()?;
            found.roots += 1;
            let problem = match Index::open(&path) {
                Ok(index) if index.is_root() && *index.identity() == chain_id => continue,
                Ok(_) => "is not the index that its name says".to_owned(),
                Err(error) => error.to_string(),
            };
            remove(&path)?;
            found.findings.push(Finding { path, problem, remedy: MERGED.to_owned(), mended: true });
        }
        Ok(())
    }

    /// Checks that the config of an image is here: nothing else says what it is.
    fn verify_config(&self, record: &Record, found: &mut Found) -> Result<()> {
        if matches!(self.verify_blob(&record.config.digest)?, Verdict::Whole) {
            return Ok(());
        }
        let path = self.cache.layout().blob(&record.config.digest);
        let damaged = found.findings.iter().find(|finding| finding.path == path);
        let problem = damaged.map_or_else(|| MISSING.to_owned(), |finding| finding.problem.clone());
        found.findings.retain(|finding| finding.path != path);
        let remedy = "it is the config of an image: pull the image again".to_owned();
        found.findings.push(Finding { path, problem, remedy, mended: false });
        Ok(())
    }

    /// Checks that all layers of an image are here, and its root, which is merged if it is not.
    fn verify_complete(&self, layers: &[Layer], found: &mut Found, progress: &Arc<dyn Progress>) -> Result<()> {
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
        let path = self.cache.layout().root_index(&chain_id(&diff_ids));
        let root_is_missing = !path.exists() && !found.findings.iter().any(|finding| finding.path == path);
        match self.complete(layers, progress) {
            Ok(()) if root_is_missing => {
                found.findings.push(Finding {
                    path,
                    problem: MISSING.to_owned(),
                    remedy: MERGED.to_owned(),
                    mended: true,
                });
                Ok(())
            }
            Ok(()) => Ok(()),
            Err(error @ (Error::Damaged { .. } | Error::Root(_) | Error::Index(_))) => {
                let path = match &error {
                    Error::Damaged { path, .. } => path.clone(),
                    _ => self.directory().to_owned(),
                };
                if !found.findings.iter().any(|finding| finding.path == path) {
                    found.findings.push(unmended(path, error.to_string()));
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

fn unmended(path: PathBuf, problem: String) -> Finding {
    Finding {
        path,
        problem,
        remedy: "what it is made from is not here: pull the image again".to_owned(),
        mended: false,
    }
}

/// Reads a layer whole.
fn check_layer(path: &Path, going_on: &dyn Fn() -> ControlFlow<()>) -> std::result::Result<(), String> {
    if !path.exists() {
        return Err(MISSING.to_owned());
    }
    let index = Index::open(path).map_err(|error| error.to_string())?;
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    if index.is_root() || stem != Some(index.identity().hex().as_str()) {
        return Err("is not the index that its name says".to_owned());
    }
    verify_contents_while(&index, &path.with_extension("contents"), going_on).map_err(|error| error.to_string())?;
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(vmroot_blob_cache::Error::Io { action: "remove", path: path.to_owned(), source }.into())
        }
        _ => Ok(()),
    }
}
