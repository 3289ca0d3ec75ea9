//! Reading of a blob over several connections.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use vmroot_errors::with_causes;
use vmroot_model::{Descriptor, Reference};

use crate::backoff::Backoff;
use crate::parts::{ConnectionPermit, PART_SIZE, Parts};
use crate::speed_monitor::SpeedMonitor;
use crate::{BlobBody, Client, Error, Result};

/// The number of bytes after an interruption that resets the count of retries.
const PROGRESS: u64 = 1 << 20;

/// The fraction of a smaller blob's size that resets the count. It bounds the number of requests for a blob to 64 times
/// the retries.
const PROGRESS_DIVISOR: u64 = 64;

/// A reader of a blob that reconnects when its connection breaks.
///
/// After each interruption, the rest of the blob is requested.
/// [`ClientOptions::retries`](crate::ClientOptions::retries) limits the number of consecutive interruptions. 1 MiB of
/// data or a 64th of the blob, the smaller of the two, resets their count.
///
/// If a blob larger than [`ClientOptions::split_above`](crate::ClientOptions::split_above) arrives slowly, its rest is
/// fetched in parts over several connections.
///
/// Errors of reading contain an [`Error`] ([`io::Error::get_ref`]): one of [`Client::blob`], or [`Error::Interrupted`]
/// when the retries are used up.
#[derive(Debug)]
pub struct ResumingBlob {
    client: Client,
    reference: Reference,
    descriptor: Descriptor,
    body: Option<BlobBody>,
    /// The offset in the blob of the next byte for the reader.
    position: u64,
    /// The number of bytes of `body` to skip, because the reader has them already.
    repeated: u64,
    /// The position at which the count of interruptions was last reset.
    progress_from: u64,
    backoff: Backoff,
    /// This blob's connection in the budget, from the first request to the last byte.
    connection: Option<ConnectionPermit>,
    /// Measures whether the connection is slow. `None` if the blob is not to be split.
    monitor: Option<SpeedMonitor>,
    /// The reader of the rest of the blob in parts.
    parts: Option<Parts>,
}

impl Client {
    /// Returns a reader of a blob from `offset` bytes on. The first read sends the first request.
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
            monitor: may_split.then(|| SpeedMonitor::new(self.budget().received())),
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

    /// Reads from the parts, if the position is within them. Returns `None` otherwise.
    fn read_parts(&mut self, buffer: &mut [u8]) -> Result<Option<usize>> {
        let Some(parts) = self.parts.as_mut().filter(|parts| parts.start() <= self.position) else { return Ok(None) };
        if self.body.is_some() {
            let arrived = parts.wait_for_first();
            if arrived != Some(true) {
                // The registry serves no parts, refuses a second connection, or no connection is free now. In the last
                // case, splitting is tried again later.
                self.monitor = self.monitor.take().filter(|_| arrived.is_none());
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
                tracing::info!(error = with_causes(&error), position = self.position, "continuing over one connection");
                (self.parts, self.monitor) = (None, None);
                Ok(None)
            }
        }
    }

    /// Starts fetching the rest of the blob in parts, beginning one part ahead of the position, if the connection is
    /// slow.
    fn split(&mut self, count: usize, waited: Duration) {
        let received = self.client.budget().add_received(count as u64);
        let Some(monitor) = &mut self.monitor else { return };
        let start = self.position + PART_SIZE;
        if !monitor.is_slow(count, waited, received)
            || self.parts.is_some()
            || start + 2 * PART_SIZE > self.descriptor.size
        {
            return;
        }
        self.parts = Parts::begin(&self.client, &self.reference, &self.descriptor, start);
        if self.parts.is_some() {
            tracing::debug!(digest = %self.descriptor.digest, start, "fetching the rest in parts");
        }
    }

    /// Reads from one connection, and reconnects when it breaks.
    fn read_body(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            let mut body = match self.body.take() {
                Some(body) => body,
                // Opening already retries, so its errors are final.
                None => self.open()?,
            };
            match self.read_new_bytes(&mut body, buffer) {
                Ok(count) => {
                    self.body = Some(body);
                    return Ok(count);
                }
                Err(error) if error.is_broken_connection() => self.pause(error)?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Requests the blob from the position on.
    fn open(&mut self) -> Result<BlobBody> {
        self.connection.get_or_insert_with(|| self.client.budget().take_own_connection());
        let client = self.client.after_failures(self.backoff.failures());
        let body = client.blob(&self.reference, &self.descriptor, self.position)?;
        // A registry that does not support ranges sends the blob from its beginning.
        self.repeated = self.position - body.offset();
        // The time until the response is not a measure of the transfer rate.
        self.monitor = self.monitor.take().map(|_| SpeedMonitor::new(self.client.budget().received()));
        Ok(body)
    }

    /// Reads from a body, and skips bytes that the reader has already.
    fn read_new_bytes(&mut self, body: &mut BlobBody, buffer: &mut [u8]) -> Result<usize> {
        while self.repeated > 0 {
            let length = self.repeated.min(buffer.len() as u64) as usize;
            self.repeated -= body.read_some(&mut buffer[..length])? as u64;
        }
        body.read_some(buffer)
    }

    /// Advances the position, and resets the count of interruptions after enough data.
    fn advance(&mut self, count: u64) {
        self.position += count;
        if self.position - self.progress_from >= PROGRESS.min(self.descriptor.size.div_ceil(PROGRESS_DIVISOR)) {
            self.progress_from = self.position;
            self.backoff.reset();
        }
    }

    /// Waits before the next attempt. Fails if the retries are used up.
    fn pause(&mut self, error: Error) -> Result<()> {
        let options = self.client.options();
        if !self.backoff.fail_within(self.client.retries()) {
            let (url, reason) = match error {
                Error::Broken { url, reason } => (url, reason),
                Error::Stalled { url, after } => (url, format!("no data for {} ms", after.as_millis())),
                error => return Err(error),
            };
            let (digest, offset, attempts) = (self.descriptor.digest, self.position, self.backoff.failures());
            return Err(Error::Interrupted { url, digest, offset, attempts, reason });
        }
        let pause = self.backoff.next_pause(options, None);
        tracing::info!("{} was interrupted at byte {}", self.descriptor.digest, self.position);
        let url = error.broken_url().unwrap_or(self.reference.registry_host());
        self.client.report_retry(url, &error, self.backoff.failures(), pause, false);
        Ok(self.client.cancel().sleep(pause)?)
    }
}

impl Read for ResumingBlob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_some(buffer)?)
    }
}
