//! One layer: fetched if it must be, indexed once.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use vmroot_cache::{BlobSlot, BlobWriter, LockName, Mode};
use vmroot_compress::pipelined;
use vmroot_layer_index::{BuildOptions, BuiltLayer, Index, build};
use vmroot_model::{Descriptor, Digest};
use vmroot_transport::ImageSource;

use crate::progress::Report;
use crate::store::until_cancelled;
use crate::tee::{Tee, read_failed};
use crate::{Error, Progress, Result, Store};

/// How often to look whether a thread is done with its blob, with pauses of up to 100 ms.
const WAITS_FOR_WRITER: u32 = 20;

/// A layer of an image: its blob, and the digest of its tar.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) descriptor: Descriptor,
    pub(crate) diff_id: Digest,
}

impl Store {
    /// Makes sure that a layer's index and contents are here and whole as far as opening them shows; downloads only
    /// what is missing.
    pub(crate) fn ensure_layer(
        &self,
        source: Option<&dyn ImageSource>,
        layer: &Layer,
        report: &Report,
    ) -> Result<Index> {
        if let Some(index) = self.open_layer(&layer.diff_id) {
            return Ok(index);
        }
        let _lock = self.lock(&LockName::Layer(layer.diff_id), &*report.progress)?;
        // Another process may have made it while this one waited.
        if let Some(index) = self.open_layer(&layer.diff_id) {
            return Ok(index);
        }
        let path = match (self.cache.get(&layer.descriptor.digest)?, source) {
            (Some(blob), _) => match self.build_from_file(layer, &blob.path) {
                // The blob was whole when it came. If it is not any more, a source has it again.
                Err(_) if self.blob_is_damaged(layer)? => {
                    let source = source.ok_or_else(|| self.damaged(layer))?;
                    self.build_from_source(source, layer, report)?
                }
                built => built?,
            },
            (None, Some(source)) => self.build_from_source(source, layer, report)?,
            (None, None) => return Err(self.damaged(layer)),
        };
        Ok(Index::open(&path)?)
    }

    /// The index of a layer, if it and the contents beside it are there and of the right shape.
    pub(crate) fn open_layer(&self, diff_id: &Digest) -> Option<Index> {
        let index = Index::open(&self.cache.layout().layer_index(diff_id)).ok()?;
        let contents = fs::metadata(self.cache.layout().layer_contents(diff_id)).ok()?;
        let expected = index.contents().first()?.length;
        (index.is_current() && !index.is_root() && index.identity() == diff_id && contents.len() == expected)
            .then_some(index)
    }

