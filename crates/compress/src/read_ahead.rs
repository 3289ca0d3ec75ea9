//! Reading compressed bytes on a thread of its own, ahead of their decoder.

use std::io::{self, ErrorKind, Read};

use crate::Result;
use crate::producer::{Outlet, Producer};

/// Bytes handed over at once.
const PIECE: usize = 256 << 10;

/// Pieces that may wait to be taken: a mebibyte covers the pauses of a socket, and stays in the cache.
const DEPTH: usize = 4;

/// Reads what another thread has read from `R`.
///
/// The reader of a layer's blob hashes and stores what it reads. Decoding is the longest step of indexing a layer, so
/// nothing else may run on the decoder's thread.
pub(crate) struct ReadAhead<R> {
    producer: Producer<Vec<u8>, R>,
    piece: Option<Vec<u8>>,
    taken: usize,
}

impl<R: Read + Send + 'static> ReadAhead<R> {
    /// Starts reading.
    pub(crate) fn new(reader: R) -> Self {
        let producer = Producer::start("read", DEPTH, move |outlet| read_all(reader, &outlet));
        Self { producer, piece: None, taken: 0 }
    }
}

impl<R> ReadAhead<R> {
    /// The reader, once the end was read.
    pub(crate) fn into_inner(self) -> Result<R> {
        self.producer.into_inner()
    }
}

/// Runs on the thread: returns the reader when all of it was read.
fn read_all<R: Read>(mut reader: R, outlet: &Outlet<Vec<u8>>) -> Option<R> {
    loop {
        let mut piece = outlet.spent().unwrap_or_default();
        piece.resize(PIECE, 0);
        let (length, read) = read_piece(&mut reader, &mut piece);
        piece.truncate(length);
        if length > 0 {
            outlet.send(Ok(piece))?;
        }
        match read {
            Ok(true) => {}
            Ok(false) => return Some(reader),
            Err(error) => {
                outlet.send(Err(error.into()))?;
                return None;
            }
        }
    }
}

/// Fills `piece`. Returns the number of bytes, and whether more may follow or the error that came after them.
fn read_piece(reader: &mut impl Read, piece: &mut [u8]) -> (usize, io::Result<bool>) {
    let mut length = 0;
    while length < piece.len() {
        match reader.read(&mut piece[length..]) {
            Ok(0) => return (length, Ok(false)),
            // A reader may claim more than it had room for.
            Ok(count) => length += count.min(piece.len() - length),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (length, Err(error)),
        }
    }
    (length, Ok(true))
}

impl<R> Read for ReadAhead<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.piece.as_ref().is_none_or(|piece| piece.len() == self.taken) {
            self.taken = 0;
            self.piece = self.producer.next(self.piece.take())?;
            if self.piece.is_none() {
                return Ok(0);
            }
        }
        let left = &self.piece.as_deref().unwrap_or_default()[self.taken..];
        let count = left.len().min(out.len());
        out[..count].copy_from_slice(&left[..count]);
        self.taken += count;
        Ok(count)
    }
}
