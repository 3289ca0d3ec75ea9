//! The compressed input, read in large pieces and counted.

use std::io::{Empty, ErrorKind, Read, empty};

use crate::{Error, Result};

/// The size of the buffer in bytes. It fits in the L2 cache.
const BUFFER: usize = 128 << 10;

/// The number of consumed bytes that can be returned. A DEFLATE decoder reads eight at a time.
const GIVE_BACK: usize = 8;

/// A buffered reader with lookahead across the end of its buffer.
#[derive(Debug)]
pub(crate) struct Input<R> {
    reader: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    ended: bool,
    read: u64,
}

impl<R: Read> Input<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, buffer: vec![0; BUFFER].into(), start: 0, end: 0, ended: false, read: 0 }
    }

    /// Returns the buffered bytes, after a read if there are none. They are empty only at the end of the stream.
    pub(crate) fn fill(&mut self) -> Result<&[u8]> {
        self.fill_to(1)
    }

    /// Returns the buffered bytes, after reads if there are fewer than `n`. They are fewer only at the end of the
    /// stream.
    ///
    /// `n` must be at most a few dozen, because the rest of the buffer is moved to its front.
    pub(crate) fn fill_to(&mut self, n: usize) -> Result<&[u8]> {
        while self.end - self.start < n && !self.ended {
            let kept = self.start.saturating_sub(GIVE_BACK);
            self.buffer.copy_within(kept..self.end, 0);
            self.end -= kept;
            self.start -= kept;
            let got = read_some(&mut self.reader, &mut self.buffer[self.end..])?;
            self.end += got;
            self.read += got as u64;
            self.ended = got == 0;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Consumes `n` of the buffered bytes.
    pub(crate) fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.end - self.start);
        self.start += n;
    }

    /// Returns the last `n` consumed bytes, at most [`GIVE_BACK`], to the buffer. [`Self::read`] must not have been
    /// called since then.
    pub(crate) fn give_back(&mut self, n: usize) {
        debug_assert!(n <= self.start.min(GIVE_BACK));
        self.start -= n;
    }

    /// Reads bytes into `out`, directly from the reader if nothing is buffered. Returns 0 at the end of the stream.
    pub(crate) fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        let buffered = self.end - self.start;
        if buffered == 0 && !self.ended {
            let got = read_some(&mut self.reader, out)?;
            self.read += got as u64;
            self.ended = got == 0 && !out.is_empty();
            return Ok(got);
        }
        let n = buffered.min(out.len());
        out[..n].copy_from_slice(&self.buffer[self.start..self.start + n]);
        self.start += n;
        Ok(n)
    }

    /// Returns the number of bytes consumed.
    pub(crate) fn consumed(&self) -> u64 {
        self.read - (self.end - self.start) as u64
    }

    /// Returns the number of bytes read from the reader.
    pub(crate) fn read_total(&self) -> u64 {
        self.read
    }

    /// Consumes the bytes up to byte `at` of the stream. Returns the number of them that the reader has to skip.
    pub(crate) fn skip_to(&mut self, at: u64) -> u64 {
        let n = at.saturating_sub(self.consumed());
        let buffered = n.min((self.end - self.start) as u64);
        self.start += buffered as usize; // no more than is buffered
        self.read += n - buffered;
        n - buffered
    }

    pub(crate) fn get_mut(&mut self) -> &mut R {
        &mut self.reader
    }

    pub(crate) fn get_ref(&self) -> &R {
        &self.reader
    }

    pub(crate) fn into_reader(self) -> R {
        self.reader
    }
}

/// A part of a stream in memory.
impl Input<Empty> {
    pub(crate) fn of_part(capacity: usize) -> Self {
        Self { reader: empty(), buffer: vec![0; capacity].into(), start: 0, end: 0, ended: true, read: 0 }
    }

    /// Replaces the part by the bytes of `pieces`, as many as fit. The first one is byte `base` of the stream.
    pub(crate) fn load<'a>(&mut self, base: u64, pieces: impl IntoIterator<Item = &'a [u8]>) {
        (self.start, self.end) = (0, 0);
        for piece in pieces {
            let room = &mut self.buffer[self.end..];
            let n = piece.len().min(room.len());
            room[..n].copy_from_slice(&piece[..n]);
            self.end += n;
        }
        self.read = base + self.end as u64;
    }

    /// Returns the whole part.
    pub(crate) fn part(&self) -> &[u8] {
        &self.buffer[..self.end]
    }

    /// Moves to byte `at` of the part.
    pub(crate) fn seek(&mut self, at: usize) {
        self.start = at.min(self.end);
    }
}

fn read_some(reader: &mut impl Read, out: &mut [u8]) -> Result<usize> {
    loop {
        match reader.read(out) {
            // A faulty reader may return a larger number than `out` has room for.
            Ok(n) => return Ok(n.min(out.len())),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::from(e)),
        }
    }
}
