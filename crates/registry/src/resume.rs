//! A blob that is taken up again where its connection broke.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use vmroot_errors::with_causes;
use vmroot_model::{Descriptor, Reference};

use crate::backoff::Backoff;
use crate::parts::{Connection, PART, Parts};
use crate::watch::Watch;
use crate::{BlobBody, Client, Error, Result};

/// How much must come after a break for the count of breaks to start again, in bytes.
const PROGRESS: u64 = 1 << 20;

/// The part of a smaller blob that is as good: no blob is asked for more often than this, times the retries.
const PARTS: u64 = 64;

/// Reads a blob to its end over as many connections as it takes.
///
/// Each break is followed by a request for the rest. The options say how many breaks in a row are borne; a megabyte, or
/// a 64th of the blob, that came between two of them makes it another row.
///
/// A large blob ([`ClientOptions::split_above`](crate::ClientOptions::split_above)) of which the bytes come slowly is
/// fetched in parts from then on, over several connections.
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
    /// Counts among the connections of all blobs, from the first request to the last byte.
    connection: Option<Connection>,
    /// Whether the network is slow; `None` where parts are no use.
    watch: Option<Watch>,
    /// The rest of the blob, fetched in parts.
    parts: Option<Parts>,
}

impl Client {
    /// A reader of a blob from `offset` on; it asks for nothing until it is read.
    pub fn resuming_blob(&self, reference: &Reference, descriptor: &Descriptor, offset: u64) -> ResumingBlob {
        let options = self.options();
        let may_split = options.connections > 1 && descriptor.size > options.split_above;
        ResumingBlob {
            client: self.clone(),
            reference: reference.clone(),
            descriptor: descriptor.clone(),
            body: None,
            position: offset,
            repeated: 0,
            progress_from: offset,
            backoff: Backoff::default(),
            connection: None,
            watch: may_split.then(Watch::new),
            parts: None,
        }
    }
}

impl ResumingBlob {
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.position >= self.descriptor.size {
            (self.parts, self.connection) = (None, None);
            return self.body.take().map_or(Ok(0), |body| body.finish().map(|()| 0));
        }
        if let Some(count) = self.read_parts(buffer)? {
            self.advance(count as u64);
            return Ok(count);
        }
        let length = self.parts.as_ref().map_or(buffer.len() as u64, |parts| parts.start() - self.position);
        let length = buffer.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        let started = Instant::now();
        let count = self.read_body(&mut buffer[..length])?;
        self.advance(count as u64);
        self.split(count, started.elapsed());
        Ok(count)
    }

    /// Reads from the parts where they have begun; `None` where there are none.
    fn read_parts(&mut self, buffer: &mut [u8]) -> Result<Option<usize>> {
        let Some(parts) = self.parts.as_mut().filter(|parts| parts.start() <= self.position) else { return Ok(None) };
        if self.body.is_some() {
            let come = parts.come();
            if come != Some(true) {
                // The registry gives no parts or no second connection, or none is free now.
                self.watch = self.watch.take().filter(|_| come.is_none());
                self.parts = None;
                return Ok(None);
            }
        }
        self.body = None;
        parts.use_connection();
        match parts.read_some(buffer) {
            Ok(count) => Ok(Some(count)),
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Err(error) => {
                tracing::info!(error = with_causes(&error), position = self.position, "going on over one connection");
                (self.parts, self.watch) = (None, None);
                Ok(None)
            }
        }
    }

    /// Has the rest of the blob fetched in parts, from a little further on, if the network turns out to be slow.
    fn split(&mut self, count: usize, waited: Duration) {
        let Some(watch) = &mut self.watch else { return };
        let start = self.position + PART;
        if !watch.is_slow(count, waited) || self.parts.is_some() || start + 2 * PART > self.descriptor.size {
            return;
        }
        self.parts = Parts::begin(&self.client, &self.reference, &self.descriptor, start);
        if self.parts.is_some() {
            tracing::debug!(digest = %self.descriptor.digest, start, "fetching the rest in parts");
        }
    }

    /// Reads from one connection, or from another one when it breaks.
    fn read_body(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            let mut body = match self.body.take() {
                Some(body) => body,
                // It has been tried again and again already.
                None => self.open()?,
            };
            match self.read_on(&mut body, buffer) {
                Ok(count) => {
                    self.body = Some(body);
                    return Ok(count);
                }
                Err(error) if error.is_broken_connection() => self.pause(error)?,
                Err(error) => return Err(error),
            }
        }
    }

    fn open(&mut self) -> Result<BlobBody> {
        self.connection.get_or_insert_with(|| self.client.budget().own_connection());
        let body = self.client.blob(&self.reference, &self.descriptor, self.position)?;
        // A registry that knows no ranges sends everything again.
        self.repeated = self.position - body.offset();
        // The time until the answer says nothing about the rate of the bytes.
        self.watch = self.watch.take().map(|_| Watch::new());
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
        tracing::info!(error = with_causes(&error), position = self.position, "going on where the connection broke");
        self.backoff.pause(options, &options.cancel, None)
    }
}

impl Read for ResumingBlob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_some(buffer)?)
    }
}
