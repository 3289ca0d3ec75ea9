//! A reader that stores a blob in the cache while it is read.

use std::io::{self, Read};

use vmroot_cache::{BlobFile, BlobWriter};
use vmroot_errors::ErrorKind;
use vmroot_model::{Descriptor, Digest};
use vmroot_output::{Cancel, Cancelled};
use vmroot_transport::ImageSource;

use crate::progress::BlobReporter;
use crate::{Error, Result};

/// Reads a blob from its first byte: first the part that the cache kept from an earlier attempt, then the bytes from
/// the source, which it also writes to the cache.
pub(crate) struct CachingReader {
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
        let (body, repeated): (Box<dyn Read + Send>, _) = if writer.is_complete() {
            (Box::new(io::empty()), 0)
        } else {
            let body = source.blob(descriptor, offset)?;
            (body.reader, offset.saturating_sub(body.offset))
        };
        Ok(Self { kept: Some(kept), body, repeated, writer, cancel, reporter: reporter.clone() })
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
}

impl Read for CachingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other(Cancelled));
        }
        if let Some(kept) = &mut self.kept {
            match kept.read(buffer)? {
                0 => self.kept = None,
                count => return Ok(count),
            }
            self.skip_repeated()?;
        }
        let count = self.body.read(buffer)?;
        if count > 0 {
            self.writer.append(&buffer[..count]).map_err(io::Error::other)?;
            self.reporter.set_current(self.writer.offset());
        }
        Ok(count)
    }
}

/// Converts a read error of a source's bytes into the error of the layer below that caused it.
pub(crate) fn read_failed(source: &dyn ImageSource, digest: &Digest, error: io::Error) -> Error {
    let reason = format!("cannot be read: {error}");
    let Some(inner) = error.into_inner() else {
        return Error::Blob { image: source.name(), digest: *digest, reason };
    };
    if inner.is::<Cancelled>() {
        return Error::Cancelled;
    }
    let inner = match inner.downcast::<vmroot_cache::Error>() {
        Ok(error) => return Error::Cache(*error),
        Err(inner) => inner,
    };
    match inner.downcast::<vmroot_transport::Error>() {
        Ok(error) if error.kind() == ErrorKind::Cancelled => Error::Cancelled,
        Ok(error) => Error::Source(*error),
        Err(_) => Error::Blob { image: source.name(), digest: *digest, reason },
    }
}
