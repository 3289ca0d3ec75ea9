//! Uploads of blobs (OCI distribution-spec 1.1, "Pushing blobs").
//!
//! A short blob whose digest is known is sent in one PUT. Any other blob is sent while it is read, in one PATCH like
//! those of Docker and skopeo. The caller's thread reads it, another thread sends it, and the bytes that were sent last
//! stay in memory. If the connection breaks, the registry states the number of bytes that it has, and the upload
//! continues there.

mod body;
mod sender;
mod session;
mod window;

use std::io::{self, Read};
use std::sync::Arc;
use std::thread;

use bytes::{Bytes, BytesMut};
use vmroot_model::{Algorithm, Digest, Reference};

pub(crate) use body::StreamedBody;
pub(crate) use session::cancel_upload;

use crate::backoff::Backoff;
use crate::http::{Failure, RequestBody};
use crate::{Client, Error, Result};
use sender::{Sender, Sent};
use session::UploadSession;
use window::Window;

/// The maximum size in bytes of a blob that is sent from memory in one request.
const SHORT_BLOB_LIMIT: u64 = 1 << 20;

/// The number of bytes that are read at a time.
const READ_SIZE: usize = 128 << 10;

/// A blob to upload. It is read to its end once.
pub trait UploadBody: Read + Send {
    /// Returns the size in bytes, if it is known in advance.
    fn size(&self) -> Option<u64>;

    /// Returns the digest: in advance if it is known, else once the blob was read to its end.
    fn digest(&self) -> Option<Digest>;
}

impl Client {
    /// Uploads a blob to the reference's repository. After an interruption the upload continues, if the bytes from there
    /// on are still in memory ([`ClientOptions::upload_window`](crate::ClientOptions::upload_window)).
    ///
    /// The registry compares the bytes with the digest. If an error occurs, the upload is deleted.
    ///
    /// # Errors
    /// - [`Error::UploadInterrupted`] and others for which [`Error::may_restart_upload`] is true: the same blob may be
    ///   uploaded again, with a new reader.
    /// - [`Error::Source`]: the blob cannot be read, does not have its size, or has no digest at its end.
    /// - [`Error::Unauthorized`]: the credentials, or the lack of them, do not allow pushing.
    /// - [`Error::Status`]: the registry refuses the blob. The status 413 means that it is too large.
    /// - Any other variant for a failure of the connection, the registry, its token server, or the credentials.
    pub fn upload_blob(&self, reference: &Reference, body: &mut dyn UploadBody) -> Result<()> {
        match body.digest().zip(body.size()) {
            Some((digest, size)) if size <= SHORT_BLOB_LIMIT => {
                let bytes = read_short(body, size).map_err(|error| source_error(reference, error))?;
                self.upload_short(reference, &digest, &bytes)
            }
            _ => self.upload_stream(reference, body),
        }
    }

    /// Uploads a blob from memory, again from its start after each failure that may pass.
    fn upload_short(&self, reference: &Reference, digest: &Digest, bytes: &Bytes) -> Result<()> {
        let options = self.options();
        let mut backoff = Backoff::default();
        loop {
            let session = UploadSession::open(self, reference, digest.algorithm())?;
            let (error, wait) = match session.close(digest, RequestBody::Bytes(bytes.clone())) {
                Ok(()) => return Ok(()),
                Err(Failure::Final(error @ Error::NotFound { .. })) => (error, None),
                Err(Failure::Transient(error) | Failure::Refused(error)) => (error, None),
                Err(Failure::Busy(error, wait)) => (error, wait),
                Err(Failure::Final(error)) => {
                    session.cancel();
                    return Err(error);
                }
            };
            session.cancel();
            if !backoff.fail(options) {
                return Err(error);
            }
            let pause = backoff.next_pause(options, wait);
            self.report_retry(&session.url(), &error, backoff.failures(), pause, wait.is_some());
            self.cancel().sleep(pause)?;
        }
    }

