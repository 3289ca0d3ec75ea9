//! The classification of reqwest's errors by whether a retry may help.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use reqwest::Url;

use super::address_scope::OutOfScope;
use super::blocking_client::WaitError;
use super::redacted;
use crate::{CertificateFault, ConnectFailure, Error, Result};

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
    // A retry would not make the certificate a trusted one.
    if let Some(certificate) = untrusted_certificate(error) {
        let (fault, reason) = certificate_fault(certificate, url);
        return Failure::Final(Error::Certificate { url: redacted(url), fault, reason });
    }
    if !error.is_connect() {
        let failed = Error::Broken { url: redacted(url), reason: reason(error) };
        return if error.is_builder() { Failure::Final(failed) } else { Failure::Transient(failed) };
    }
    let (cause, reason) = connect_failure(error, url);
    let failed = Error::Unreachable { url: redacted(url), cause, reason };
    match cause {
        _ if error.is_builder() => Failure::Final(failed),
        ConnectFailure::UnknownHost | ConnectFailure::NotTls => Failure::Final(failed),
        ConnectFailure::Refused => Failure::Refused(failed),
        _ => Failure::Transient(failed),
    }
}

fn untrusted_certificate(error: &reqwest::Error) -> Option<&rustls::CertificateError> {
    causes(error).find_map(|cause| match cause.downcast_ref() {
        Some(rustls::Error::InvalidCertificate(fault)) => Some(fault),
        _ => None,
    })
}

fn certificate_fault(error: &rustls::CertificateError, url: &Url) -> (CertificateFault, String) {
    use rustls::CertificateError as Tls;
    let text = |text: &str| text.to_owned();
    match error {
        Tls::UnknownIssuer => {
            (CertificateFault::UnknownAuthority, text("the authority that signed it is not trusted here"))
        }
        Tls::Expired | Tls::ExpiredContext { .. } => (CertificateFault::Expired, text("it has expired")),
        Tls::NotValidYet | Tls::NotValidYetContext { .. } => {
            (CertificateFault::NotYetValid, text("by the clock of this machine, it is not valid yet"))
        }
        Tls::NotValidForName | Tls::NotValidForNameContext { .. } => {
            let host = url.host_str().unwrap_or_default();
            (CertificateFault::OtherHost, format!("it is not for {host}"))
        }
        // rustls has no variant for this error of webpki: a server's certificate that is one of an authority, too.
        Tls::Other(other) if format!("{:?}", other.0) == "CaUsedAsEndEntity" => {
            (CertificateFault::UnknownAuthority, text("it is signed by itself, and not trusted here"))
        }
        Tls::BadSignature => (CertificateFault::Other, text("its signature is wrong")),
        Tls::BadEncoding => (CertificateFault::Other, text("it is malformed")),
        Tls::Revoked => (CertificateFault::Other, text("it is revoked")),
        Tls::UnhandledCriticalExtension => {
            (CertificateFault::Other, text("it has a critical extension that is not supported"))
        }
        Tls::InvalidPurpose | Tls::InvalidPurposeContext { .. } => {
            (CertificateFault::Other, text("it is not for servers"))
        }
        _ => (CertificateFault::Other, text("it is not valid for a server")),
    }
}

/// Returns the kind of a failure to connect, and its reason in words.
fn connect_failure(error: &reqwest::Error, url: &Url) -> (ConnectFailure, String) {
    let io_kinds: Vec<_> =
        causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind).collect();
    let is = |kind: io::ErrorKind| io_kinds.contains(&kind);
    let is_not_tls = causes(error).any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InvalidMessage(_))));
    let messages = reason(error);
    let host = url.host_str().unwrap_or_default();
    // The resolver has no error type.
    if messages.contains("failed to lookup address") {
        return match messages.contains("Temporary failure") {
            true => {
                let text = format!("the name server does not answer, so {host} cannot be found");
                (ConnectFailure::NameServer, text)
            }
            false => (ConnectFailure::UnknownHost, format!("there is no host {host}")),
        };
    }
    if is_not_tls {
        return (ConnectFailure::NotTls, "the server does not speak TLS".to_owned());
    }
    if is(io::ErrorKind::ConnectionRefused) {
        return (ConnectFailure::Refused, "the connection was refused".to_owned());
    }
    if is(io::ErrorKind::TimedOut) || error.is_timeout() {
        return (ConnectFailure::NoAnswer, "the host does not answer".to_owned());
    }
    if is(io::ErrorKind::HostUnreachable) || is(io::ErrorKind::NetworkUnreachable) {
        return (ConnectFailure::NoRoute, "there is no route to the host".to_owned());
    }
    let messages = messages.strip_prefix("client error (Connect): ").unwrap_or(&messages);
    (ConnectFailure::Other, messages.to_owned())
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
