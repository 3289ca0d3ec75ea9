//! Fetching and indexing of one layer.

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vmroot_cache::{BlobSlot, BlobWriter, LockName, Mode};
use vmroot_compress::pipelined;
use vmroot_encryption::LayerKey;
use vmroot_layer_index::{BuildOptions, BuiltLayer, Index, build};
use vmroot_model::{Descriptor, Digest};
use vmroot_transport::ImageSource;

use crate::caching_reader::CachingReader;
use crate::progress::{BlobReporter, UnpackedReader};
use crate::store::until_cancelled;
use crate::{BlobStage, Error, Progress, Result, Store};

/// The number of polls for the end of a thread's write, with pauses of up to 100 ms.
const WRITER_POLLS: u32 = 20;

/// A layer of an image: its blob and its diff id.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) descriptor: Descriptor,
    pub(crate) diff_id: Digest,
    /// The key of an encrypted layer, if it was unwrapped already.
    pub(crate) key: Option<Arc<LayerKey>>,
}

impl Layer {
    pub(crate) fn new(descriptor: Descriptor, diff_id: Digest) -> Self {
        Self { descriptor, diff_id, key: None }
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.descriptor.media_type.is_encrypted_layer()
    }
}

impl Store {
    /// Ensures that the index and contents of a layer are in the cache, and downloads only the missing part.
    ///
    /// Opening the index is the only check of an existing layer.
    pub(crate) fn ensure_layer(
        &self,
        source: Option<&dyn ImageSource>,
        layer: &Layer,
        reporter: &BlobReporter,
    ) -> Result<Index> {
        if let Some(index) = self.open_own_or_shared(layer) {
            return Ok(index);
        }
        let _lock = self.lock(&LockName::Layer(layer.diff_id), &*reporter.progress)?;
        // Another process may have built it during the wait.
        if let Some(index) = self.open_own_or_shared(layer) {
            return Ok(index);
        }
        let own = match self.cache.get(&layer.descriptor.digest)? {
            Some(blob) => match self.build_from_file(layer, &blob.path, reporter) {
                Err(error @ Error::Cancelled) => return Err(error),
                // The blob was valid when it was stored. If it is damaged now, another place can provide it again.
                Err(_) if self.blob_is_damaged(layer)? => None,
                built => Some(built?),
            },
            None => None,
        };
        let built = match own {
            Some(path) => Some(path),
            None => self.build_from_shared(layer, reporter)?,
        };
        let path = match (built, source) {
            (Some(path), _) => path,
            (None, Some(source)) => self.build_from_source(source, layer, reporter)?,
            (None, None) => return Err(self.damaged_layer(layer)),
        };
        let index = Index::open(&path)?;
        reporter.report(BlobStage::Done, layer.descriptor.size);
        Ok(index)
    }

    /// Opens the index of a layer if it and the contents beside it exist and have the right shape, in the own cache or in a
    /// shared one.
    pub(crate) fn open_layer(&self, diff_id: &Digest) -> Option<Index> {
        self.find_layer(diff_id).map(|(index, _)| index)
    }

    /// Returns the error for a damaged layer whose blob is not in the cache.
    fn damaged_layer(&self, layer: &Layer) -> Error {
        Error::damaged(self.cache.layout().layer_index(&layer.diff_id), layer.descriptor.digest)
    }

    fn blob_is_damaged(&self, layer: &Layer) -> Result<bool> {
        use vmroot_cache::Verdict;
        let mut waiting = until_cancelled(&self.options.cancel);
        let verdict = self.cache.remove_damaged(&layer.descriptor.digest, &mut waiting)?;
        if matches!(verdict, Verdict::Damaged { .. }) {
            tracing::warn!(digest = %layer.descriptor.digest, "the blob of a layer is damaged and was removed");
        }
        Ok(verdict != Verdict::Whole)
    }

    /// Fetches a blob and builds its index and contents in the same pass.
    fn build_from_source(&self, source: &dyn ImageSource, layer: &Layer, reporter: &BlobReporter) -> Result<PathBuf> {
        let descriptor = &layer.descriptor;
        // The HMAC of an encrypted layer is known to be right only at its end.
        if layer.is_encrypted() {
            return self.build_again(source, layer, reporter);
        }
        let writer = match self.claim(descriptor, &*reporter.progress)? {
            BlobSlot::Present(blob) => return self.build_from_file(layer, &blob.path, reporter),
            BlobSlot::Absent(writer) => writer,
        };
        // The part from an earlier attempt may be damaged, or may come from a registry that sent wrong bytes.
        let resumed = writer.offset() > 0;
        match self.build_from_writer(source, layer, writer, reporter) {
            // The cache has removed the damaged part.
            Err(Error::Cache(vmroot_cache::Error::DigestMismatch { .. })) if resumed => {
                tracing::warn!(digest = %descriptor.digest, "the partial blob is damaged: fetching all of it again");
                self.build_from_source(source, layer, reporter)
            }
            built => built,
        }
    }

