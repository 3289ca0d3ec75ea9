//! The blobs of an archive, each written once and checked against its digest.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use vmroot_model::{Digest, Hasher};
use vmroot_output::Cancel;
use vmroot_transport::TarWriter;

use super::MODE;
use super::lists::Lists;
use super::names::Selected;
use crate::progress::WorkMeter;
use crate::{Error, Progress, Record, Result, Store, Work};

/// The directory of the blobs.
const BLOBS: &str = "blobs";

/// Returns the name of a blob in an archive.
pub(super) fn member(digest: &Digest) -> String {
    format!("{BLOBS}/{}/{}", digest.algorithm().name(), digest.hex())
}

/// A blob of the cache or of a shared one.
pub(super) struct CachedBlob {
    pub(super) path: PathBuf,
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// The directory of the shared cache; `None` for a file of the own one.
    shared: Option<PathBuf>,
}

/// The blobs of an archive.
pub(super) struct Blobs<'a> {
    store: &'a Store,
    /// The blobs by their names in the archive, each with the time of its member.
    members: BTreeMap<String, (CachedBlob, u64)>,
}

impl<'a> Blobs<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store, members: BTreeMap::new() }
    }

    /// Adds the blobs of all images.
    pub(super) fn add_all(&mut self, selected: &[Selected], lists: &Lists) -> Result<()> {
        for image in selected {
            for record in image.records() {
                let time = lists.time_of(record.id());
                let documents = lists.documents_of(record).chain([&record.manifest.digest, &record.config.digest]);
                for digest in documents.chain(record.layers.iter().map(|layer| &layer.digest)) {
                    self.add(record, digest, time)?;
                }
            }
        }
        Ok(())
    }

    /// Adds a blob. Of several images that have it, the first one gives it its time.
    fn add(&mut self, record: &Record, digest: &Digest, time: u64) -> Result<()> {
        if !self.members.contains_key(&member(digest)) {
            let blob = self.store.cached_blob(record, digest)?;
            self.members.insert(member(digest), (blob, time));
        }
        Ok(())
    }

    /// Writes the directories and the blobs.
    pub(super) fn write(&self, tar: &mut TarWriter<&mut dyn Write>, progress: &Arc<dyn Progress>) -> Result<()> {
        let total = self.members.values().map(|(blob, _)| blob.size).sum();
        let meter = WorkMeter::start(progress, Work::Save, Some(total));
        tar.directory(BLOBS).map_err(Error::write_archive)?;
        let mut directory = "";
        for (name, (blob, time)) in &self.members {
            let own = name.rsplit_once('/').map_or("", |(own, _)| own);
            if directory != own {
                directory = own;
                tar.set_time(0);
                tar.directory(directory).map_err(Error::write_archive)?;
            }
            tar.set_time(*time);
            let mut reader = CheckedReader::open(blob, &self.store.options().cancel)?;
            let written = tar.file(name, MODE, blob.size, &mut meter.reader(&mut reader));
            reader.finish(written)?;
        }
        tar.set_time(0);
        Ok(())
    }
}

impl Store {
    /// Finds a blob of an image.
    pub(super) fn cached_blob(&self, record: &Record, digest: &Digest) -> Result<CachedBlob> {
        let missing = || Error::damaged(self.cache.layout().blob(digest), *digest).of_image(record);
        let size = record.layers.iter().find(|layer| layer.digest == *digest).map(|layer| layer.size);
        let found = self.find_blob(digest, size)?.ok_or_else(missing)?;
        Ok(CachedBlob { path: found.path, digest: *digest, size: found.length, shared: found.shared })
    }
}

/// Reads a blob of the cache and hashes it.
pub(super) struct CheckedReader<'a> {
    blob: &'a CachedBlob,
    file: File,
    hasher: Hasher,
    cancel: Cancel,
    failure: Option<Error>,
}

impl<'a> CheckedReader<'a> {
    pub(super) fn open(blob: &'a CachedBlob, cancel: &Cancel) -> Result<Self> {
        let file = File::open(&blob.path).map_err(vmroot_output::Error::on("open", &blob.path))?;
        let hasher = Hasher::new(blob.digest.algorithm());
        Ok(Self { blob, file, hasher, cancel: cancel.clone(), failure: None })
    }

    /// Returns the error of the blob, or that of the writer, or checks the digest.
    pub(super) fn finish(self, written: io::Result<()>) -> Result<()> {
        if let Some(error) = self.failure {
            return Err(error);
        }
        match written {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(damaged(self.blob)),
            Err(error) => Err(Error::write_archive(error)),
            Ok(()) if self.hasher.finish() != self.blob.digest => Err(damaged(self.blob)),
            Ok(()) => Ok(()),
        }
    }
}

pub(super) fn damaged(blob: &CachedBlob) -> Error {
    let reason = match &blob.shared {
        None => "is damaged in the cache".to_owned(),
        Some(directory) => {
            let directory = directory.display();
            format!("is damaged in the shared cache {directory}")
        }
    };
    Error::Blob { image: blob.path.display().to_string(), digest: blob.digest, reason }
}

impl Read for CheckedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            self.failure = Some(Error::Cancelled);
            return Err(io::Error::other("cancelled"));
        }
        match self.file.read(buffer) {
            Ok(count) => {
                self.hasher.update(&buffer[..count]);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failure = Some(vmroot_output::Error::on("read", &self.blob.path)(error).into());
                Err(kind.into())
            }
        }
    }
}
