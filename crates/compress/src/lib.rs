//! Recognises, decodes and encodes the compressed streams that image layers come in, with limits.
//!
//! [`Decoder`] decodes on the caller's thread; [`pipelined`] decodes on a thread of its own and hands over whole buffers,
//! so that hashing and indexing run beside it. Both recognise the compression by its first bytes. [`Encoder`] writes.

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
mod read_ahead;
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
