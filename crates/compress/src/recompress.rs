//! Compressing a layer again, on all cores.

mod chunked;
mod gzip;
mod workers;
mod zstd;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::num::NonZero;
use std::thread;

use crate::pipeline::{ChunkReader, pipelined};
use crate::producer::{Outlet, Producer};
use crate::{Compression, Error, Limits};

/// The result of functions that may also stop because their reader was dropped.
type Result<T, E = Error> = std::result::Result<T, E>;

/// The most threads that compress one stream. A stream is decoded no faster than a few threads compress it, and each
/// thread takes memory.
const MAX_THREADS: usize = 8;

/// The most buffers of compressed bytes that wait to be read.
const DEPTH: usize = 4;

/// The size of a buffer of compressed bytes.
const BUFFER: usize = 256 << 10;

/// The form of the bytes that [`recompress`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The plain bytes.
    Plain,
    /// One gzip member.
    Gzip {
        /// The level, 1 to 9. `None` is 6.
        level: Option<u32>,
    },
    /// One zstd frame with a window of 8 MiB.
    Zstd {
        /// The level, 1 to 20. `None` is 2. Each level also searches long matches, so the output is smaller than that of
        /// the same level of the program `zstd`.
        level: Option<u32>,
    },
    /// zstd:chunked: zstd frames for the data of each file, and a table of contents, which other decoders skip. The
    /// plain bytes must be a tar.
    ZstdChunked {
        /// The level, 1 to 20. `None` is 3.
        level: Option<u32>,
    },
}

impl Target {
    /// Returns the compression of the bytes.
    pub fn compression(self) -> Compression {
        match self {
            Self::Plain => Compression::None,
            Self::Gzip { .. } => Compression::Gzip,
            Self::Zstd { .. } | Self::ZstdChunked { .. } => Compression::Zstd,
        }
    }

    /// Checks that the compression has the level.
    ///
    /// # Errors
    /// [`Error::Level`]: it does not.
    pub fn check_level(self) -> Result<()> {
        let (level, most) = match self {
            Self::Plain => return Ok(()),
            Self::Gzip { level } => (level, gzip::MAX_LEVEL),
            Self::Zstd { level } | Self::ZstdChunked { level } => (level, zstd::MAX_LEVEL),
        };
        match level {
            Some(level) if level == 0 || level > most => {
                Err(Error::Level { compression: self.compression(), level: i32::try_from(level).unwrap_or(i32::MAX) })
            }
            _ => Ok(()),
        }
    }
}

/// Options of [`recompress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecompressOptions {
    /// The form of the output.
    pub target: Target,
    /// The limits on the plain bytes.
    pub limits: Limits,
    /// The number of threads that compress, at most 8. `None` is the number of cores. The output does not depend on it.
    pub threads: Option<NonZero<usize>>,
}

impl RecompressOptions {
    /// Returns options with the default limits and all cores.
    pub fn new(target: Target) -> Self {
        Self { target, limits: Limits::default(), threads: None }
    }

    fn threads(&self) -> usize {
        self.threads.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZero::get).min(MAX_THREADS)
    }
}

/// Decodes `reader`, of any [`Compression`], and returns a reader of its plain bytes in another form.
///
/// `on_plain` is called with all plain bytes in order, for example to compute a layer's diff id. It runs on another
/// thread, except for [`Target::Plain`]. It is dropped when the output has ended, or after an early drop of the reader.
///
/// The output depends only on the plain bytes and the target. It takes the threads and the memory of [`pipelined`], one
/// more thread, and the threads that compress. Their memory in addition to that of `pipelined` is, for `n` of them:
/// - gzip: 4 MiB, and 2 MiB for each thread.
/// - zstd up to level 9: 20 MiB, and 8 MiB for each thread. From level 10 on, 32 MiB, and 50 MiB for each thread.
/// - zstd:chunked up to level 9: 8 MiB, and 8 MiB for each thread. From level 10 on, 16 MiB for each thread. In addition,
///   the compressed table of contents, and the digests of the chunks of the current file.
///
/// Several streams at a time multiply the memory. They are no faster than two.
///
/// After an early drop, the threads stop when they pass their next buffer. They are not joined, because they may be
/// waiting for the inner reader.
///
/// # Errors
/// [`Error::Level`]: the target does not have this level.
///
/// If a thread cannot be started, the first read returns the error. Errors of the inner reader and of its compressed
/// stream are returned as by [`pipelined`], except that bytes before the error may be missing.
pub fn recompress<R: Read + Send + 'static>(
    reader: R,
    options: &RecompressOptions,
    on_plain: impl FnMut(&[u8]) + Send + 'static,
) -> Result<Recompressed<R>> {
    options.target.check_level()?;
    let plain = Plain { reader: pipelined(reader, &options.limits), on_plain: Box::new(on_plain), size: 0, left: 0 };
    let threads = options.threads();
    let form = match options.target {
        Target::Plain => Form::Plain(plain),
        Target::Gzip { level } => start(plain, move |plain, outlet| gzip::compress(plain, outlet, level, threads)),
        Target::Zstd { level } => start(plain, move |plain, outlet| zstd::compress(plain, outlet, level, threads)),
        Target::ZstdChunked { level } => {
            start(plain, move |plain, outlet| chunked::compress(plain, outlet, level, threads))
        }
    };
    Ok(Recompressed { form, size: 0 })
}

