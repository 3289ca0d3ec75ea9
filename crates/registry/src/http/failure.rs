//! The classification of reqwest's errors by whether a retry may help.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use reqwest::Url;

use super::address_scope::OutOfScope;
use super::blocking_client::WaitError;
use super::redacted;
use crate::{Error, Result};

/// The maximum time that a mirror may ask to wait for. After a longer one, the next place is tried.
const MIRROR_WAIT: Duration = Duration::from_secs(2);

/// The failure of a request.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A retry is useless.
    Final(Error),
    /// A retry may help.
    Transient(Error),
    /// A server that has never answered refuses connections. A retry helps if it is just starting.
    Refused(Error),
    /// The server asks for a retry, after this time if it states one.
    Busy(Error, Option<Duration>),
}

impl Failure {
    /// Returns whether the server is likely to fail for longer: it does not answer, or asks for a long wait.
    pub(crate) fn lasts(&self) -> bool {
        match self {
            Self::Transient(Error::Unreachable { .. } | Error::Stalled { .. }) | Self::Refused(_) => true,
            Self::Busy(_, wait) => wait.is_some_and(|wait| wait > MIRROR_WAIT),
            _ => false,
        }
    }

    pub(crate) fn error(&self) -> &Error {
        match self {
            Self::Final(error) | Self::Transient(error) | Self::Refused(error) | Self::Busy(error, _) => error,
        }
    }

    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Final(error) | Self::Transient(error) | Self::Refused(error) | Self::Busy(error, _) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// Converts the outcome of waiting for reqwest.
pub(crate) fn classify<T>(url: &Url, outcome: Result<reqwest::Result<T>, WaitError>) -> Result<T, Failure> {
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(classify_error(url, &error)),
        Err(WaitError::Cancelled) => Err(Failure::Final(Error::Cancelled)),
        Err(wait) => Err(Failure::Transient(wait.into_error(url))),
    }
}

fn classify_error(url: &Url, error: &reqwest::Error) -> Failure {
    let out_of_scope = causes(error).find_map(|cause| cause.downcast_ref::<OutOfScope>());
    if let Some(OutOfScope { host }) = out_of_scope {
        return Failure::Final(Error::Address { url: redacted(url), host: host.clone() });
    }
    let (url, reason) = (redacted(url), reason(error));
    if is_untrusted_certificate(error) {
        return Failure::Final(Error::Certificate { url, reason });
    }
    let connecting = error.is_connect();
    let failed = if connecting { Error::Unreachable { url, reason } } else { Error::Broken { url, reason } };
    if error.is_builder() || is_unknown_host(&failed) {
        Failure::Final(failed)
    } else if connecting && is_refused(error) {
        Failure::Refused(failed)
    } else {
        Failure::Transient(failed)
    }
}

/// Returns whether the server's certificate is not trusted. A retry would not change that.
fn is_untrusted_certificate(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))))
}

fn is_refused(error: &reqwest::Error) -> bool {
    let kinds = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    kinds.into_iter().any(|kind| kind == io::ErrorKind::ConnectionRefused)
}

/// Returns whether the host name does not exist. A failure of the name server itself is reported as temporary.
fn is_unknown_host(error: &Error) -> bool {
    let Error::Unreachable { reason, .. } = error else { return false };
    reason.contains("failed to lookup address") && !reason.contains("Temporary failure")
}

/// Returns the messages of an error's causes, without the URL.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    let mut reason = String::new();
    // The outermost message contains the URL with its query. Its other part is in the variant of this crate's error.
    for text in causes(error).skip(1).map(ToString::to_string) {
        if reason.ends_with(&text) {
            continue;
        }
        if !reason.is_empty() {
            reason.push_str(": ");
        }
        reason.push_str(&text);
    }
    if reason.is_empty() { "no reason is given".to_owned() } else { reason }
}

/// Returns the error and its causes, the outermost first.
fn causes<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn StdError + 'static)| {
        let error: &'e (dyn StdError + 'static) = *error;
        // `source` of an `io::Error` that wraps another error skips that error.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}
