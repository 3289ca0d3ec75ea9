//! Compressing a stream.

use std::fmt;
use std::io::{self, Write};

use flate2::write::GzEncoder;

use crate::{Compression, Error, Result};

/// Options of an [`Encoder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderOptions {
    /// [`Compression::None`], [`Compression::Gzip`] or [`Compression::Zstd`].
    pub compression: Compression,
    /// The level: 0 to 9 for gzip (`None` is 6), 1 to 22 for zstd (`None` is 3). Ignored without compression.
    pub level: Option<i32>,
    /// The number of additional threads for zstd. With 0, the caller's thread compresses. The output with 0 differs
    /// from the output with more, which does not depend on their number.
    pub threads: u32,
}

enum Format<W: Write> {
    Plain(W),
    Gzip(GzEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
}

/// A writer that compresses into `W`.
///
/// Call [`Self::finish`] at the end. Without it the stream is truncated.
pub struct Encoder<W: Write> {
    format: Format<W>,
}

impl<W: Write> Encoder<W> {
    /// Creates an encoder. The output depends only on the input and the options.
    ///
    /// # Errors
    /// - [`Error::NotWritten`]: the compression cannot be written.
    /// - [`Error::Level`]: the compression does not have this level.
    /// - [`Error::Io`]: zstd cannot start its threads.
    pub fn new(writer: W, options: &EncoderOptions) -> Result<Self> {
        let format = match options.compression {
            Compression::None => Format::Plain(writer),
            Compression::Gzip => Format::Gzip(GzEncoder::new(writer, flate2::Compression::new(gzip_level(options)?))),
            Compression::Zstd => Format::Zstd(zstd_encoder(writer, options)?),
            other => return Err(Error::NotWritten(other)),
        };
        Ok(Self { format })
    }

    /// Writes the end of the stream, flushes the writer and returns it.
    ///
    /// # Errors
    /// The error of the writer.
    pub fn finish(self) -> io::Result<W> {
        let mut writer = match self.format {
            Format::Plain(writer) => writer,
            Format::Gzip(encoder) => encoder.finish()?,
            Format::Zstd(encoder) => encoder.finish()?,
        };
        writer.flush()?;
        Ok(writer)
    }

    /// Returns the inner writer.
    pub fn get_ref(&self) -> &W {
        match &self.format {
            Format::Plain(writer) => writer,
            Format::Gzip(encoder) => encoder.get_ref(),
            Format::Zstd(encoder) => encoder.get_ref(),
        }
    }
}

fn gzip_level(options: &EncoderOptions) -> Result<u32> {
    let level = options.level.unwrap_or(6);
    u32::try_from(level).ok().filter(|level| *level <= 9).ok_or(Error::Level { compression: Compression::Gzip, level })
}

fn zstd_encoder<W: Write>(writer: W, options: &EncoderOptions) -> Result<zstd::Encoder<'static, W>> {
    let level = options.level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
    if !(1..=22).contains(&level) {
        return Err(Error::Level { compression: Compression::Zstd, level });
    }
    let mut encoder = zstd::Encoder::new(writer, level)?;
    encoder.include_checksum(true)?;
    if options.threads > 0 {
        encoder.multithread(options.threads)?;
    }
    Ok(encoder)
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.format {
            Format::Plain(writer) => writer.write(bytes),
            Format::Gzip(encoder) => encoder.write(bytes),
            Format::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.format {
            Format::Plain(writer) => writer.flush(),
            Format::Gzip(encoder) => encoder.flush(),
            Format::Zstd(encoder) => encoder.flush(),
        }
    }
}

impl<W: Write> fmt::Debug for Encoder<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.format {
            Format::Plain(_) => "Encoder::Plain",
            Format::Gzip(_) => "Encoder::Gzip",
            Format::Zstd(_) => "Encoder::Zstd",
        })
    }
}
