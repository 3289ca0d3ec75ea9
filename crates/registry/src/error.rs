//! What can go wrong between here and a registry.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use vmroot_errors::ErrorKind;
use vmroot_model::Digest;
use vmroot_output::Cancelled;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A registry, or the way to it, did not give what was asked for.
///
/// URLs in errors have neither query nor user, because both may hold secrets.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's [`Cancel`](vmroot_output::Cancel) was used.
    #[error("cancelled")]
    Cancelled,

    /// No connection came about: no such host, nobody listens, a certificate is not trusted.
    #[error("cannot connect to {url}: {reason}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What the layers below say.
        reason: String,
    },

    /// A connection ended early or did not carry HTTP.
    #[error("the connection broke while reading {url}: {reason}")]
    Broken {
        /// What was asked for.
        url: String,
        /// What the layers below say.
        reason: String,
    },

    /// Nothing arrived for the inactivity timeout.
    #[error("{url} sent nothing for {} ms", after.as_millis())]
    Stalled {
        /// What was asked for.
        url: String,
        /// How long nothing came.
        after: Duration,
    },

    /// The registry does not have it (404).
    #[error("{url} is not there: {message}")]
    NotFound {
        /// What was asked for.
        url: String,
        /// What the registry says.
        message: String,
    },

    /// The registry, or its token server, does not let us (401, 403).
    #[error("access to {url} is refused ({status}): {message}")]
    Unauthorized {
        /// What was asked for.
        url: String,
        /// The status, 401 or 403.
        status: u16,
        /// What the server says.
        message: String,
    },

    /// Too many requests (429), for longer than we are ready to wait.
    #[error("{url} allows no more requests for now{}: {message}", wait_text(*wait))]
    RateLimited {
        /// What was asked for.
        url: String,
        /// How long the server asks to wait, if it says.
        wait: Option<Duration>,
        /// What the server says.
        message: String,
    },

    /// Any other status that is not success.
    #[error("{url} answers with status {status}: {message}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
        /// What the server says.
        message: String,
    },

    /// A redirect that is not followed.
    #[error("the redirect of {url} is not followed: {reason}")]
    Redirect {
        /// What redirects.
        url: String,
        /// Why it is not followed.
        reason: String,
    },

    /// A server that sends us elsewhere again and again.
    #[error("the redirect of {url} is not followed: there are more than {limit} in a row")]
    TooManyRedirects {
        /// Where the first request went.
        url: String,
        /// How many are followed.
        limit: usize,
    },

    /// A foreign layer is said to be on this machine or in this network, where the registry is not.
    #[error(
        "{url} is not asked for a foreign layer: {host} has no public address, and the registry is no such host itself"
    )]
    Address {
        /// The URL that was not requested.
        url: String,
        /// The host.
        host: String,
    },

    /// The registry asks for credentials in a way that this client does not know.
    #[error("{url} asks for credentials in no way that is understood: {reason}")]
    Challenge {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
    },

    /// The token server gave no usable token.
    #[error("no token from {realm}: {reason}")]
    Token {
        /// The token server.
        realm: String,
        /// What is wrong.
        reason: String,
    },

    /// A document is longer than its limit.
    #[error("{url} is longer than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },

    /// A document came compressed, although it was asked for as it is.
    #[error(
        "{url} came with Content-Encoding {encoding:?}, though Accept-Encoding was identity: have the server, or the proxy before it, not compress it"
    )]
    Encoded {
        /// What was asked for.
        url: String,
        /// The encoding.
        encoding: String,
    },

    /// The bytes do not have the digest that they should have.
    #[error("{url} has the digest {actual}, not {expected}")]
    DigestMismatch {
        /// What was asked for.
        url: String,
        /// The digest asked for, or the one that the registry promised.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },

    /// A blob is longer or shorter than its descriptor says.
    #[error("{url} has {actual} bytes, not the {expected} of its descriptor")]
    SizeMismatch {
        /// What was asked for.
        url: String,
        /// Size by the descriptor, in bytes.
        expected: u64,
        /// Size by the registry, or how much came at least, in bytes.
        actual: u64,
    },

    /// A request for a part of a blob was answered with another part, or refused.
    #[error("{url}: wrong answer to the request for the bytes from {offset} on: {reason}")]
    Range {
        /// What was asked for.
        url: String,
        /// The first byte asked for.
        offset: u64,
        /// What is wrong with the answer.
        reason: String,
    },

    /// A blob broke off more often than the retries allow.
    #[error("gave up {digest} at byte {offset} after {attempts} attempts in a row at {url}: {reason}")]
    Interrupted {
        /// What was asked for.
        url: String,
        /// The blob.
        digest: Digest,
        /// How many bytes of it came.
        offset: u64,
        /// Attempts that did not bring it forward.
        attempts: u32,
        /// Why the last one failed.
        reason: String,
    },

    /// A file with credentials cannot be read or makes no sense.
    #[error("{}: {reason}", path.display())]
    AuthFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// A credential helper failed.
    #[error("credential helper {helper}: {reason}")]
    Helper {
        /// The program.
        helper: String,
        /// What is wrong with it.
        reason: String,
    },

    /// Certificates of authorities cannot be loaded.
    #[error("certificates{}: {reason}", path.as_ref().map_or(String::new(), |path| format!(" in {}", path.display())))]
    Certificates {
        /// The file, if it is one that the caller named.
        path: Option<PathBuf>,
        /// What is wrong with them.
        reason: String,
    },

    /// An option that makes no sense.
    #[error("{option}: {reason}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What is wrong with it.
        reason: String,
    },

    /// The operating system refused what the client needs to run.
    #[error("cannot start an HTTP client")]
    Start(#[source] io::Error),
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Unauthorized { .. } | Self::Challenge { .. } | Self::Token { .. } => ErrorKind::Authentication,
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } | Self::Range { .. } => ErrorKind::Integrity,
            Self::TooLarge { .. } | Self::TooManyRedirects { .. } => ErrorKind::Limit,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::RateLimited { .. } => ErrorKind::RateLimited,
            Self::Unreachable { .. } | Self::Broken { .. } | Self::Stalled { .. } | Self::Interrupted { .. } => {
                ErrorKind::Unreachable
            }
            _ => ErrorKind::Other,
        }
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
    /// Whether a server answered, and refused.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::NotFound { .. } | Self::Unauthorized { .. } => true,
            Self::Status { status, .. } => (400..500).contains(status),
            _ => false,
        }
    }

    /// Whether the same request may well succeed a little later.
    pub(crate) fn is_broken_connection(&self) -> bool {
        matches!(self, Self::Broken { .. } | Self::Stalled { .. })
    }
}

/// A reader's way of passing an [`Error`] on: as the inner error, to be had back with [`io::Error::get_ref`].
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
