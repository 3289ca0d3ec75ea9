//! Verification of blobs, complete and partial.

use std::collections::BTreeSet;
use std::path::Path;

use vmroot_cache::{BlobEntry, LockName, Mode, Verdict};
use vmroot_model::{Digest, Hasher};
use vmroot_output::Cancel;

use super::attributes::{fault_of_read, type_of};
use super::needs::{BlobUse, affected};
use super::sources::Fetched;
use super::{Check, Condition, FileKind, Finding, MISSING, VerifyReport};
use crate::{Error, Result};

impl Check<'_> {
    /// Checks every blob that exists or that a record refers to.
    pub(super) fn blobs(&self, report: &mut VerifyReport) -> Result<()> {
        let (partial, whole): (Vec<BlobEntry>, Vec<BlobEntry>) =
            self.store.cache.blobs()?.into_iter().partition(|blob| blob.is_partial);
        (report.blobs, report.partials) = (whole.len() as u64, partial.len() as u64);
        let mut digests: BTreeSet<Digest> = whole.iter().map(|blob| blob.digest).collect();
        digests.extend(self.needs.blobs());
        self.for_each(digests.into_iter().collect(), |digest| self.check_blob(&digest))?;
        self.for_each(partial, |blob| self.check_partial(&blob))
    }

    fn check_blob(&self, digest: &Digest) -> Result<()> {
        let path = self.store.cache.layout().blob(digest);
        let mode = self.check_mode(&path, FileKind::Blob);
        let condition = {
            let mut reading = self.reading(&[&path]);
            self.blob_condition(digest, &mut |bytes| reading.advance(bytes))?
        };
        let uses = self.needs.of_blob(digest);
        let images = || affected(uses.iter().map(|it| &it.record));
        match condition {
            Condition::Whole => {
                mode.into_iter().for_each(|it| self.add(it.with_digest(digest).with_images(images())));
                Ok(())
            }
            Condition::Missing if !self.is_lost(digest, &uses) => Ok(()),
            Condition::Missing => {
                let found = Finding::new(path, FileKind::Blob, MISSING).with_digest(digest).with_images(images());
                self.settle(found, |found| self.repair_blob(digest, found))
            }
            Condition::Damaged(problem) => {
                let problem = with_length(problem, &path, &uses);
                let found = Finding::new(path, FileKind::Blob, problem).with_digest(digest).with_images(images());
                self.settle(found, |found| self.repair_blob(digest, found))
            }
        }
    }

    /// Hashes a blob. Calls `advanced` with the number of bytes of each read.
    fn blob_condition(&self, digest: &Digest, advanced: &mut dyn FnMut(u64)) -> Result<Condition> {
        let of_type = type_of(&self.store.cache.layout().blob(digest))?;
        if of_type != Condition::Whole {
            return Ok(of_type);
        }
        match self.store.cache.verify_with_progress(digest, &self.store.options.cancel, advanced) {
            Ok(Verdict::Whole) => Ok(Condition::Whole),
            Ok(Verdict::Missing) => Ok(Condition::Missing),
            Ok(Verdict::Damaged { actual, .. }) => Ok(Condition::Damaged(format!("has the digest {actual}"))),
            Err(vmroot_cache::Error::Cancelled { .. }) => Err(Error::Cancelled),
            Err(vmroot_cache::Error::Io(error)) => match fault_of_read(&error.source) {
                Some(fault) => Ok(Condition::Damaged(fault)),
                None => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Returns whether an image lacks a blob that is missing. An image needs its own blobs to be saved and copied, even if
    /// its layers were built from others.
    fn is_lost(&self, digest: &Digest, uses: &[BlobUse]) -> bool {
        // The owner of a shared cache verifies it. Another process may have removed the image, and then its files.
        !self.store.has_blob(digest) && uses.iter().any(|it| self.store.is_current(&it.record))
    }

    /// Checks a blob again under its lock, and brings it back if an image needs it.
    fn repair_blob(&self, digest: &Digest, found: Finding) -> Result<Option<Finding>> {
        let uses = self.needed_by(|needs| needs.of_blob(digest))?;
        let found = found.with_images(affected(uses.iter().map(|it| &it.record)));
        let aside = {
            // Another thread or process may have replaced it with a whole one.
            let _lock = self.store.lock(&LockName::Blob(*digest), &**self.progress)?;
            match self.blob_condition(digest, &mut |_| {})? {
                Condition::Whole => return Ok(None),
                Condition::Missing => None,
                Condition::Damaged(_) => self.quarantine(&found)?,
            }
        };
        if uses.is_empty() {
            return Ok(aside.map(|aside| found.set_aside(Some(aside.path), "no image needs it")));
        }
        match self.bring_back(digest, &uses) {
            Ok(Fetched::From(from)) => {
                aside.map_or(Ok(()), super::quarantine::Aside::discard)?;
                Ok(Some(found.repaired(from)))
            }
            Ok(Fetched::Gone(reason)) => {
                let quarantined = aside.map(|aside| aside.path);
                Ok(Some(Finding { quarantined, ..found.lost(format!("cannot be fetched again: {reason}")) }))
            }
            Ok(Fetched::NotNow(reason)) => {
                let quarantined = aside.map(|aside| aside.path);
                let action = format!("not fetched: {reason}; run `vmroot verify --repair` again");
                Ok(Some(Finding { quarantined, ..found.unrepaired(action) }))
            }
            Err(error) if error.kind() == vmroot_errors::ErrorKind::NoSpace => {
                let quarantined = aside.map(|aside| aside.path);
                let action = format!("not fetched: {}; free disk space", vmroot_errors::with_causes(&error));
                Ok(Some(Finding { quarantined, ..found.unrepaired(action) }))
            }
            Err(error) => Err(error),
        }
    }

    /// Checks a partial blob that has all bytes of its blob. The bytes of others are checked when the fetch resumes.
    fn check_partial(&self, blob: &BlobEntry) -> Result<()> {
        let path = self.store.cache.layout().partial(&blob.digest);
        let uses = self.needs.of_blob(&blob.digest);
        let Some(size) = uses.iter().find_map(BlobUse::size).filter(|size| blob.length >= *size) else {
            return Ok(());
        };
        // It is being fetched.
        let Some(_lock) = self.store.cache.try_lock(&LockName::Blob(blob.digest), Mode::Exclusive)? else {
            return Ok(());
        };
        let problem = match hash(&path, &blob.digest, &self.store.options.cancel)? {
            Some(actual) if actual == blob.digest => return Ok(()),
            Some(_) if blob.length > size => format!("has {} bytes, of a blob of {size}", blob.length),
            Some(actual) => format!("has all bytes of its blob, and the digest {actual}"),
            None => return Ok(()),
        };
        let images = affected(uses.iter().map(|it| &it.record));
        let found = Finding::new(path, FileKind::Partial, problem).with_digest(&blob.digest).with_images(images);
        self.settle(found, |found| {
            let aside = self.quarantine(&found)?;
            Ok(aside.map(|aside| found.set_aside(Some(aside.path), "a fetch begins again")))
        })
    }
}

/// Hashes a file. Returns `None` if it does not exist or cannot be read.
fn hash(path: &Path, expected: &Digest, cancel: &Cancel) -> Result<Option<Digest>> {
    use std::io::Read;
    let Ok(mut file) = std::fs::File::open(path) else { return Ok(None) };
    let mut hasher = Hasher::new(expected.algorithm());
    let mut buffer = vec![0; 1 << 20];
    loop {
        cancel.check().map_err(|_| Error::Cancelled)?;
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Some(hasher.finish())),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Ok(None),
        }
    }
}

/// Adds the length of a file to its fault, if the length is wrong.
fn with_length(problem: String, path: &Path, uses: &[BlobUse]) -> String {
    let length = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
    match (length, uses.iter().find_map(BlobUse::size)) {
        (Some(length), Some(size)) if length != size => format!("has {length} bytes instead of {size}, and {problem}"),
        _ => problem,
    }
}
