//! Reading compressed bytes on a separate thread, ahead of their decoder.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;

use crate::Result;
use crate::producer::{Outlet, Producer};

/// The most units that are queued, of 128 KiB each. A mebibyte bridges the pauses of a socket and fits in the cache.
const DEPTH: usize = 8;

/// A reader of bytes that another thread reads from `R`. It gives access to the bytes ahead.
///
/// The inner reader of a layer's blob hashes and stores its bytes. Decoding is the slowest step of indexing a layer, so
/// nothing else runs on the decoder's thread.
pub(crate) struct ReadAhead<R> {
    producer: Producer<Vec<u8>, R>,
    /// Units of equal size, except for the last one of the stream.
    units: VecDeque<Arc<Vec<u8>>>,
    /// The number of the first unit.
    first: u64,
    /// The number of bytes consumed of the first unit.
    taken: usize,
    /// The result of reading, once it has ended. An error is returned once.
    end: Option<Result<()>>,
}

impl<R: Read + Send + 'static> ReadAhead<R> {
    /// Starts reading, in units of `unit` bytes.
    pub(crate) fn new(reader: R, unit: usize) -> Self {
        let producer = Producer::start("read", DEPTH, move |outlet| read_all(reader, unit, &outlet));
        Self { producer, units: VecDeque::new(), first: 0, taken: 0, end: None }
    }
}

impl<R> ReadAhead<R> {
    /// Returns the inner reader. The end must have been reached.
    pub(crate) fn into_inner(self) -> Result<R> {
        self.producer.into_inner()
    }

    /// Receives units from the thread until there are `most`. Waits for them if `wait` is true.
    pub(crate) fn receive_units(&mut self, most: usize, wait: bool) {
        while self.end.is_none() && self.units.len() < most {
            let next = if wait { Some(self.producer.next(None)) } else { self.producer.try_next() };
            match next {
                Some(read) => self.add(read),
                None => return,
            }
        }
    }

    fn add(&mut self, read: Result<Option<Vec<u8>>>) {
        match read {
            Ok(Some(unit)) => self.units.push_back(Arc::new(unit)),
            Ok(None) => self.end = Some(Ok(())),
            Err(error) => self.end = Some(Err(error)),
        }
    }

    /// Returns the number of the first unit that is not fully consumed.
    pub(crate) fn number(&self) -> u64 {
        self.first
    }

    /// Returns the units received so far, from `number` on.
    pub(crate) fn units(&self, number: u64) -> impl ExactSizeIterator<Item = &Arc<Vec<u8>>> {
        let before = number.saturating_sub(self.first).min(self.units.len() as u64);
        self.units.range(before as usize..)
    }

    /// Returns true if no more units will come.
    pub(crate) fn is_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Skips `n` bytes of the units received so far.
    pub(crate) fn skip(&mut self, mut n: u64) {
        while let Some(unit) = self.units.front() {
            let left = (unit.len() - self.taken) as u64;
            if n < left {
                self.taken += n as usize; // less than a unit
                return;
            }
            n -= left;
            self.next_unit();
        }
    }

    fn next_unit(&mut self) {
        if let Some(unit) = self.units.pop_front().and_then(Arc::into_inner) {
            self.producer.give_back(unit);
        }
        self.first += 1;
        self.taken = 0;
    }
}

/// The main function of the reading thread. Returns the reader if all of it was read.
fn read_all<R: Read>(mut reader: R, size: usize, outlet: &Outlet<Vec<u8>>) -> Option<R> {
    loop {
        let mut unit = outlet.spent().unwrap_or_default();
        unit.resize(size, 0);
        let (length, read) = read_unit(&mut reader, &mut unit);
        unit.truncate(length);
        if length > 0 {
            outlet.send(Ok(unit))?;
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

/// Fills `unit`. Returns the number of bytes, and whether more may follow or an error.
fn read_unit(reader: &mut impl Read, unit: &mut [u8]) -> (usize, io::Result<bool>) {
    let mut length = 0;
    while length < unit.len() {
        match reader.read(&mut unit[length..]) {
            Ok(0) => return (length, Ok(false)),
            // A faulty reader may return a larger number than there is room for.
            Ok(count) => length += count.min(unit.len() - length),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (length, Err(error)),
        }
    }
    (length, Ok(true))
}

impl<R> Read for ReadAhead<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.receive_units(1, true);
        let Some(unit) = self.units.front() else {
            self.end.replace(Ok(())).unwrap_or(Ok(()))?;
            return Ok(0);
        };
        let left = &unit[self.taken..];
        let count = left.len().min(out.len());
        out[..count].copy_from_slice(&left[..count]);
        self.skip(count as u64);
        Ok(count)
    }
}
