//! Sending of a blob that is read meanwhile, with continuation after interruptions.

use std::sync::Arc;
use std::time::Duration;

use vmroot_errors::{counted, with_causes};
use vmroot_model::Digest;

use super::StreamedBody;
use super::session::UploadSession;
use super::window::Window;
use crate::backoff::Backoff;
use crate::http::{Failure, RequestBody};
use crate::{Client, Error, Result};

/// The length of a chunk in bytes, if the rest of a blob of unknown size is sent in chunks.
const CHUNK_SIZE: u64 = 4 << 20;

/// The maximum length of a chunk in bytes that a registry may require, because a chunk is held in memory.
const CHUNK_LIMIT: u64 = 64 << 20;

/// The number of bytes after an interruption that resets the count of retries.
const PROGRESS: u64 = 1 << 20;

/// Sends one blob.
pub(super) struct Sender<'a> {
    client: &'a Client,
    session: UploadSession<'a>,
    window: Arc<Window>,
    /// The size of the blob in bytes, if it is known in advance.
    size: Option<u64>,
    /// The digest of the blob, if it is known in advance.
    digest: Option<Digest>,
    mode: Mode,
    /// The number of bytes that the registry has.
    offset: u64,
    /// The offset at which the count of interruptions was last reset.
    progress_from: u64,
    backoff: Backoff,
}

/// The form of the requests with the blob's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// One PATCH with all bytes. Docker and skopeo do this, so every registry supports it.
    Stream,
    /// PATCH requests with one chunk each.
    Chunks,
    /// One PUT with all bytes, for registries without PATCH.
    Put(Digest),
}

/// A step of sending.
enum Step {
    Continue,
    /// The registry has all bytes.
    Sent,
    /// The registry has the blob.
    Complete,
}

/// The end of sending.
pub(super) struct Sent<'a> {
    /// The upload to close, or `None` if the registry has the blob already.
    pub(super) session: Option<UploadSession<'a>>,
    /// Whether the upload was interrupted, so that its bytes may be wrong.
    pub(super) was_interrupted: bool,
}

impl<'a> Sender<'a> {
    pub(super) fn new(
        client: &'a Client,
        session: UploadSession<'a>,
        window: Arc<Window>,
        size: Option<u64>,
        digest: Option<Digest>,
    ) -> Self {
        let (offset, progress_from, backoff) = Default::default();
        Self { client, session, window, size, digest, mode: Mode::Stream, offset, progress_from, backoff }
    }

