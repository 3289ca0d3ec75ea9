//! A blob that is taken up again where its connection broke.

use std::io::{self, Read};

use vmroot_model::{Descriptor, Reference};

use crate::backoff::Backoff;
use crate::{BlobBody, Client, Error, Result};

/// How much must come after a break for the count of breaks to start again, in bytes.
const PROGRESS: u64 = 1 << 20;

/// The part of a smaller blob that is as good: no blob is asked for more often than this, times the retries.
const PARTS: u64 = 64;

/// Reads a blob to its end over as many connections as it takes.
///
/// Each break is followed by a request for the rest. The options say how many breaks in a row are borne; a megabyte, or
/// a 64th of the blob, that came between two of them makes it another row.
#[derive(Debug)]
pub struct ResumingBlob {
    client: Client,
    reference: Reference,
    descriptor: Descriptor,
    body: Option<BlobBody>,
    /// The next byte that the reader gets.
    position: u64,
    /// Bytes of `body` that the reader has already.
    repeated: u64,
    /// Where the current row of breaks began.
    progress_from: u64,
    backoff: Backoff,
}

impl Client {
    /// A reader of a blob from `offset` on; it asks for nothing until it is read.
    pub fn resuming_blob(&self, reference: &Reference, descriptor: &Descriptor, offset: u64) -> ResumingBlob {
        ResumingBlob {
            client: self.clone(),
            reference: reference.clone(),
            descriptor: descriptor.clone(),
            body: None,
            position: offset,
            repeated: 0,
            progress_from: offset,
            backoff: Backoff::default(),
        }
    }
}

impl ResumingBlob {
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.position >= self.descriptor.size {
            return self.body.take().map_or(Ok(0), |body| body.finish().map(|()| 0));
        }
        loop {
            let mut body = match self.body.take() {
                Some(body) => body,
                // It has been tried again and again already.
                None => self.open()?,
            };
            match self.read_on(&mut body, buffer) {
                Ok(count) => {
                    self.body = Some(body);
                    self.advance(count as u64);
                    return Ok(count);
                }
                Err(error) if error.is_broken_connection() => self.pause(error)?,
                Err(error) => return Err(error),
            }
        }
    }

    fn open(&mut self) -> Result<BlobBody> {
        let body = self.client.blob(&self.reference, &self.descriptor, self.position)?;
        // A registry that knows no ranges sends everything again.
        self.repeated = self.position - body.offset();
        Ok(body)
    }

    fn read_on(&mut self, body: &mut BlobBody, buffer: &mut [u8]) -> Result<usize> {
        while self.repeated > 0 {
            let length = self.repeated.min(buffer.len() as u64) as usize;
            self.repeated -= body.read_some(&mut buffer[..length])? as u64;
        }
        body.read_some(buffer)
    }

    fn advance(&mut self, count: u64) {
        self.position += count;
        if self.position - self.progress_from >= PROGRESS.min(self.descriptor.size.div_ceil(PARTS)) {
            self.progress_from = self.position;
            self.backoff.reset();
        }
    }

    /// Waits before the next attempt, or gives up.
    fn pause(&mut self, error: Error) -> Result<()> {
        let options = self.client.options();
        if !self.backoff.fail(options) {
            let (url, reason) = match error {
                Error::Broken { url, reason } => (url, reason),
                Error::Stalled { url, after } => (url, format!("nothing came for {} ms", after.as_millis())),
                error => return Err(error),
            };
            let (digest, offset, attempts) = (self.descriptor.digest, self.position, self.backoff.failures());
            return Err(Error::Interrupted { url, digest, offset, attempts, reason });
        }
        tracing::info!(%error, position = self.position, "going on where the connection broke");
        self.backoff.pause(options, None)
    }
}

impl Read for ResumingBlob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_some(buffer)?)
    }
}
