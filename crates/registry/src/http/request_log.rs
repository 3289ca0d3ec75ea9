//! One line of the log for each request.

use std::fmt;
use std::time::Instant;

use reqwest::{Method, StatusCode, Url};

use super::redacted;

/// A request that was sent, for the log: method, URL, status, bytes and time. The line is written when this is dropped,
/// so that it has the bytes of the body.
///
/// The URL is logged without its query and its user, and headers are not logged, because they may contain secrets.
pub(super) struct RequestLog {
    method: Method,
    url: String,
    status: StatusCode,
    started: Instant,
    /// The bytes of the body that were received.
    pub(super) bytes: u64,
}

impl RequestLog {
    pub(super) fn new(method: &Method, url: &Url, status: StatusCode, started: Instant) -> Self {
        Self { method: method.clone(), url: redacted(url), status, started, bytes: 0 }
    }
}

impl fmt::Display for RequestLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, url, status, started, bytes } = self;
        write!(f, "{method} {url}: {}, {bytes} bytes in {:.3} s", status.as_u16(), started.elapsed().as_secs_f64())
    }
}

impl Drop for RequestLog {
    fn drop(&mut self) {
        tracing::debug!("{self}");
    }
}
