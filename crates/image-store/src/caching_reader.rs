//! A reader that stores a blob in the cache while it is read.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vmroot_cache::{BlobFile, BlobWriter};
use vmroot_model::Descriptor;
use vmroot_output::Cancel;
use vmroot_transport::ImageSource;

use crate::progress::BlobReporter;
use crate::{BlobStage, Error, Result};

/// Reads a blob from its first byte: first the part that the cache kept from an earlier attempt, then the bytes from
/// the source, which it also writes to the cache.
///
/// A decoder that reads it wraps its errors. Therefore the first one is also stored in [`Self::failure`].
pub(crate) struct CachingReader {
    image: String,
    failure: FirstFailure,
    kept: Option<Box<dyn Read + Send>>,
    body: Box<dyn Read + Send>,
    /// Bytes that the source sends although the cache has them.
    repeated: u64,
    writer: Box<BlobWriter>,
    cancel: Cancel,
    reporter: BlobReporter,
}

impl CachingReader {
    pub(crate) fn new(
        source: &dyn ImageSource,
        descriptor: &Descriptor,
        writer: Box<BlobWriter>,
        cancel: Cancel,
        reporter: &BlobReporter,
    ) -> Result<Self> {
        let kept: Box<dyn Read + Send> = Box::new(writer.read_kept()?);
        let offset = writer.offset();
        reporter.report(BlobStage::Fetching, offset);
        if offset > 0 {
            let (digest, size) = (descriptor.digest, descriptor.size);
            tracing::info!("layer {digest}: {offset} of {size} bytes are in the cache from an earlier attempt");
        }
        let (body, repeated): (Box<dyn Read + Send>, _) = if writer.is_complete() {
            (Box::new(io::empty()), 0)
        } else {
            let body = source.blob(descriptor, offset)?;
            (body.reader, offset.saturating_sub(body.offset))
        };
        let (image, failure) = (source.name(), FirstFailure::default());
        Ok(Self { image, failure, kept: Some(kept), body, repeated, writer, cancel, reporter: reporter.clone() })
    }

    /// Returns where the reader stores its first error.
    pub(crate) fn failure(&self) -> FirstFailure {
        self.failure.clone()
    }

    /// Verifies and publishes the blob, which must have been read to its end.
    pub(crate) fn commit(self) -> Result<BlobFile> {
        Ok(self.writer.commit()?)
    }

    fn skip_repeated(&mut self) -> io::Result<()> {
        if self.repeated > 0 {
            let skipped = io::copy(&mut self.body.by_ref().take(self.repeated), &mut io::sink())?;
            self.repeated -= skipped;
        }
        Ok(())
    }

    /// Reads the next bytes, of either part.
    fn read_any(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(kept) = &mut self.kept {
            match kept.read(buffer)? {
                0 => self.kept = None,
                count => return Ok(count),
            }
            self.skip_repeated()?;
        }
        self.body.read(buffer)
    }

    fn read_and_keep(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = loop {
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            match self.read_any(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let (image, digest) = (self.image.clone(), *self.writer.digest());
                    let error = vmroot_transport::Error::of_reader(error, image.clone(), digest);
                    return Err(Error::of_source(image, error));
                }
                Ok(count) => break count,
            }
        };
        if count > 0 && self.kept.is_none() {
            self.writer.append(&buffer[..count])?;
            self.reporter.report(BlobStage::Fetching, self.writer.offset());
        }
        Ok(count)
    }
}

impl Read for CachingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_and_keep(buffer).map_err(|error| {
            let message = error.to_string();
            self.failure.set(error);
            io::Error::other(message)
        })
    }
}

/// The first error of a [`CachingReader`], which its decoding thread sets and its owner takes.
#[derive(Debug, Clone, Default)]
pub(crate) struct FirstFailure(Arc<Mutex<Option<Error>>>);

impl FirstFailure {
    fn set(&self, error: Error) {
        self.slot().get_or_insert(error);
    }

    pub(crate) fn take(&self) -> Option<Error> {
        self.slot().take()
    }

    fn slot(&self) -> MutexGuard<'_, Option<Error>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
