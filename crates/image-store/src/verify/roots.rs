//! Verification of the merged roots of images.

use std::collections::BTreeSet;
use std::path::PathBuf;

use vmroot_cache::LockName;
use vmroot_errors::{ErrorKind, with_causes};
use vmroot_layer_index::Index;
use vmroot_model::Digest;

use super::attributes::{fault_of_read, type_of};
use super::layers::digest_of;
use super::needs::affected;
use super::{Check, Condition, FileKind, Finding, MISNAMED, MISSING};
use crate::collect::list;
use crate::image::layers;
use crate::{Error, Record, Result};

const MERGED: &str = "merged again from its layers";

impl Check<'_> {
    /// Checks every root that exists or that a record refers to. Returns their number.
    pub(super) fn roots(&self) -> Result<u64> {
        let is_index = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "idx");
        let present = list(&self.store.cache.layout().roots())?;
        let mut roots: BTreeSet<Digest> = present.iter().filter(is_index).filter_map(|path| digest_of(path)).collect();
        roots.extend(self.needs.roots());
        let count = roots.len() as u64;
        self.for_each(roots.into_iter().collect(), |root| self.check_root(&root))?;
        Ok(count)
    }

    fn check_root(&self, root: &Digest) -> Result<()> {
        let path = self.store.cache.layout().root_index(root);
        let mode = self.check_mode(&path, FileKind::Root);
        let uses = self.needs.of_root(root);
        let condition = self.root_condition(root, uses.first())?;
        drop(self.reading(&[&path]));
        let problem = match condition {
            Condition::Whole => {
                mode.into_iter().for_each(|it| self.add(it.with_digest(root).with_images(affected(&uses))));
                return Ok(());
            }
            Condition::Missing if !uses.iter().any(|record| self.store.is_current(record)) => return Ok(()),
            // The owner of a shared cache verifies it.
            Condition::Missing if uses.first().is_some_and(|it| self.store.is_root_shared(&layers(it))) => {
                return Ok(());
            }
            Condition::Missing => MISSING.to_owned(),
            Condition::Damaged(problem) => problem,
        };
        let found = Finding::new(path, FileKind::Root, problem).with_digest(root).with_images(affected(&uses));
        self.settle(found, |found| self.repair_root(root, found))
    }

    /// Checks a root again under its lock, and merges it again if an image needs it.
    fn repair_root(&self, root: &Digest, found: Finding) -> Result<Option<Finding>> {
        let uses = self.needed_by(|needs| needs.of_root(root))?;
        let found = found.with_images(affected(&uses));
        let aside = {
            let _lock = self.store.lock(&LockName::Root(*root), &**self.progress)?;
            match self.root_condition(root, uses.first())? {
                Condition::Whole => return Ok(None),
                Condition::Missing => None,
                Condition::Damaged(_) => self.quarantine(&found)?,
            }
        };
        let Some(record) = uses.first() else {
            return Ok(aside.map(|aside| found.set_aside(Some(aside.path), "no image needs it")));
        };
        match self.store.complete(&layers(record), self.progress) {
            Ok(()) => {
                aside.map_or(Ok(()), super::quarantine::Aside::discard)?;
                Ok(Some(found.repaired(MERGED)))
            }
            // The layer has its own finding. The root is merged again once the layer is back.
            Err(Error::Damaged { .. }) => {
                Ok(aside.map(|aside| found.set_aside(Some(aside.path), "merged again when its layers are here")))
            }
            Err(error) if error.kind() == ErrorKind::Cancelled => Err(error),
            Err(error) => {
                self.store.check_cancelled()?;
                let quarantined = aside.map(|aside| aside.path);
                Ok(Some(Finding { quarantined, ..found.unrepaired(format!("not merged: {}", with_causes(&error))) }))
            }
        }
    }

    fn root_condition(&self, root: &Digest, record: Option<&Record>) -> Result<Condition> {
        let path = self.store.cache.layout().root_index(root);
        let of_type = type_of(&path)?;
        if of_type != Condition::Whole {
            return Ok(of_type);
        }
        let index = match Index::open(&path) {
            Ok(index) => index,
            Err(vmroot_layer_index::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Condition::Missing);
            }
            Err(error) => {
                let of_process = match &error {
                    vmroot_layer_index::Error::Io { source, .. } => {
                        source.raw_os_error().is_some() && fault_of_read(source).is_none()
                    }
                    _ => false,
                };
                return if of_process { Err(error.into()) } else { Ok(Condition::Damaged(with_causes(&error))) };
            }
        };
        let contents = || index.contents().iter().map(|contents| &contents.diff_id);
        let is_of = |record: &Record| contents().eq(record.layers.iter().map(|layer| &layer.diff_id));
        Ok(match index.is_root() && index.identity() == root && record.is_none_or(is_of) {
            true => Condition::Whole,
            false => Condition::Damaged(MISNAMED.to_owned()),
        })
    }
}
