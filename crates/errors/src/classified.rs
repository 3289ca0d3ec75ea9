//! Errors of vmroot inside [`io::Error`].

use std::error::Error;
use std::fmt;
use std::io;

use crate::{ErrorKind, Limit};

/// An error inside an [`io::Error`], with its kind and limit, for readers of a stream that do not know its type.
///
/// It displays as the error itself.
#[derive(Debug)]
pub struct Classified {
    kind: ErrorKind,
    limit: Option<Limit>,
    error: Box<dyn Error + Send + Sync>,
}

impl Classified {
    /// Wraps an error.
    pub fn new(kind: ErrorKind, limit: Option<Limit>, error: impl Error + Send + Sync + 'static) -> Self {
        Self { kind, limit, error: Box::new(error) }
    }

    /// Returns the wrapped error that an [`io::Error`] holds, if it holds one.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the limit that was exceeded.
    pub fn limit(&self) -> Option<Limit> {
        self.limit
    }

    /// Returns the error itself.
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.error
    }

    /// Unwraps the error.
    pub fn into_error(self) -> Box<dyn Error + Send + Sync> {
        self.error
    }
}

impl fmt::Display for Classified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for Classified {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}
