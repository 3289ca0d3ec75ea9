//! What the layers below report, told apart by what to do about it.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use reqwest::Url;

use super::line::Wait;
use super::reach::OutOfReach;
use super::shown;
use crate::{Error, Result};

/// A request that got no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Asking again is no use.
    Final(Error),
    /// Asking again may help.
    Transient(Error),
    /// Nobody takes connections where nobody has before: asking again helps if a server is just being started.
    Refused(Error),
    /// The server asks to come back, after so long if it says.
    Busy(Error, Option<Duration>),
}

impl Failure {
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

/// Sorts what came of waiting for reqwest.
pub(crate) fn of<T>(url: &Url, waited: Result<reqwest::Result<T>, Wait>) -> Result<T, Failure> {
    match waited {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(sort(url, &error)),
        Err(Wait::Cancelled) => Err(Failure::Final(Error::Cancelled)),
        Err(wait) => Err(Failure::Transient(wait.into_error(url))),
    }
}

fn sort(url: &Url, error: &reqwest::Error) -> Failure {
    let out_of_reach = causes(error).find_map(|cause| cause.downcast_ref::<OutOfReach>());
    if let Some(OutOfReach { host }) = out_of_reach {
        return Failure::Final(Error::Address { url: shown(url), host: host.clone() });
    }
    let (url, reason) = (shown(url), reason(error));
    let connecting = error.is_connect();
    let failed = if connecting { Error::Unreachable { url, reason } } else { Error::Broken { url, reason } };
    if error.is_builder() || is_certificate(error) || is_unknown_host(&failed) {
        Failure::Final(failed)
    } else if connecting && is_refused(error) {
        Failure::Refused(failed)
    } else {
        Failure::Transient(failed)
    }
}

/// Whether the other side is not whom we trust: it will not be so in a second either.
fn is_certificate(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))))
}

fn is_refused(error: &reqwest::Error) -> bool {
    let kinds = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    kinds.into_iter().any(|kind| kind == io::ErrorKind::ConnectionRefused)
}

/// Whether the name of the host is known to nobody; a name server that is out of order says it is temporary.
fn is_unknown_host(error: &Error) -> bool {
    let Error::Unreachable { reason, .. } = error else { return false };
    reason.contains("failed to lookup address") && !reason.contains("Temporary failure")
}

/// All that an error and its causes say, without the URL.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    let mut reason = String::new();
    // The outermost message has the URL in it, with its query; the kind is said by our own error.
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

/// The error and its causes, outermost first.
fn causes<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn StdError + 'static)| {
        let error: &'e (dyn StdError + 'static) = *error;
        // An `io::Error` made from another error hides that one and shows its source only.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}
