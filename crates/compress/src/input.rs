//! The compressed stream, read in large pieces and counted.

use std::io::{Empty, ErrorKind, Read, empty};

use crate::{Error, Result};

/// Bytes asked of the reader at once: stays in the second level cache.
const BUFFER: usize = 128 << 10;

/// Bytes that can be given back after they were taken: a DEFLATE decoder takes eight at a time.
const GIVE_BACK: usize = 8;

/// A buffered reader that can look ahead by more than what is left in its buffer.
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

    /// What is buffered, after a read if nothing was; empty only at the end of the stream.
    pub(crate) fn fill(&mut self) -> Result<&[u8]> {
        self.fill_to(1)
    }

    /// What is buffered, after reads until it is at least `n` bytes; less only at the end of the stream.
    ///
    /// `n` is at most a few dozen: what is left in the buffer is moved to its front.
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

    /// Takes `n` bytes of what is buffered.
    pub(crate) fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.end - self.start);
        self.start += n;
    }

    /// Undoes the taking of the last `n` bytes, at most [`GIVE_BACK`], since when [`Self::read`] was not called.
    pub(crate) fn give_back(&mut self, n: usize) {
        debug_assert!(n <= self.start.min(GIVE_BACK));
        self.start -= n;
    }

    /// Takes bytes into `out`, straight from the reader once nothing is buffered; 0 at the end of the stream.
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

    /// How many bytes were taken.
    pub(crate) fn consumed(&self) -> u64 {
        self.read - (self.end - self.start) as u64
    }

    /// How many bytes the reader gave.
    pub(crate) fn read_total(&self) -> u64 {
        self.read
    }

    /// Takes bytes up to byte `at` of the stream; returns how many of them the reader has to skip.
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

/// A part of a stream that is in memory as a whole.
impl Input<Empty> {
    pub(crate) fn of_part(capacity: usize) -> Self {
        Self { reader: empty(), buffer: vec![0; capacity].into(), start: 0, end: 0, ended: true, read: 0 }
    }

    /// Replaces the part by as much of `pieces` as fits, which begin at byte `base` of the stream.
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

    /// The whole part.
    pub(crate) fn part(&self) -> &[u8] {
        &self.buffer[..self.end]
    }

    /// Goes to byte `at` of the part.
    pub(crate) fn seek(&mut self, at: usize) {
        self.start = at.min(self.end);
    }
}

fn read_some(reader: &mut impl Read, out: &mut [u8]) -> Result<usize> {
    loop {
        match reader.read(out) {
            // A reader that claims more than it was given room for must not make us index out of bounds.
            Ok(n) => return Ok(n.min(out.len())),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::from(e)),
        }
    }
}
