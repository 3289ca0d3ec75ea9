//! Verification of the indexes and contents of layers.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use vmroot_cache::LockName;
use vmroot_errors::{ErrorKind, with_causes};
use vmroot_layer_index::{Index, verify_contents_with_progress};
use vmroot_model::Digest;
use vmroot_output::{Hook, WriteProgress};
use vmroot_verity::Options;

use super::attributes::{fault_of_read, type_of};
use super::needs::{BlobUse, LayerUse, Role, affected};
use super::sources::Fetched;
use super::{Check, Condition, FileKind, Finding, MISNAMED, MISSING};
use crate::collect::{list, remove};
use crate::progress::BlobReporter;
use crate::{Error, Result, leaves};

const REBUILT: &str = "rebuilt from its blob";

/// The result of an attempt to build a layer again.
enum Rebuilt {
    Yes,
    /// It can be built later or with other options. The text says why not now.
    NotNow(String),
    Never(String),
}

impl Check<'_> {
    /// Checks every layer that exists or that a record refers to. Returns their number.
    pub(super) fn layers(&self) -> Result<u64> {
        let is_index = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "idx");
        let present = list(&self.store.cache.layout().layers())?;
        let mut layers: BTreeSet<Digest> = present.iter().filter(is_index).filter_map(|path| digest_of(path)).collect();
        layers.extend(self.needs.layers());
        let count = layers.len() as u64;
        self.for_each(layers.into_iter().collect(), |diff_id| self.check_layer(&diff_id))?;
        Ok(count)
    }

    fn files_of(&self, diff_id: &Digest) -> [PathBuf; 2] {
        let layout = self.store.cache.layout();
        [layout.layer_index(diff_id), layout.layer_contents(diff_id)]
    }

    fn check_layer(&self, diff_id: &Digest) -> Result<()> {
        let images = || affected(self.needs.of_layer(diff_id).iter().map(|it| &it.record));
        let files = self.files_of(diff_id);
        let modes: Vec<Finding> = files.iter().filter_map(|path| self.check_mode(path, FileKind::Layer)).collect();
        let fault = {
            let mut reading = self.reading(&files);
            self.layer_fault(diff_id, &mut |bytes| reading.advance(bytes))?
        };
        let Some((path, problem)) = fault else {
            modes.into_iter().for_each(|it| self.add(it.with_digest(diff_id).with_images(images())));
            return self.check_leaves(diff_id);
        };
        let uses = self.current_uses(diff_id);
        // The owner of a shared cache verifies it.
        if problem == MISSING && (uses.is_empty() || self.store.is_layer_shared(diff_id)) {
            return Ok(());
        }
        let found = Finding::new(path, FileKind::Layer, problem).with_digest(diff_id).with_images(images());
        self.settle(found, |_| self.repair_layer(diff_id))
    }

    /// Checks the digests that are kept of a whole layer's contents.
    fn check_leaves(&self, diff_id: &Digest) -> Result<()> {
        let layout = self.store.cache.layout();
        let path = layout.layer_leaves(diff_id);
        let _reading = self.reading(&[&path]);
        let problem = match type_of(&path)? {
            Condition::Missing => return Ok(()),
            Condition::Damaged(problem) => Some(problem),
            Condition::Whole => {
                let cancel = |_: WriteProgress| self.store.options.cancel.control_flow();
                // Other layers are verified at the same time.
                let options = Options { threads: NonZeroUsize::new(1), hook: Some(Hook::new(&cancel)) };
                leaves::fault(&path, &layout.layer_contents(diff_id), &options)?
            }
        };
        let Some(problem) = problem else { return Ok(()) };
        let images = affected(self.needs.of_layer(diff_id).iter().map(|it| &it.record));
        let found = Finding::new(&path, FileKind::Layer, problem).with_digest(diff_id).with_images(images);
        self.settle(found, |found| {
            remove(&path)?;
            Ok(Some(found.repaired("removed; a hash tree that needs it writes it again")))
        })
    }

    /// Returns the images that need a layer, without those that another process has removed meanwhile.
    fn current_uses(&self, diff_id: &Digest) -> Vec<LayerUse> {
        let mut uses = self.needs.of_layer(diff_id);
        uses.retain(|it| self.store.is_current(&it.record));
        uses
    }

    /// Reads a whole layer. Calls `advanced` with the number of bytes of each read. Returns the file with a fault, and the
    /// fault.
    fn layer_fault(&self, diff_id: &Digest, advanced: &mut dyn FnMut(u64)) -> Result<Option<(PathBuf, String)>> {
        let [index_path, contents_path] = self.files_of(diff_id);
        for path in [&index_path, &contents_path] {
            match type_of(path)? {
                Condition::Whole => {}
                Condition::Missing => return Ok(Some((path.clone(), MISSING.to_owned()))),
                Condition::Damaged(problem) => return Ok(Some((path.clone(), problem))),
            }
        }
        let index = match Index::open(&index_path) {
            Ok(index) => index,
            Err(error) => return fault_of(error, index_path),
        };
        if index.is_root() || index.identity() != diff_id {
            return Ok(Some((index_path, MISNAMED.to_owned())));
        }
        match verify_contents_with_progress(&index, &contents_path, &self.store.options.cancel, advanced) {
            Ok(_) => Ok(None),
            Err(error) => fault_of(error, contents_path),
        }
    }

    /// Checks a layer again under its lock, and builds it again if an image needs it.
    fn repair_layer(&self, diff_id: &Digest) -> Result<Option<Finding>> {
        let uses = self.needed_by(|needs| needs.of_layer(diff_id))?;
        let _lock = self.store.lock(&LockName::Layer(*diff_id), &**self.progress)?;
        // A collection may be removing a layer that no image needs at this moment.
        let _freeze = uses.is_empty().then(|| self.store.in_use.freeze());
        let Some((path, problem)) = self.layer_fault(diff_id, &mut |_| {})? else { return Ok(None) };
        let is_missing = problem == MISSING;
        let images = affected(uses.iter().map(|it| &it.record));
        let found = Finding::new(path, FileKind::Layer, problem).with_digest(diff_id).with_images(images);
        if uses.is_empty() {
            let aside = if is_missing { None } else { self.quarantine(&found)? };
            return Ok(aside.map(|aside| found.set_aside(Some(aside.path), "no image needs it")));
        }
        // The new files replace the damaged ones.
        let (reason, is_never) = match self.rebuild(&uses)? {
            Rebuilt::Yes => return Ok(Some(found.repaired(REBUILT))),
            Rebuilt::NotNow(reason) => (reason, false),
            Rebuilt::Never(reason) => (reason, true),
        };
        let quarantined = if is_missing { None } else { self.quarantine(&found)?.map(|aside| aside.path) };
        let finding = match is_never {
            true => found.lost(format!("cannot be rebuilt: {reason}")),
            false => found.unrepaired(format!("not rebuilt: {reason}; run `vmroot verify --repair` again")),
        };
        Ok(Some(Finding { quarantined, ..finding }))
    }

    /// Builds a layer from any of its blobs: from those in the cache, or else from their sources.
    fn rebuild(&self, uses: &[LayerUse]) -> Result<Rebuilt> {
        let mut tried: Vec<Digest> = Vec::new();
        let (mut reasons, mut may_work) = (Vec::new(), false);
        let is_here = |it: &&LayerUse| matches!(self.store.cache.get(&it.layer().descriptor.digest), Ok(Some(_)));
        let (here, elsewhere): (Vec<&LayerUse>, Vec<&LayerUse>) = uses.iter().partition(is_here);
        for it in here.into_iter().chain(elsewhere) {
            let layer = it.layer();
            let digest = layer.descriptor.digest;
            if tried.contains(&digest) {
                continue;
            }
            tried.push(digest);
            if self.store.cache.get(&digest)?.is_none() {
                let of_blob = BlobUse { record: it.record.clone(), role: Role::Layer(it.position) };
                match self.bring_back(&digest, &[of_blob])? {
                    Fetched::From(_) => {}
                    Fetched::Gone(reason) => {
                        reasons.push(format!("its blob {digest} is gone: {reason}"));
                        continue;
                    }
                    Fetched::NotNow(reason) => {
                        may_work = true;
                        reasons.push(reason);
                        continue;
                    }
                }
            }
            let reporter = BlobReporter::of(self.progress, &layer.descriptor);
            match self.store.build_from_file(&layer, &self.store.cache.layout().blob(&digest), &reporter) {
                Ok(_) => return Ok(Rebuilt::Yes),
                Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::NoSpace) => return Err(error),
                Err(error) => {
                    self.store.check_cancelled()?;
                    may_work |= error.kind() == ErrorKind::Limit;
                    reasons.push(with_causes(&error));
                }
            }
        }
        let reason = reasons.join("; ");
        Ok(if may_work { Rebuilt::NotNow(reason) } else { Rebuilt::Never(reason) })
    }
}

/// Returns the fault that an error from reading an index or contents shows.
fn fault_of(error: vmroot_layer_index::Error, path: PathBuf) -> Result<Option<(PathBuf, String)>> {
    match &error {
        vmroot_layer_index::Error::Cancelled => Err(Error::Cancelled),
        vmroot_layer_index::Error::Io { source, .. } => match fault_of_read(source) {
            Some(fault) => Ok(Some((path, fault))),
            None if source.kind() == std::io::ErrorKind::NotFound => Ok(Some((path, MISSING.to_owned()))),
            // A file that is shorter than it was a moment before.
            None if source.raw_os_error().is_none() => Ok(Some((path, with_causes(&error)))),
            None => Err(error.into()),
        },
        _ => Ok(Some((path, with_causes(&error)))),
    }
}

/// Returns the digest that names a file of a layer or a root.
pub(super) fn digest_of(path: &Path) -> Option<Digest> {
    Digest::parse(&format!("sha256:{}", path.file_stem()?.to_str()?)).ok()
}