/// Starts a thread for a function that compresses all plain bytes.
fn start<R: Read + Send + 'static>(
    mut plain: Plain<R>,
    compress: impl FnOnce(&mut Plain<R>, &Outlet<Vec<u8>>) -> Result<Annotations, Stop> + Send + 'static,
) -> Form<R> {
    let work = move |outlet: Outlet<Vec<u8>>| {
        let finished =
            compress(&mut plain, &outlet).and_then(|annotations| Ok(Finished { annotations, ..plain.finish()? }));
        match finished {
            Ok(finished) => Some(finished),
            Err(Stop::Dropped) => None,
            Err(Stop::Failed(error)) => {
                outlet.send(Err(error))?;
                None
            }
        }
    };
    Form::Compressed { producer: Producer::start("recompress", DEPTH, work), current: None, taken: 0 }
}

/// Annotations of a layer.
type Annotations = BTreeMap<String, String>;

/// The reason why compressing stops early.
#[derive(Debug)]
enum Stop {
    /// The reader of the output was dropped.
    Dropped,
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Passes a buffer to the reader of the output.
fn send(outlet: &Outlet<Vec<u8>>, buffer: Vec<u8>) -> Result<(), Stop> {
    outlet.send(Ok(buffer)).ok_or(Stop::Dropped)
}

/// The function that is called with the plain bytes.
type Tap = Box<dyn FnMut(&[u8]) + Send>;

/// The decoded bytes.
struct Plain<R> {
    reader: ChunkReader<R>,
    on_plain: Tap,
    size: u64,
    /// The number of bytes of the current chunk that are not consumed.
    left: usize,
}

impl<R> Plain<R> {
    /// Returns the rest of the current chunk, or the next one. It is empty at the end.
    fn fill(&mut self) -> io::Result<&[u8]> {
        let bytes = self.reader.fill_buf()?;
        if self.left == 0 {
            (self.on_plain)(bytes);
            self.left = bytes.len();
            self.size += bytes.len() as u64;
        }
        Ok(bytes)
    }

    fn consume(&mut self, n: usize) {
        self.reader.consume(n);
        self.left = self.left.saturating_sub(n);
    }

    /// Reads to the end.
    fn finish(mut self) -> Result<Finished<R>> {
        loop {
            match self.fill()?.len() {
                0 => break,
                n => self.consume(n),
            }
        }
        Ok(Finished { plain_size: self.size, annotations: Annotations::new(), reader: self.reader.finish()? })
    }
}

/// A reader of recompressed bytes. Created by [`recompress`].
///
/// The end of the file is reported only if the compressed input is complete and the inner reader is at its end.
pub struct Recompressed<R> {
    form: Form<R>,
    size: u64,
}

enum Form<R> {
    Plain(Plain<R>),
    Compressed { producer: Producer<Vec<u8>, Finished<R>>, current: Option<Vec<u8>>, taken: usize },
}

/// The result of [`Recompressed::finish`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Finished<R> {
    /// The number of plain bytes.
    pub plain_size: u64,
    /// The annotations of the layer's descriptor, by which readers find the table of contents of zstd:chunked. Empty for
    /// the other targets.
    pub annotations: BTreeMap<String, String>,
    /// The inner reader, which is at its end.
    pub reader: R,
}

impl<R> Recompressed<R> {
    /// Returns the number of bytes consumed of the output.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads to the end, and returns the facts that are known there.
    ///
    /// # Errors
    /// - The errors of the rest of the stream.
    /// - [`Error::FailedBefore`]: an earlier read failed.
    pub fn finish(mut self) -> Result<Finished<R>> {
        loop {
            match self.fill_buf()?.len() {
                0 => break,
                n => self.consume(n),
            }
        }
        match self.form {
            Form::Plain(plain) => plain.finish(),
            Form::Compressed { producer, .. } => producer.into_inner(),
        }
    }
}

impl<R> BufRead for Recompressed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match &mut self.form {
            Form::Plain(plain) => plain.fill(),
            Form::Compressed { producer, current, taken } => {
                while current.as_ref().is_none_or(|buffer| buffer.len() == *taken) {
                    *taken = 0;
                    let used = current.take();
                    *current = producer.next(used)?;
                    if current.is_none() {
                        return Ok(&[]);
                    }
                }
                Ok(current.as_ref().map_or(&[], |buffer| &buffer[*taken..]))
            }
        }
    }

    fn consume(&mut self, n: usize) {
        match &mut self.form {
            Form::Plain(plain) => plain.consume(n),
            Form::Compressed { current, taken, .. } => {
                *taken = (*taken + n).min(current.as_ref().map_or(0, Vec::len));
            }
        }
        self.size += n as u64;
    }
}

impl<R> Read for Recompressed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(out)?;
        self.consume(n);
        Ok(n)
    }
}

impl<R> fmt::Debug for Recompressed<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recompressed").field("size", &self.size).finish_non_exhaustive()
    }
}