    fn upload_stream(&self, reference: &Reference, body: &mut dyn UploadBody) -> Result<()> {
        let (digest, size) = (body.digest(), body.size());
        let algorithm = digest.map_or(Algorithm::Sha256, |digest| digest.algorithm());
        let session = UploadSession::open(self, reference, algorithm)?;
        let window = Window::new(self.options().upload_window);
        let sender = Sender::new(self, session, Arc::clone(&window), size, digest);
        let (read, sent) = thread::scope(|scope| {
            let builder = thread::Builder::new().name("blob-upload".to_owned());
            let sending = builder.spawn_scoped(scope, || {
                let _closed = OnDrop(|| window.close());
                sender.run()
            });
            let sending = sending.map_err(Error::Start)?;
            let read = self.feed(body, size, &window);
            let sent = sending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok::<_, Error>((read, sent))
        })?;
        // An error of the reader is the cause of the sender's.
        match read {
            Err(Feed::Cancelled) => return Err(Error::Cancelled),
            Err(Feed::Source(error)) => return Err(source_error(reference, error)),
            Ok(()) => {}
        }
        let Sent { session, was_interrupted } = sent?;
        let Some(session) = session else { return Ok(()) };
        let digest = body.digest().ok_or_else(|| {
            session.cancel();
            source_error(reference, io::Error::other("it has no digest at its end"))
        })?;
        self.close_upload(reference, &session, &digest).map_err(|error| match error {
            Error::NotFound { url, message } => {
                Error::UploadInterrupted { url, offset: size.unwrap_or_default(), reason: message }
            }
            // The registry may have written bytes of the broken request after it stated its offset.
            Error::Status { url, status: 400, message } if was_interrupted => {
                Error::UploadInterrupted { url, offset: size.unwrap_or_default(), reason: message }
            }
            error => error,
        })
    }

    /// Reads the blob to its end, as fast as it is sent.
    fn feed(&self, body: &mut dyn UploadBody, size: Option<u64>, window: &Window) -> Result<(), Feed> {
        let _finished = OnDrop(|| window.finish());
        let mut read = 0;
        loop {
            let mut buffer = window.spent().unwrap_or_default();
            buffer.resize(READ_SIZE, 0);
            let bytes = read_full(body, buffer).map_err(Feed::Source)?;
            if bytes.is_empty() {
                break;
            }
            read += bytes.len() as u64;
            if size.is_some_and(|size| read > size) {
                return Err(Feed::Source(wrong_size(size.unwrap_or_default(), read)));
            }
            if !window.push(bytes, self.cancel()).map_err(|_| Feed::Cancelled)? {
                // The sender has its own error.
                return Ok(());
            }
        }
        if let Some(size) = size.filter(|size| *size > read) {
            return Err(Feed::Source(wrong_size(size, read)));
        }
        window.mark_whole();
        Ok(())
    }

    /// Closes an upload, and again after each failure that may pass.
    fn close_upload(&self, reference: &Reference, session: &UploadSession<'_>, digest: &Digest) -> Result<()> {
        let options = self.options();
        let mut backoff = Backoff::default();
        loop {
            let (error, wait) = match session.close(digest, RequestBody::Empty) {
                Ok(()) => return Ok(()),
                // The first request may have closed it before its connection broke.
                Err(Failure::Final(Error::NotFound { .. }))
                    if backoff.failures() > 0 && self.has_blob(reference, digest)?.is_some() =>
                {
                    return Ok(());
                }
                Err(Failure::Final(error)) => {
                    session.cancel();
                    return Err(error);
                }
                Err(Failure::Transient(error) | Failure::Refused(error)) => (error, None),
                Err(Failure::Busy(error, wait)) => (error, wait),
            };
            if !backoff.fail(options) {
                session.cancel();
                return Err(error);
            }
            let pause = backoff.next_pause(options, wait);
            self.report_retry(&session.url(), &error, backoff.failures(), pause, wait.is_some());
            self.cancel().sleep(pause)?;
        }
    }
}

/// The reason for which reading of the blob ended early.
enum Feed {
    Cancelled,
    Source(io::Error),
}

/// Calls a function when it is dropped, so also after a panic.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn source_error(reference: &Reference, error: io::Error) -> Error {
    Error::Source { repository: reference.name(), error }
}

fn wrong_size(expected: u64, actual: u64) -> io::Error {
    let reason = format!("it should have {expected} bytes and has {actual} or more");
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Reads a whole blob of `size` bytes into memory.
fn read_short(body: &mut dyn UploadBody, size: u64) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    body.take(size.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == size { Ok(bytes.into()) } else { Err(wrong_size(size, bytes.len() as u64)) }
}

/// Fills a buffer, except at the end. Full buffers keep the memory of the window within its limit.
fn read_full(body: &mut dyn UploadBody, mut buffer: BytesMut) -> io::Result<Bytes> {
    let mut filled = 0;
    while filled < buffer.len() {
        match body.read(&mut buffer[filled..]) {
            Ok(0) => break,
            // A faulty reader may return a larger number than there is room for.
            Ok(count) => filled += count.min(buffer.len() - filled),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer.freeze())
}
