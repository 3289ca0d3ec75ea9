//! What can be wrong with a compressed stream.

use std::io;

use vmroot_errors::{Classified, ErrorKind, Limit};

use crate::Compression;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// A stream that cannot be decoded or encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The compressed stream ends before what it holds does.
    #[error("truncated {compression} stream: it ends after {consumed} bytes")]
    Truncated {
        /// How the stream is compressed.
        compression: Compression,
        /// Bytes of the compressed stream that there are.
        consumed: u64,
    },
    /// The compressed stream breaks its format or a checksum.
    #[error("corrupt {compression} stream near byte {consumed}: {reason}")]
    Corrupt {
        /// How the stream is compressed.
        compression: Compression,
        /// Bytes of the compressed stream that were taken in when it was noticed.
        consumed: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// Something follows the end of the compressed stream that is neither more of it nor zero padding.
    #[error("bytes that are not {compression} follow the end of the {compression} stream at byte {offset}")]
    TrailingGarbage {
        /// How the stream is compressed.
        compression: Compression,
        /// Where the bytes are that do not belong.
        offset: u64,
    },
    /// More came out than [`Limits::max_output`](crate::Limits::max_output) allows.
    #[error("the stream decodes to more than the limit of {limit} bytes")]
    OutputLimit {
        /// The limit, in bytes.
        limit: u64,
    },
    /// More data came out than [`Limits::max_data`](crate::Limits::max_data) allows.
    #[error("the stream decodes to more than the limit of {limit} bytes, blocks of zeros not counted")]
    DataLimit {
        /// The limit, in bytes.
        limit: u64,
    },
    /// More data came out for what went in than [`Limits::max_ratio`](crate::Limits::max_ratio) allows.
    #[error(
        "the stream decodes to more than {limit} times its size: {produced} bytes out of {consumed}, blocks of zeros not \
         counted"
    )]
    RatioLimit {
        /// The limit, output over input.
        limit: u64,
        /// Bytes that went in.
        consumed: u64,
        /// Bytes that came out, blocks of zeros not counted.
        produced: u64,
    },
    /// The stream asks for more memory than its decoder is given.
    #[error("the {compression} stream needs a decoder with more memory than the limit of {limit} bytes")]
    MemoryLimit {
        /// How the stream is compressed.
        compression: Compression,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The stream was read again after it had failed.
    #[error("the stream has failed before")]
    FailedBefore,
    /// The thread that decodes panicked.
    #[error("the decoding thread panicked")]
    Panicked,
    /// The thread that decodes could not be started.
    #[error("cannot start the decoding thread")]
    Thread(#[source] io::Error),
    /// This crate reads that compression and does not write it.
    #[error("writing {0} is not supported")]
    NotWritten(Compression),
    /// A level that the compression does not have.
    #[error("{compression} has no level {level}")]
    Level {
        /// The compression.
        compression: Compression,
        /// The level asked for.
        level: i32,
    },
    /// The underlying reader or writer failed.
    #[error(transparent)]
    Io(io::Error),
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::OutputLimit { .. } | Self::DataLimit { .. } | Self::RatioLimit { .. } | Self::MemoryLimit { .. } => {
                ErrorKind::Limit
            }
            Self::NotWritten(_) | Self::Level { .. } => ErrorKind::Usage,
            Self::Io(error) | Self::Thread(error) => ErrorKind::of_io(error),
            Self::Panicked => ErrorKind::Other,
            Self::Truncated { .. } | Self::Corrupt { .. } | Self::TrailingGarbage { .. } | Self::FailedBefore => {
                ErrorKind::Integrity
            }
        }
    }

    /// Returns the limit that an input passed, for an error of [`ErrorKind::Limit`] that has one with a name.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::OutputLimit { .. } => Some(Limit::MaxOutput),
            Self::DataLimit { .. } => Some(Limit::MaxData),
            Self::RatioLimit { .. } => Some(Limit::MaxRatio),
            Self::MemoryLimit { compression: Compression::Zstd, .. } => Some(Limit::ZstdWindowLog),
            _ => None,
        }
    }
}

impl Error {
    /// The error of this crate that `error`, got from one of its readers or writers, carries.
    ///
    /// `None` when the error is the underlying reader's or writer's own.
    pub fn in_io(error: &io::Error) -> Option<&Self> {
        Classified::of(error)?.error().downcast_ref()
    }
}

impl From<io::Error> for Error {
    /// Unwraps what [`io::Error::from`] wrapped; every other error is [`Error::Io`].
    fn from(error: io::Error) -> Self {
        if Self::in_io(&error).is_none() {
            return Self::Io(error);
        }
        let classified = error.downcast::<Classified>().expect("it holds one");
        *classified.into_error().downcast().expect("it holds one of this crate")
    }
}

impl From<Error> for io::Error {
    /// An [`Error::Io`] is passed on as it was, all others are wrapped: see [`Error::in_io`].
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Io(_) | Error::Thread(_) | Error::Panicked | Error::FailedBefore => io::ErrorKind::Other,
            Error::Truncated { .. } => io::ErrorKind::UnexpectedEof,
            Error::Corrupt { .. } | Error::TrailingGarbage { .. } => io::ErrorKind::InvalidData,
            Error::OutputLimit { .. }
            | Error::DataLimit { .. }
            | Error::RatioLimit { .. }
            | Error::MemoryLimit { .. } => io::ErrorKind::InvalidData,
            Error::NotWritten(_) => io::ErrorKind::Unsupported,
            Error::Level { .. } => io::ErrorKind::InvalidInput,
        };
        match error {
            Error::Io(error) => error,
            error => Self::new(kind, Classified::new(error.kind(), error.limit(), error)),
        }
    }
}
