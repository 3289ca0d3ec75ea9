//! Verification of the indexes and contents of layers.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rayon::prelude::*;
use vmroot_cache::LockName;
use vmroot_errors::with_causes;
use vmroot_layer_index::{Index, verify_contents};
use vmroot_model::Digest;

use super::{Check, Finding, MISNAMED, MISSING, UNNEEDED, finding_after_repair};
use crate::collect::{list, remove};
use crate::layer::Layer;
use crate::progress::BlobReporter;
use crate::{Error, Result};

impl Check<'_> {
    /// Checks every layer that exists or that a record refers to, and builds damaged ones again if an image needs them.
    pub(super) fn layers(&mut self) -> Result<()> {
        let layout = self.store.cache.layout();
        let is_index = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "idx");
        let named = self.records.iter().flat_map(|record| &record.layers);
        // The owner of a shared cache verifies it.
        let named = named.filter(|layer| !self.store.is_layer_shared(&layer.diff_id));
        let named = named.map(|layer| layout.layer_index(&layer.diff_id));
        let mut indexes: Vec<PathBuf> = list(&layout.layers())?.into_iter().filter(is_index).chain(named).collect();
        indexes.sort_unstable();
        indexes.dedup();
        self.found.layers = indexes.len() as u64;
        let findings = Mutex::new(Vec::new());
        self.pool.install(|| {
            indexes.par_iter().try_for_each(|path| {
                let checked = self.check_layer(path);
                // A layer that was not read to its end may be valid.
                self.store.check_cancelled()?;
                if checked.is_err() {
                    let finding = self.repair_layer(path)?;
                    findings.lock().expect("no thread panics while holding the lock").extend(finding);
                }
                Ok::<_, Error>(())
            })
        })?;
        self.found.findings.append(&mut findings.into_inner().expect("no thread panics while holding the lock"));
        Ok(())
    }

    /// Checks a layer again under its lock, and removes it or builds it again.
    fn repair_layer(&self, path: &Path) -> Result<Option<Finding>> {
        let Some(diff_id) = diff_id(path) else {
            remove(path)?;
            remove(&path.with_extension("contents"))?;
            return Ok(Some(unneeded_finding(path, MISNAMED.to_owned())));
        };
        let needs = |layers: &[Layer]| layers.iter().any(|layer| layer.diff_id == diff_id);
        let problem = {
            let _lock = self.store.lock(&LockName::Layer(diff_id), &**self.progress)?;
            // A collection may be removing a layer that no image needs at this moment.
            let _freeze = self.layers_for(needs)?.is_none().then(|| self.store.in_use.freeze());
            let checked = self.check_layer(path);
            self.store.check_cancelled()?;
            let Err(problem) = checked else { return Ok(None) };
            if problem == MISSING && !self.is_required(needs) {
                return Ok(None);
            }
            remove(path)?;
            remove(&path.with_extension("contents"))?;
            problem
        };
        match self.layers_for(needs)? {
            Some(layers) => {
                let layer = layers.iter().find(|layer| layer.diff_id == diff_id);
                let layer: &Layer = layer.expect("the image was chosen by it");
                let made = self.store.ensure_layer(None, layer, &BlobReporter::without_blob(self.progress)).map(drop);
                finding_after_repair(path, problem, made, "rebuilt from its blob").map(Some)
            }
            None => Ok(Some(unneeded_finding(path, problem))),
        }
    }

    /// Reads a whole layer, or until the work is cancelled.
    fn check_layer(&self, path: &Path) -> std::result::Result<(), String> {
        if !path.exists() {
            return Err(MISSING.to_owned());
        }
        let index = Index::open(path).map_err(|error| with_causes(&error))?;
        if index.is_root() || Some(*index.identity()) != diff_id(path) {
            return Err(MISNAMED.to_owned());
        }
        verify_contents(&index, &path.with_extension("contents"), &self.store.options.cancel)
            .map_err(|error| with_causes(&error))?;
        Ok(())
    }
}

fn unneeded_finding(path: &Path, problem: String) -> Finding {
    Finding { path: path.to_owned(), problem, remedy: UNNEEDED.to_owned(), repaired: true }
}

fn diff_id(path: &Path) -> Option<Digest> {
    let stem = path.file_stem()?.to_str()?;
    Digest::parse(&format!("sha256:{stem}")).ok()
}
