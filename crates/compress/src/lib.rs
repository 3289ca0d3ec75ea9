//! Detecting, decoding and encoding the compressed streams of image layers, with limits.
//!
//! [`Decoder`] decodes on the caller's thread. [`pipelined`] decodes on a thread of its own and passes whole buffers,
//! so that hashing and indexing run concurrently. Both detect the compression from the first bytes. [`Encoder`]
//! compresses.

mod budget;
mod bzip2;
mod chunk;
mod compression;
mod decoder;
mod encoder;
mod error;
mod gzip;
mod inflate;
mod input;
mod limits;
mod pieces;
mod pipeline;
mod producer;
mod progress;
mod read_ahead;
mod recompress;
mod speculation;
mod stream;
mod xz;
mod zstd;

pub use compression::Compression;
pub use decoder::Decoder;
pub use encoder::{Encoder, EncoderOptions};
pub use error::{Error, Result};
pub use limits::Limits;
pub use pipeline::{ChunkReader, pipelined, pipelined_on};
pub use recompress::{Finished, RecompressOptions, Recompressed, Target, recompress};