    /// A layer that is not whole, and whose blob is not here.
    fn damaged(&self, layer: &Layer) -> Error {
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

    /// One pass from the source to blob, index and contents.
    fn build_from_source(&self, source: &dyn ImageSource, layer: &Layer, report: &Report) -> Result<PathBuf> {
        let descriptor = &layer.descriptor;
        let writer = match self.claim(descriptor, &*report.progress)? {
            BlobSlot::Present(blob) => return self.build_from_file(layer, &blob.path),
            BlobSlot::Absent(writer) => writer,
        };
        // What an earlier attempt left may be damaged, or come from a registry that lied.
        let resumed = writer.offset() > 0;
        match self.build_from_writer(source, layer, writer, report) {
            // It is gone now.
            Err(Error::Cache(vmroot_cache::Error::DigestMismatch { .. })) if resumed => {
                tracing::warn!(digest = %descriptor.digest, "what was fetched earlier is damaged: fetching all of it");
                self.build_from_source(source, layer, report)
            }
            built => built,
        }
    }

    fn build_from_writer(
        &self,
        source: &dyn ImageSource,
        layer: &Layer,
        writer: Box<BlobWriter>,
        report: &Report,
    ) -> Result<PathBuf> {
        let descriptor = &layer.descriptor;
        let tee = Tee::new(source, descriptor, writer, self.options.cancel.clone(), report)?;
        let mut stream = pipelined(tee, &self.options.limits);
        let built = match build(&mut stream, &self.cache.layout().layers(), &self.build_options(layer)) {
            Ok(built) => built,
            Err(error) => {
                drop(stream);
                self.wait_for_writer(&descriptor.digest)?;
                return self.build_again(source, layer, error, report);
            }
        };
        let tee = stream.finish().map_err(|source| decompress(descriptor, source))?;
        // Nothing gets a name before the bytes that it was made from have proved to be the right ones.
        tee.commit()?;
        publish(built, descriptor)
    }

    /// Waits until the thread that decodes has noticed that nobody listens any more: what it has fetched is on the disk
    /// then. Where its source does not answer, there is nothing to wait for.
    fn wait_for_writer(&self, digest: &Digest) -> Result<()> {
        let mut patience = WAITS_FOR_WRITER;
        let mut waiting = |_: &Path| {
            patience -= 1;
            if patience == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        match self.cache.lock(&LockName::Blob(*digest), Mode::Exclusive, &mut waiting) {
            Ok(_) | Err(vmroot_cache::Error::GaveUp { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn build_from_file(&self, layer: &Layer, blob: &Path) -> Result<PathBuf> {
        let file = File::open(blob).map_err(|source| vmroot_cache::Error::Io {
            action: "open",
            path: blob.to_owned(),
            source,
        })?;
        let mut stream = pipelined(file, &self.options.limits);
        let built = build(&mut stream, &self.cache.layout().layers(), &self.build_options(layer));
        publish(built.map_err(|error| layer_error(&layer.descriptor, error))?, &layer.descriptor)
    }

    /// After a failure: whether the layer is at fault, or what came of it, shows once the whole blob is here.
    fn build_again(
        &self,
        source: &dyn ImageSource,
        layer: &Layer,
        error: vmroot_layer_index::Error,
        report: &Report,
    ) -> Result<PathBuf> {
        // A full disk, or a limit: neither gets better with more bytes.
        if matches!(error, vmroot_layer_index::Error::Io { .. }) || error.limit().is_some() {
            return Err(layer_error(&layer.descriptor, error));
        }
        if let Some(error) = source_error(source, &layer.descriptor.digest, error) {
            return Err(error);
        }
        let blob = self.fetch_blob(source, &layer.descriptor, report)?;
        self.build_from_file(layer, &blob)
    }

    /// Makes sure that a blob is in the cache, without looking into it.
    pub(crate) fn fetch_blob(
        &self,
        source: &dyn ImageSource,
        descriptor: &Descriptor,
        report: &Report,
    ) -> Result<PathBuf> {
        let writer = match self.claim(descriptor, &*report.progress)? {
            BlobSlot::Present(blob) => return Ok(blob.path),
            BlobSlot::Absent(writer) => writer,
        };
        let mut tee = Tee::new(source, descriptor, writer, self.options.cancel.clone(), report)?;
        let copied = io::copy(&mut tee, &mut io::sink());
        copied.map_err(|error| read_failed(source, &descriptor.digest, error))?;
        Ok(tee.commit()?.path)
    }

    fn claim(&self, descriptor: &Descriptor, progress: &dyn Progress) -> Result<BlobSlot> {
        Ok(self.cache.writer(&descriptor.digest, descriptor.size, &mut self.waiting(progress))?)
    }

    fn build_options(&self, layer: &Layer) -> BuildOptions {
        BuildOptions { expected: Some(layer.diff_id), ..self.options.build.clone() }
    }

    pub(crate) fn lock(&self, name: &LockName, progress: &dyn Progress) -> Result<vmroot_cache::Lock> {
        Ok(self.cache.lock(name, Mode::Exclusive, &mut self.waiting(progress))?)
    }

    /// Says once that another process is at work, and gives up when the work is cancelled.
    fn waiting<'a>(&'a self, progress: &'a dyn Progress) -> impl FnMut(&Path) -> ControlFlow<()> + 'a {
        let mut said = false;
        move |_| {
            if !std::mem::replace(&mut said, true) {
                progress.message("waiting for another process that fetches the same");
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

/// An error of the index builder, in the words of whoever found what is wrong.
fn layer_error(descriptor: &Descriptor, error: vmroot_layer_index::Error) -> Error {
    match error {
        vmroot_layer_index::Error::Io { .. } => Error::Index(error),
        vmroot_layer_index::Error::Stream { source, .. } if vmroot_compress::Error::in_io(&source).is_some() => {
            decompress(descriptor, source.into())
        }
        error => Error::Layer { digest: descriptor.digest, source: Box::new(error) },
    }
}

/// The error of the source or the cache, if that is what ended the layer's stream.
fn source_error(source: &dyn ImageSource, digest: &Digest, error: vmroot_layer_index::Error) -> Option<Error> {
    let vmroot_layer_index::Error::Stream { source: stream, .. } = error else { return None };
    let foreign = stream.raw_os_error().is_some()
        || stream.get_ref().is_some_and(|inner| {
            inner.is::<vmroot_registry::Error>()
                || inner.is::<vmroot_cache::Error>()
                || inner.is::<vmroot_transport::Error>()
        });
    foreign.then(|| read_failed(source, digest, stream))
}
