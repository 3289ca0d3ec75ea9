//! Errors from requests to a registry.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use vmroot_errors::{Classified, ErrorKind, counted};
use vmroot_model::Digest;
use vmroot_output::Cancelled;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error from a request to a registry.
///
/// URLs in errors omit the query and the user, because both may hold secrets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller cancelled the request through its [`Cancel`](vmroot_output::Cancel).
    #[error("cancelled")]
    Cancelled,

    /// The certificate of a registry is not trusted, or not valid for its host or at this time.
    #[error("the certificate of {url} is not accepted: {reason}")]
    Certificate {
        /// The URL of the request.
        url: String,
        /// The kind of fault.
        fault: CertificateFault,
        /// The fault in words.
        reason: String,
    },

    /// The connection failed: an unknown host or a closed port.
    #[error("cannot connect to {url}: {reason}")]
    Unreachable {
        /// The URL of the request.
        url: String,
        /// The kind of failure.
        cause: ConnectFailure,
        /// The failure in words.
        reason: String,
    },

    /// The connection ended early, or its bytes were not HTTP.
    #[error("the connection broke while reading {url}: {reason}")]
    Broken {
        /// The URL of the request.
        url: String,
        /// The message of the transport.
        reason: String,
    },

    /// No data arrived within the inactivity timeout.
    #[error("{url} sent nothing for {} ms", after.as_millis())]
    Stalled {
        /// The URL of the request.
        url: String,
        /// The inactivity timeout.
        after: Duration,
    },

    /// The registry does not have the document or blob (404).
    #[error("{url} not found: {message}")]
    NotFound {
        /// The URL of the request.
        url: String,
        /// The message in the server's answer.
        message: String,
    },

    /// The registry or its token server denies access (401, 403).
    #[error("access to {url} is refused ({status}): {message}")]
    Unauthorized {
        /// The URL of the request.
        url: String,
        /// The HTTP status, 401 or 403.
        status: u16,
        /// Whether a user and password, or a token that the caller has, were sent.
        has_credentials: bool,
        /// The message in the server's answer.
        message: String,
    },

    /// Too many requests (429), and the wait exceeds the limit of the options.
    #[error("{url} allows no more requests for now{}: {message}", wait_text(*wait))]
    RateLimited {
        /// The URL of the request.
        url: String,
        /// The wait that the server asks for, if any.
        wait: Option<Duration>,
        /// The message in the server's answer.
        message: String,
    },

    /// Any other unsuccessful status.
    #[error("{url} answered with status {status}: {message}")]
    Status {
        /// The URL of the request.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The message in the server's answer.
        message: String,
    },

    /// A redirect that is not followed.
    #[error("the redirect of {url} is not followed: {reason}")]
    Redirect {
        /// The URL that redirects.
        url: String,
        /// The reason.
        reason: String,
    },

    /// A chain of redirects that is longer than the limit.
    #[error("the redirect of {url} is not followed: there are more than {limit} in a row")]
    TooManyRedirects {
        /// The URL of the first request.
        url: String,
        /// The largest number of redirects that are followed.
        limit: usize,
    },

    /// A foreign layer's host is in a more private network than the registry. The URL was not requested.
    #[error("foreign layer {url} not requested: {host} is in a more private network than the registry")]
    Address {
        /// The URL that was not requested.
        url: String,
        /// The host of the URL.
        host: String,
    },

    /// The registry's authentication challenge is invalid, or its scheme is not supported.
    #[error("unsupported authentication challenge from {url}: {reason}")]
    Challenge {
        /// The URL of the request.
        url: String,
        /// The reason.
        reason: String,
    },

    /// The token server's answer has no usable token.
    #[error("no token from {realm}: {reason}")]
    Token {
        /// The URL of the token server.
        realm: String,
        /// The reason.
        reason: String,
    },

    /// A document exceeds its size limit.
    #[error("{url} is longer than {limit} bytes")]
    TooLarge {
        /// The URL of the request.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },

    /// The answer has a `Content-Encoding`, although the request accepts only `identity`.
    #[error(
        "{url} came with Content-Encoding {encoding:?} although the request allows only identity; turn off compression in \
                 the server or its proxy"
    )]
    Encoded {
        /// The URL of the request.
        url: String,
        /// The value of the `Content-Encoding` header.
        encoding: String,
    },

    /// The bytes do not have the expected digest.
    #[error("{url} has the digest {actual}, not {expected}")]
    DigestMismatch {
        /// The URL of the request.
        url: String,
        /// The requested digest, or the one in the registry's header.
        expected: Digest,
        /// The digest of the received bytes.
        actual: Digest,
    },

    /// A blob's size differs from its descriptor.
    #[error("{url} has {actual} bytes, not the {expected} of its descriptor")]
    SizeMismatch {
        /// The URL of the request.
        url: String,
        /// The size in the descriptor, in bytes.
        expected: u64,
        /// The size that the registry announced, or a lower bound from the received bytes.
        actual: u64,
    },

    /// The answer to a range request has another range, or is an error.
    #[error("{url}: wrong answer to the request for the bytes from {offset} on: {reason}")]
    Range {
        /// The URL of the request.
        url: String,
        /// The first requested byte.
        offset: u64,
        /// The reason.
        reason: String,
    },

    /// The download of a blob was interrupted more often than the options allow.
    #[error("gave up on {digest} at byte {offset} after {} in a row at {url}: {reason}", counted(*attempts, "attempt"))]
    Interrupted {
        /// The URL of the request.
        url: String,
        /// The digest of the blob.
        digest: Digest,
        /// The number of received bytes.
        offset: u64,
        /// The number of consecutive attempts without progress.
        attempts: u32,
        /// The reason for the last failure.
        reason: String,
    },

    /// An upload was interrupted, and cannot continue at the byte that the registry needs next. The registry has
    /// nothing of it.
    #[error("the upload to {url} broke at byte {offset}: {reason}")]
    UploadInterrupted {
        /// The URL of the upload.
        url: String,
        /// The number of bytes that were sent.
        offset: u64,
        /// The reason.
        reason: String,
    },

    /// The registry's answers to an upload violate the protocol.
    #[error("cannot upload to {url}: {reason}")]
    Upload {
        /// The URL of the upload.
        url: String,
        /// The reason.
        reason: String,
    },

    /// The registry does not accept a manifest of this type or form. Another one may be accepted.
    #[error("{url} refuses the manifest ({status}): {message}")]
    ManifestRefused {
        /// The URL of the request.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The message in the server's answer.
        message: String,
    },

    /// The registry does not allow the deletion of manifests or tags.
    #[error("{url} cannot be deleted, the registry does not support it ({status}): {message}")]
    DeleteUnsupported {
        /// The URL of the request.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The message in the server's answer.
        message: String,
    },

    /// Other clients changed a list of referrers each time that it was written.
    #[error("the list of referrers at {url} was changed by others after each of {}", counted(*attempts, "attempt"))]
    ReferrersConflict {
        /// The URL of the list.
        url: String,
        /// The number of attempts.
        attempts: u32,
    },

    /// A list in pages that cannot be read to its end.
    #[error("cannot read the list at {url} to its end: {reason}")]
    Paging {
        /// The URL of the first page.
        url: String,
        /// The reason.
        reason: String,
    },

    /// A response that is not the JSON document of its type.
    #[error("{url}: the response is not {expected}: {reason}")]
    Malformed {
        /// The URL of the request.
        url: String,
        /// The expected document.
        expected: &'static str,
        /// The reason.
        reason: String,
    },

    /// The blob to upload cannot be read, or does not have its size.
    #[error("cannot read the blob to upload to {repository}")]
    Source {
        /// The repository.
        repository: String,
        /// The error of the reader.
        #[source]
        error: io::Error,
    },

    /// A file with credentials cannot be read or is invalid.
    #[error("{}: {reason}", path.display())]
    AuthFile {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },

    /// A credential helper failed.
    #[error("credential helper {helper}: {reason}")]
    Helper {
        /// The name of the program.
        helper: String,
        /// The reason.
        reason: String,
    },

    /// No certificate could be checked: this system has no trusted authorities, and the caller names none.
    #[error("this system has no certificates of authorities, so no registry can be verified")]
    NoAuthorities,

    /// Certificates of certificate authorities cannot be loaded.
    #[error("certificates{}: {reason}", path.as_ref().map_or(String::new(), |path| format!(" in {}", path.display())))]
    Certificates {
        /// The file, if the caller named one.
        path: Option<PathBuf>,
        /// The reason.
        reason: String,
    },

    /// The settings of a registry cannot be read, or forbid all access to it.
    #[error("{registry}: {reason}")]
    HostSettings {
        /// The registry or repository.
        registry: String,
        /// The reason, with the file that it is in.
        reason: String,
    },

    /// An option with an invalid value.
    #[error("{option}: {reason}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// The reason.
        reason: String,
    },

    /// The HTTP client cannot be started.
    #[error("cannot start an HTTP client")]
    Start(#[source] io::Error),
}