    /// Sends all bytes. On an error, the upload is deleted.
    pub(super) fn run(mut self) -> Result<Sent<'a>> {
        let mut was_interrupted = false;
        loop {
            match self.step() {
                Ok(Step::Continue) => {}
                Ok(Step::Sent) => return Ok(Sent { session: Some(self.session), was_interrupted }),
                Ok(Step::Complete) => return Ok(Sent { session: None, was_interrupted }),
                Err(failure) => {
                    was_interrupted = true;
                    self.recover(failure).inspect_err(|_| self.session.cancel())?;
                }
            }
        }
    }

    fn step(&mut self) -> Result<Step, Failure> {
        match self.mode {
            Mode::Stream => self.stream(),
            Mode::Chunks => self.send_chunk(),
            Mode::Put(digest) => {
                let body = self.body(self.size);
                self.session.close(&digest, RequestBody::Stream(body))?;
                Ok(Step::Complete)
            }
        }
    }

    fn body(&self, end: Option<u64>) -> StreamedBody {
        StreamedBody { window: Arc::clone(&self.window), start: self.offset, end, url: self.session.url() }
    }

    /// Sends the rest of the blob in one request. Only a rest that does not begin at 0 needs a range: streaming is older
    /// than chunks, and some registries check ranges wrongly.
    fn stream(&mut self) -> Result<Step, Failure> {
        if self.size != Some(self.offset) || self.offset == 0 {
            let range = self.size.filter(|_| self.offset > 0).map(|size| (self.offset, size - 1));
            let received = self.session.patch(self.body(self.size), range)?;
            self.advance(received, self.window.taken())?;
        }
        // The reader may still check the blob after its last byte.
        self.window.wait_for(self.offset, 1, self.client.cancel())?;
        self.finish()
    }

    fn send_chunk(&mut self) -> Result<Step, Failure> {
        let length = CHUNK_SIZE.max(self.session.min_chunk);
        if length > CHUNK_LIMIT {
            let reason = format!("it requires chunks of {length} bytes, more than CHUNK_LIMIT ({CHUNK_LIMIT})");
            return Err(Failure::Final(Error::Upload { url: self.session.url(), reason }));
        }
        let ready = self.window.wait_for(self.offset, length, self.client.cancel())?;
        if ready.length > 0 {
            let end = self.offset + ready.length;
            let received = self.session.patch(self.body(Some(end)), Some((self.offset, end - 1)))?;
            self.advance(received, end)?;
        }
        self.finish()
    }

    /// Returns whether the registry has all bytes.
    fn finish(&self) -> Result<Step, Failure> {
        match self.window.has_failed() {
            true => Err(Failure::Final(self.interrupted("its source failed".to_owned()))),
            false if self.window.is_whole(self.offset) => Ok(Step::Sent),
            false => Ok(Step::Continue),
        }
    }

    /// Advances to `sent`, or to the byte that the registry wants next.
    fn advance(&mut self, received: Option<u64>, sent: u64) -> Result<(), Failure> {
        let received = received.unwrap_or(sent);
        if received < self.offset || received > sent {
            return Err(Failure::Final(self.interrupted(format!("the registry claims to have {received} bytes"))));
        }
        self.offset = received;
        if self.offset - self.progress_from >= PROGRESS {
            self.progress_from = self.offset;
            self.backoff.reset();
        }
        if received == sent {
            return Ok(());
        }
        let error = self.interrupted(format!("the registry took {received} of {sent} bytes"));
        Err(Failure::Transient(error))
    }

    /// Prepares the next step after a failure.
    fn recover(&mut self, failure: Failure) -> Result<()> {
        if self.window.has_failed() {
            return Err(self.interrupted("its source failed".to_owned()));
        }
        let (error, wait) = match failure {
            Failure::Final(error) if is_offset_refused(&error) => (error, None),
            Failure::Final(error) => return self.change_mode(error),
            Failure::Busy(error, wait) => (error, wait),
            Failure::Transient(error) | Failure::Refused(error) => (error, None),
        };
        if let Mode::Put(_) = self.mode {
            return Err(self.interrupted(error.to_string()));
        }
        self.pause(error, wait)?;
        match self.session.received() {
            Ok(received) => self.offset = received,
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(error) => return Err(self.interrupted(format!("cannot get its offset: {error}"))),
        }
        if !self.window.can_send_from(self.offset) {
            let reason = format!("the registry wants byte {}, which is no longer in memory", self.offset);
            return Err(self.interrupted(reason));
        }
        self.progress_from = self.progress_from.min(self.offset);
        if self.size.is_none() {
            // A range needs a length.
            self.mode = Mode::Chunks;
        }
        Ok(())
    }

    /// Chooses another form of requests, if the registry refused the first one because of its form.
    fn change_mode(&mut self, error: Error) -> Result<()> {
        let is_supported = self.offset > 0 || self.backoff.failures() > 0 || matches!(self.mode, Mode::Put(_));
        let may_help = self.mode == Mode::Stream && self.window.can_send_from(0) && is_form_refused(&error);
        if is_supported || !may_help {
            // An upload may be lost before the registry has stored a byte of it.
            return match is_lost(&error, is_supported) {
                true => Err(self.interrupted(error.to_string())),
                false => Err(error),
            };
        }
        self.mode = match (self.digest, self.size) {
            (Some(digest), Some(_)) => Mode::Put(digest),
            _ => Mode::Chunks,
        };
        tracing::info!(error = with_causes(&error), mode = ?self.mode, "the registry refuses a streamed upload");
        Ok(())
    }

    /// Waits before the next attempt. Fails if the retries are used up.
    fn pause(&mut self, error: Error, wait: Option<Duration>) -> Result<()> {
        let options = self.client.options();
        if !self.backoff.fail(options) {
            let attempts = self.backoff.failures();
            let attempts = counted(attempts, "attempt");
            return Err(self.interrupted(format!("gave up after {attempts} in a row: {error}")));
        }
        let pause = self.backoff.next_pause(options, wait);
        tracing::info!("the upload was interrupted at byte {}", self.offset);
        let (url, failures) = (self.session.url(), self.backoff.failures());
        self.client.report_retry(&url, &error, failures, pause, wait.is_some());
        Ok(self.client.cancel().sleep(pause)?)
    }

    fn interrupted(&self, reason: String) -> Error {
        Error::UploadInterrupted { url: self.session.url(), offset: self.offset, reason }
    }
}

/// Returns whether the registry wants another byte next.
fn is_offset_refused(error: &Error) -> bool {
    matches!(error, Error::Status { status: 416, .. })
}

/// Returns whether the registry has lost the upload, so that it must be opened again. Without that code, 404 may also
/// mean that the registry does not support the request, unless it must (`is_supported`).
pub(super) fn is_lost(error: &Error, is_supported: bool) -> bool {
    matches!(error, Error::NotFound { message, .. } if is_supported || message.contains("BLOB_UPLOAD_UNKNOWN"))
}

/// Returns whether the registry may not support the form of the request: no PATCH, or no chunked transfer coding.
fn is_form_refused(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. } | Error::Status { status: 405 | 411 | 415 | 501, .. })
}
