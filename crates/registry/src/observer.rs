//! Events of requests, for programs that show what a client waits for.

use std::time::Duration;

/// The time without data after which a wait is reported, and the interval of the further reports.
pub(crate) const FIRST_REPORT: Duration = Duration::from_secs(2);

/// Receives the events of a client's requests: [`ClientOptions::observer`](crate::ClientOptions::observer).
///
/// The method is called from several threads at once, and should return quickly.
pub trait RequestObserver: Send + Sync {
    /// Something happened to a request.
    fn event(&self, event: &RequestEvent<'_>);
}

/// An event of a request. The texts contain no secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestEvent<'a> {
    /// A server has sent nothing for 2 seconds or longer. This is repeated about once a second.
    Waiting {
        /// The number of the request, which is unique within this process.
        request: u64,
        /// The host and, unless it is that of the scheme, the port.
        host: &'a str,
        /// The time without data.
        silent_for: Duration,
        /// The attempt, counted from 1.
        attempt: u32,
        /// The number of attempts that are made at most.
        attempts: u32,
    },
    /// A wait that was reported has ended: data came, or the attempt failed.
    Answered {
        /// The number of the request.
        request: u64,
        /// The host and, unless it is that of the scheme, the port.
        host: &'a str,
    },
    /// An attempt failed, and another one follows after a pause.
    Retrying {
        /// The host and, unless it is that of the scheme, the port.
        host: &'a str,
        /// The failure.
        reason: &'a str,
        /// The next attempt, counted from 1.
        attempt: u32,
        /// The number of attempts that are made at most.
        attempts: u32,
        /// The pause before the next attempt.
        pause: Duration,
        /// Whether the server asked for this pause (`Retry-After`).
        is_requested: bool,
    },
    /// A mirror failed, or lacks the content, and the next place is tried.
    NextPlace {
        /// The reference at the mirror.
        failed: &'a str,
        /// The reference at the next place.
        next: &'a str,
        /// The failure.
        reason: &'a str,
    },
}