/// The fault of a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateFault {
    /// The authority that signed it is not trusted.
    UnknownAuthority,
    /// It has expired.
    Expired,
    /// It is not valid yet.
    NotYetValid,
    /// It is for other hosts.
    OtherHost,
    /// Any other fault.
    Other,
}

/// The reason for which no connection was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectFailure {
    /// The name of the host does not exist.
    UnknownHost,
    /// The name server does not answer.
    NameServer,
    /// The host refuses connections to the port.
    Refused,
    /// The host does not answer.
    NoAnswer,
    /// There is no route to the host.
    NoRoute,
    /// The server does not speak TLS.
    NotTls,
    /// Any other failure.
    Other,
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Unauthorized { .. } | Self::Challenge { .. } | Self::Token { .. } => ErrorKind::Authentication,
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } | Self::Range { .. } | Self::Malformed { .. } => {
                ErrorKind::Integrity
            }
            Self::Paging { .. } | Self::TooLarge { .. } | Self::TooManyRedirects { .. } => ErrorKind::Limit,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::RateLimited { .. } => ErrorKind::RateLimited,
            Self::ReferrersConflict { .. } => ErrorKind::InUse,
            Self::Option { .. } => ErrorKind::Usage,
            Self::Unreachable { .. }
            | Self::Certificate { .. }
            | Self::Broken { .. }
            | Self::Stalled { .. }
            | Self::Interrupted { .. }
            | Self::UploadInterrupted { .. } => ErrorKind::Unreachable,
            Self::Source { error, .. } => source_kind(error),
            Self::Status { status: 413, .. } => ErrorKind::Limit,
            _ => ErrorKind::Other,
        }
    }
}