    fn build_from_writer(
        &self,
        source: &dyn ImageSource,
        layer: &Layer,
        writer: Box<BlobWriter>,
        reporter: &BlobReporter,
    ) -> Result<PathBuf> {
        let descriptor = &layer.descriptor;
        let reader = CachingReader::new(source, descriptor, writer, self.options.cancel.clone(), reporter)?;
        let failure = reader.failure();
        let mut stream = pipelined(reader, &self.options.limits);
        let built = match build(&mut stream, &self.cache.layout().layers(), &self.build_options(layer)) {
            Ok(built) => built,
            Err(error) => {
                drop(stream);
                self.wait_for_writer(&descriptor.digest)?;
                // A full disk and a limit do not depend on the rest of the bytes.
                if matches!(error, vmroot_layer_index::Error::Io { .. }) || error.limit().is_some() {
                    return Err(layer_error(descriptor, error));
                }
                return match failure.take() {
                    Some(error) => Err(error),
                    None => self.build_again(source, layer, reporter),
                };
            }
        };
        let finished = stream.finish();
        let reader = finished.map_err(|source| failure.take().unwrap_or_else(|| decompress(descriptor, source)))?;
        // The layer is published only after the blob's digest has been verified.
        reader.commit()?;
        publish(built, descriptor)
    }

    /// Waits until the decoding thread has stopped and its bytes are on disk.
    ///
    /// If the source does not answer, the wait ends after [`WRITER_POLLS`] polls.
    fn wait_for_writer(&self, digest: &Digest) -> Result<()> {
        let mut polls_left = WRITER_POLLS;
        let mut waiting = |_: &Path| {
            polls_left -= 1;
            if polls_left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        match self.cache.lock(&LockName::Blob(*digest), Mode::Exclusive, &mut waiting) {
            Ok(_) | Err(vmroot_cache::Error::Cancelled { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Builds the index and contents of a layer from its blob in the cache.
    pub(crate) fn build_from_file(&self, layer: &Layer, blob: &Path, reporter: &BlobReporter) -> Result<PathBuf> {
        let file = File::open(blob).map_err(vmroot_output::Error::on("open", blob))?;
        tracing::info!("layer {}: unpacking the blob that is in the cache", layer.descriptor.digest);
        let file: Box<dyn Read + Send> = match layer.is_encrypted() {
            true => self.decrypted(layer, file)?,
            false => Box::new(file),
        };
        let file = self.options.cancel.reader(UnpackedReader::new(file, reporter));
        let mut stream = pipelined(file, &self.options.limits);
        let built = build(&mut stream, &self.cache.layout().layers(), &self.build_options(layer));
        let built = built.map_err(|error| match self.options.cancel.is_cancelled() {
            true => Error::Cancelled,
            false => layer_error(&layer.descriptor, error),
        });
        publish(built?, &layer.descriptor)
    }

    /// Fetches the whole blob and builds the layer from it. If a layer was refused, that decides whether it or its transfer
    /// is at fault.
    fn build_again(&self, source: &dyn ImageSource, layer: &Layer, reporter: &BlobReporter) -> Result<PathBuf> {
        let blob = self.fetch_blob(source, &layer.descriptor, reporter)?;
        self.build_from_file(layer, &blob, reporter)
    }

    /// Ensures that a blob is in the cache, without decoding it.
    pub(crate) fn fetch_blob(
        &self,
        source: &dyn ImageSource,
        descriptor: &Descriptor,
        reporter: &BlobReporter,
    ) -> Result<PathBuf> {
        let writer = match self.claim(descriptor, &*reporter.progress)? {
            BlobSlot::Present(blob) => return Ok(blob.path),
            BlobSlot::Absent(writer) => writer,
        };
        let mut reader = CachingReader::new(source, descriptor, writer, self.options.cancel.clone(), reporter)?;
        let copied = io::copy(&mut reader, &mut io::sink());
        if let (Err(_), Some(error)) = (copied, reader.failure().take()) {
            return Err(error);
        }
        let path = reader.commit()?.path;
        reporter.report(BlobStage::Done, descriptor.size);
        Ok(path)
    }

    fn claim(&self, descriptor: &Descriptor, progress: &dyn Progress) -> Result<BlobSlot> {
        Ok(self.cache.open_writer(&descriptor.digest, descriptor.size, &mut self.waiting(progress))?)
    }

    fn build_options(&self, layer: &Layer) -> BuildOptions {
        BuildOptions { expected: Some(layer.diff_id), ..self.options.build.clone() }
    }

    pub(crate) fn lock(&self, name: &LockName, progress: &dyn Progress) -> Result<vmroot_cache::Lock> {
        Ok(self.cache.lock(name, Mode::Exclusive, &mut self.waiting(progress))?)
    }

    /// Returns a callback that reports once that another process is working, and ends the wait on cancellation.
    fn waiting<'a>(&'a self, progress: &'a dyn Progress) -> impl FnMut(&Path) -> ControlFlow<()> + 'a {
        let mut was_reported = false;
        move |_| {
            if !std::mem::replace(&mut was_reported, true) {
                progress.message("waiting for another process that fetches the same data");
            }
            self.options.cancel.control_flow()
        }
    }
}

fn publish(built: BuiltLayer, descriptor: &Descriptor) -> Result<PathBuf> {
    built.publish().map_err(|error| layer_error(descriptor, error))
}

fn decompress(descriptor: &Descriptor, source: vmroot_compress::Error) -> Error {
    Error::Decompress { digest: descriptor.digest, source: Box::new(source) }
}

/// Converts an error of the index builder into the variant for its cause.
fn layer_error(descriptor: &Descriptor, error: vmroot_layer_index::Error) -> Error {
    match error {
        vmroot_layer_index::Error::Io { .. } => Error::Index(error),
        vmroot_layer_index::Error::Stream { source, .. } if vmroot_compress::Error::in_io(&source).is_some() => {
            decompress(descriptor, source.into())
        }
        error => Error::Layer { digest: descriptor.digest, source: Box::new(error) },
    }
}
