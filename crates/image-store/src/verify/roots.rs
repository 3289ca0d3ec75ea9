//! Verification of the merged roots of images.

use std::path::Path;

use vmroot_cache::LockName;
use vmroot_errors::with_causes;
use vmroot_layer_index::Index;
use vmroot_model::Digest;

use super::{Check, Finding, MISNAMED, MISSING, UNNEEDED, finding_after_repair};
use crate::collect::{list, remove};
use crate::image::layers;
use crate::layer::Layer;
use crate::root::chain_id;
use crate::{Error, Result};

const MERGED: &str = "merged again from its layers";

impl Check<'_> {
    /// Checks every root that exists or that a record refers to, and merges damaged ones again if an image needs them.
    pub(super) fn roots(&mut self) -> Result<()> {
        let layout = self.store.cache.layout();
        let stem = |path: &Path| Digest::parse(&format!("sha256:{}", path.file_stem()?.to_str()?)).ok();
        let there: Vec<Digest> = list(&layout.roots())?.iter().filter_map(|path| stem(path)).collect();
        self.found.roots = there.len() as u64;
        let named = self.records.iter().map(layers).filter(|layers| !self.store.is_root_shared(layers));
        let named = named.map(|layers| chain_of(&layers));
        let mut roots: Vec<Digest> = there.iter().copied().chain(named).collect();
        roots.sort_unstable();
        roots.dedup();
        for root in roots {
            self.store.check_cancelled()?;
            let needing = self.layers_for(|layers| chain_of(layers) == root)?;
            if self.check_root(&root, needing.as_deref()).is_ok() {
                continue;
            }
            let finding = self.repair_root(&root, needing.as_deref())?;
            self.found.findings.extend(finding);
        }
        Ok(())
    }

    /// Checks a root again under its lock, and removes it or merges it again.
    fn repair_root(&self, root: &Digest, needing: Option<&[Layer]>) -> Result<Option<Finding>> {
        let path = self.store.cache.layout().root_index(root);
        let problem = {
            let _lock = self.store.lock(&LockName::Root(*root), &**self.progress)?;
            let Err(problem) = self.check_root(root, needing) else { return Ok(None) };
            if problem == MISSING && !self.is_required(|layers| chain_of(layers) == *root) {
                return Ok(None);
            }
            remove(&path)?;
            problem
        };
        let Some(layers) = needing else {
            return Ok(Some(Finding { path, problem, remedy: UNNEEDED.to_owned(), repaired: true }));
        };
        let merged = match self.store.complete(layers, self.progress) {
            // The layer has its own finding. The root is merged again once the layer is back.
            Err(Error::Damaged { .. }) => {
                let remedy = "removed; merged again when its layers are here".to_owned();
                return Ok((problem != MISSING).then_some(Finding { path, problem, remedy, repaired: true }));
            }
            merged => merged,
        };
        finding_after_repair(&path, problem, merged, MERGED).map(Some)
    }

    fn check_root(&self, root: &Digest, layers: Option<&[Layer]>) -> std::result::Result<(), String> {
        let path = self.store.cache.layout().root_index(root);
        if !path.exists() {
            return Err(MISSING.to_owned());
        }
        let index = Index::open(&path).map_err(|error| with_causes(&error))?;
        let contents = || index.contents().iter().map(|contents| &contents.diff_id);
        let is_of = |layers: &[Layer]| contents().eq(layers.iter().map(|layer| &layer.diff_id));
        match index.is_root() && index.identity() == root && layers.is_none_or(is_of) {
            true => Ok(()),
            false => Err(MISNAMED.to_owned()),
        }
    }
}

fn chain_of(layers: &[Layer]) -> Digest {
    chain_id(&layers.iter().map(|layer| layer.diff_id).collect::<Vec<_>>())
}
