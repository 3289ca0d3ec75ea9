//! Decoding on a thread of its own, beside the work on what was decoded.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use crate::ahead::Supply;
use crate::budget::Budget;
use crate::chunk::Chunk;
use crate::speculation::{Sizes, Speculation};
use crate::stream::Stream;
use crate::{Error, Limits, Result};

/// Decoded bytes handed over at once, in bytes.
const CAPACITY: usize = 1 << 20;

/// Chunks that may wait to be taken.
const DEPTH: usize = 4;

/// Decodes `reader`, of any [`Compression`](crate::Compression), on a thread of its own.
///
/// Where the machine has four cores or more and few streams are decoded, more threads work on a large gzip stream: one reads,
/// others decode parts before it is their turn. The output is the same.
///
/// A thread that cannot be started is an error of the first read.
pub fn pipelined<R: Read + Send + 'static>(reader: R, limits: &Limits) -> ChunkReader<R> {
    spread(reader, limits, Budget::of_process(), Sizes::NORMAL)
}

/// [`pipelined`], as if the machine had so many cores and no other stream were decoded.
///
/// This is for measurements.
pub fn pipelined_on<R: Read + Send + 'static>(reader: R, limits: &Limits, cores: usize) -> ChunkReader<R> {
    spread(reader, limits, Budget::new(cores), Sizes::NORMAL)
}

pub(crate) fn spread<R: Read + Send + 'static>(
    reader: R,
    limits: &Limits,
    budget: Arc<Budget>,
    sizes: Sizes,
) -> ChunkReader<R> {
    let limits = *limits;
    let (send, chunks) = sync_channel(DEPTH);
    let (recycle, recycled) = channel();
    let decode = move || decode(reader, &limits, Speculation::new(budget.share(), sizes), &send, &recycled);
    let spawned = thread::Builder::new().name("decode".into()).spawn(decode);
    let source = match spawned {
        Ok(thread) => Source::Running { chunks, recycle, thread },
        Err(error) => Source::Failing(Error::Thread(error)),
    };
    ChunkReader { source, current: None, taken: 0, consumed: 0 }
}

/// What runs on the thread: gives the reader back if all of it was decoded.
fn decode<R: Read + Send + 'static>(
    reader: R,
    limits: &Limits,
    mut pieces: Speculation,
    chunks: &SyncSender<Result<Chunk>>,
    recycled: &Receiver<Chunk>,
) -> Option<R> {
    let mut stream = match Stream::open(Supply::new(reader), limits, CAPACITY) {
        Ok(stream) => stream,
        Err(error) => {
            // Nobody to tell when the other end is gone.
            let _ = chunks.send(Err(error));
            return None;
        }
    };
    loop {
        let mut chunk = recycled.try_recv().unwrap_or_else(|_| Chunk::new(CAPACITY));
        match stream.fill(&mut chunk, &mut pieces) {
            Ok(()) if chunk.is_empty() => return stream.into_reader().into_reader(),
            Ok(()) => chunks.send(Ok(chunk)).ok()?,
            Err(error) => {
                let _ = chunks.send(Err(error));
                return None;
            }
        }
    }
}

enum Source<R> {
    Running { chunks: Receiver<Result<Chunk>>, recycle: Sender<Chunk>, thread: JoinHandle<Option<R>> },
    Failing(Error),
    Failed,
    Ended(R),
}

/// Reads what a thread decodes; made by [`pipelined`].
///
/// [`BufRead::fill_buf`] lends the thread's buffers without copying them. Errors come after the bytes decoded before
/// them, as with [`Decoder`](crate::Decoder). Dropping the reader early stops the thread as soon as it has a chunk to
/// hand over; it is not waited for, since it may be waiting for the underlying reader.
pub struct ChunkReader<R> {
    source: Source<R>,
    current: Option<Chunk>,
    taken: usize,
    consumed: u64,
}

impl<R> ChunkReader<R> {
    /// Compressed bytes that went into what was read so far, with the chunk being read counted as a whole.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Reads to the end, then gives back the reader of the compressed bytes, which is at its end too.
    ///
    /// # Errors
    /// Whatever reading on to the end meets.
    pub fn finish(mut self) -> Result<R> {
        while self.advance()? {}
        match self.source {
            Source::Ended(reader) => Ok(reader),
            _ => Err(Error::FailedBefore),
        }
    }

    /// Goes on to the next chunk; `false` at the end.
    fn advance(&mut self) -> Result<bool> {
        self.taken = 0;
        let Source::Running { chunks, recycle, .. } = &self.source else {
            return self.after_end();
        };
        if let Some(mut used) = self.current.take() {
            used.permit = None;
            // The thread may be done with all its chunks.
            let _ = recycle.send(used);
        }
        match chunks.recv() {
            Ok(Ok(chunk)) => {
                self.consumed = chunk.consumed;
                self.current = Some(chunk);
                Ok(true)
            }
            Ok(Err(error)) => {
                self.source = Source::Failed;
                Err(error)
            }
            Err(_) => self.join(),
        }
    }

    /// The thread has hung up without an error: it came to the end, or panicked.
    fn join(&mut self) -> Result<bool> {
        if let Source::Running { thread, .. } = std::mem::replace(&mut self.source, Source::Failed) {
            self.source = match thread.join() {
                Ok(Some(reader)) => Source::Ended(reader),
                _ => Source::Failing(Error::Panicked),
            };
        }
        self.after_end()
    }

    fn after_end(&mut self) -> Result<bool> {
        self.current = None;
        match std::mem::replace(&mut self.source, Source::Failed) {
            Source::Failing(error) => Err(error),
            Source::Ended(reader) => {
                self.source = Source::Ended(reader);
                Ok(false)
            }
            _ => Err(Error::FailedBefore),
        }
    }
}

impl<R> BufRead for ChunkReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.as_ref().is_none_or(|chunk| chunk.len() == self.taken) {
            self.advance()?;
        }
        Ok(self.current.as_ref().map_or(&[], |chunk| &chunk.bytes()[self.taken..]))
    }

    fn consume(&mut self, n: usize) {
        let len = self.current.as_ref().map_or(0, Chunk::len);
        self.taken = (self.taken + n).min(len);
    }
}

impl<R> Read for ChunkReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(out)?;
        self.consume(n);
        Ok(n)
    }
}

impl<R> fmt::Debug for ChunkReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkReader").field("consumed", &self.consumed).finish_non_exhaustive()
    }
}
