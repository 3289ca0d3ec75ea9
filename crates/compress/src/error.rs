//! Errors from decoding and encoding compressed streams.

use std::io;

use vmroot_errors::{Classified, ErrorKind, Limit};

use crate::Compression;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error from decoding or encoding a stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The compressed stream ends early.
    #[error("truncated {compression} stream: it ends after {consumed} bytes")]
    Truncated {
        /// The compression of the stream.
        compression: Compression,
        /// The length of the compressed stream in bytes.
        consumed: u64,
    },
    /// The compressed stream violates its format, or a checksum is wrong.
    #[error("corrupt {compression} stream near byte {consumed}: {reason}")]
    Corrupt {
        /// The compression of the stream.
        compression: Compression,
        /// The number of compressed bytes read before the error was detected.
        consumed: u64,
        /// The reason.
        reason: &'static str,
    },
    /// The bytes after the end of the compressed stream are neither another frame nor zero padding.
    #[error("bytes that are not {compression} follow the end of the {compression} stream at byte {offset}")]
    TrailingGarbage {
        /// The compression of the stream.
        compression: Compression,
        /// The offset of those bytes in the compressed stream.
        offset: u64,
    },
    /// The output exceeds [`Limits::max_output`](crate::Limits::max_output).
    #[error("the stream decodes to more than {limit} bytes (the limit max_output)")]
    OutputLimit {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The output, blocks of zeros not counted, exceeds [`Limits::max_data`](crate::Limits::max_data).
    #[error("the stream decodes to more than {limit} bytes, blocks of zeros not counted (the limit max_data)")]
    DataLimit {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The ratio of output to input exceeds [`Limits::max_ratio`](crate::Limits::max_ratio).
    #[error(
        "the stream decodes to more than {limit} times its size: {produced} bytes out of {consumed}, blocks of zeros not \
         counted (the limit max_ratio)"
    )]
    RatioLimit {
        /// The limit, output over input.
        limit: u64,
        /// The number of compressed bytes.
        consumed: u64,
        /// The number of decoded bytes, blocks of zeros not counted.
        produced: u64,
    },
    /// The stream needs more memory than the decoder may use.
    #[error("the {compression} stream needs a decoder with more memory than {limit} bytes (the limit zstd_window_log)")]
    MemoryLimit {
        /// The compression of the stream.
        compression: Compression,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The stream was read again after an error.
    #[error("the stream has failed before")]
    FailedBefore,
    /// A thread that decodes or compresses panicked.
    #[error("a thread of the compressed stream panicked")]
    Panicked,
    /// A thread that decodes or compresses could not be started.
    #[error("cannot start a thread for the compressed stream")]
    Thread(#[source] io::Error),
    /// This crate can decode the compression but not encode it.
    #[error("writing {0} is not supported")]
    NotWritten(Compression),
    /// A level that the compression does not have.
    #[error("{compression} has no level {level}")]
    Level {
        /// The compression.
        compression: Compression,
        /// The requested level.
        level: i32,
    },
    /// The encoder failed, for example because it has too little memory.
    #[error("cannot compress to {compression}: {reason}")]
    Encoder {
        /// The compression.
        compression: Compression,
        /// The reason.
        reason: &'static str,
    },
    /// The plain bytes cannot be a layer of the form zstd:chunked.
    #[error("the tar entry near byte {offset} of the layer cannot be written as zstd:chunked: {reason}")]
    NotChunked {
        /// The offset in the tar, near the entry.
        offset: u64,
        /// The reason.
        reason: &'static str,
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
            Self::Panicked | Self::Encoder { .. } => ErrorKind::Other,
            Self::NotChunked { .. } => ErrorKind::Usage,
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
    /// Returns the error of this crate inside an `io::Error` from one of its readers or writers.
    ///
    /// Returns `None` if the error comes from the underlying reader or writer.
    pub fn in_io(error: &io::Error) -> Option<&Self> {
        Classified::of(error)?.error().downcast_ref()
    }
}

impl From<io::Error> for Error {
    /// Unwraps an error that [`io::Error::from`] wrapped. Any other error becomes [`Error::Io`].
    fn from(error: io::Error) -> Self {
        if Self::in_io(&error).is_none() {
            return Self::Io(error);
        }
        let classified = error.downcast::<Classified>().expect("it holds one");
        *classified.into_error().downcast().expect("it holds one of this crate")
    }
}

impl From<Error> for io::Error {
    /// Unwraps an [`Error::Io`], and wraps every other error. [`Error::in_io`] returns a wrapped error.
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Io(_) | Error::Thread(_) | Error::Panicked | Error::FailedBefore | Error::Encoder { .. } => {
                io::ErrorKind::Other
            }
            Error::Truncated { .. } => io::ErrorKind::UnexpectedEof,
            Error::Corrupt { .. } | Error::TrailingGarbage { .. } => io::ErrorKind::InvalidData,
            Error::OutputLimit { .. }
            | Error::DataLimit { .. }
            | Error::RatioLimit { .. }
            | Error::MemoryLimit { .. } => io::ErrorKind::InvalidData,
            Error::NotWritten(_) | Error::NotChunked { .. } => io::ErrorKind::Unsupported,
            Error::Level { .. } => io::ErrorKind::InvalidInput,
        };
        match error {
            Error::Io(error) => error,
            error => Self::new(kind, Classified::new(error.kind(), error.limit(), error)),
        }
    }
}