/// Returns the kind of an error of a reader, which may be one of this crate.
fn source_kind(error: &io::Error) -> ErrorKind {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match (inner, Classified::of(error)) {
        (Some(inner), _) => inner.kind(),
        (None, Some(classified)) => classified.kind(),
        _ if error.kind() == io::ErrorKind::InvalidData => ErrorKind::Integrity,
        _ => ErrorKind::Other,
    }
}

fn wait_text(wait: Option<Duration>) -> String {
    wait.map_or(String::new(), |wait| format!(" and asks to wait {} s", wait.as_secs()))
}

impl From<Cancelled> for Error {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

impl Error {
    /// Returns whether the server answered with a client error (4xx).
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::NotFound { .. } | Self::Unauthorized { .. } => true,
            Self::Status { status, .. } => (400..500).contains(status),
            _ => false,
        }
    }

    /// Returns whether the registry states that it has no such repository: the code `NAME_UNKNOWN` of the distribution
    /// specification.
    pub fn is_unknown_repository(&self) -> bool {
        matches!(self, Self::NotFound { message, .. } if message.starts_with("NAME_UNKNOWN"))
    }

    /// Returns whether uploading the same blob again from its start may succeed: the registry or the connection failed,
    /// and not the blob or the access to the repository.
    pub fn may_restart_upload(&self) -> bool {
        match self {
            Self::UploadInterrupted { .. } | Self::Unreachable { .. } | Self::Broken { .. } | Self::Stalled { .. } => {
                true
            }
            Self::Status { status, .. } => (500..600).contains(status) && ![501, 505].contains(status),
            _ => false,
        }
    }

    /// Returns whether the registry refuses a manifest because of its type or form, so that another type may be accepted.
    pub fn is_manifest_refused(&self) -> bool {
        matches!(self, Self::ManifestRefused { .. })
    }

    /// Converts the refusal of a pushed manifest, if the registry refuses its type or form: the codes MANIFEST_INVALID,
    /// TAG_INVALID (which old registries send for the types of a newer one) and UNSUPPORTED, or the status 415.
    pub(crate) fn into_manifest_refused(self) -> Self {
        match self {
            Self::Status { url, status, message }
                if status == 415
                    || (400..500).contains(&status)
                        && ["MANIFEST_INVALID", "TAG_INVALID", "UNSUPPORTED"]
                            .iter()
                            .any(|code| message.contains(code)) =>
            {
                Self::ManifestRefused { url, status, message }
            }
            other => other,
        }
    }

    /// Returns whether the connection broke, so that a retry may succeed.
    pub(crate) fn is_broken_connection(&self) -> bool {
        matches!(self, Self::Broken { .. } | Self::Stalled { .. })
    }

    /// Returns the URL of a connection that broke, without its query.
    pub(crate) fn broken_url(&self) -> Option<&str> {
        match self {
            Self::Broken { url, .. } | Self::Stalled { url, .. } => Some(url),
            _ => None,
        }
    }
}

/// Wraps the error for a reader. [`io::Error::get_ref`] returns it again.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Cancelled => io::ErrorKind::Other,
            Error::NotFound { .. } => io::ErrorKind::NotFound,
            Error::Unauthorized { .. } => io::ErrorKind::PermissionDenied,
            Error::Stalled { .. } => io::ErrorKind::TimedOut,
            Error::Broken { .. } | Error::Interrupted { .. } => io::ErrorKind::UnexpectedEof,
            Error::SizeMismatch { .. } | Error::DigestMismatch { .. } | Error::Range { .. } => {
                io::ErrorKind::InvalidData
            }
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
