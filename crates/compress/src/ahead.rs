//! Reading ahead of the decoder, on a thread of its own.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::{self, JoinHandle};

/// Units that the thread may read before the decoder looks at them.
const DEPTH: usize = 8;

/// A reader that can be moved to a thread of its own in the middle of the stream.
pub(crate) struct Supply<R> {
    /// `None` once it has moved.
    reader: Option<R>,
    ahead: Option<Ahead<R>>,
}

impl<R> Supply<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader: Some(reader), ahead: None }
    }

    /// The bytes read ahead, if the reader has moved.
    pub(crate) fn ahead(&mut self) -> Option<&mut Ahead<R>> {
        self.ahead.as_mut()
    }

    /// The reader, once its end was read.
    pub(crate) fn into_reader(self) -> Option<R> {
        match self.ahead {
            Some(mut ahead) => ahead.reader.take(),
            None => self.reader,
        }
    }
}

impl<R: Read + Send + 'static> Supply<R> {
    /// Moves the reader to a thread that reads units of so many bytes; leaves it here if no thread can be started.
    pub(crate) fn read_ahead(&mut self, unit: usize) {
        let (hand_over, handed_over) = channel::<R>();
        let (send, receive) = sync_channel(DEPTH);
        let (used, recycled) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        // The reader is sent to the thread: if it were part of the closure, it would be lost with a thread that does not
        // start.
        let read = move || {
            let mut reader = handed_over.recv().ok()?;
            read_units(&mut reader, unit, &send, &recycled, &stopped);
            Some(reader)
        };
        let Ok(thread) = thread::Builder::new().name("read".into()).spawn(read) else { return };
        if let Some(reader) = self.reader.take()
            && hand_over.send(reader).is_ok()
        {
            let units = VecDeque::new();
            self.ahead = Some(Ahead {
                units,
                first: 0,
                taken: 0,
                end: None,
                receive,
                used,
                stop,
                thread: Some(thread),
                reader: None,
            });
        }
    }
}

impl<R: Read> Read for Supply<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match (&mut self.ahead, &mut self.reader) {
            (Some(ahead), _) => ahead.read(out),
            (None, Some(reader)) => reader.read(out),
            (None, None) => Ok(0),
        }
    }
}

/// Bytes that were read ahead, in units of equal size, except for the last one.
pub(crate) struct Ahead<R> {
    units: VecDeque<Arc<Vec<u8>>>,
    /// Number of the first of them.
    first: u64,
    /// Bytes of the first of them that were taken.
    taken: usize,
    /// How reading ended, once it has; an error is given once.
    end: Option<io::Result<()>>,
    receive: Receiver<io::Result<Vec<u8>>>,
    used: Sender<Vec<u8>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Option<R>>>,
    /// The reader, back from the thread.
    reader: Option<R>,
}

impl<R> Ahead<R> {
    /// Takes units from the thread until there are `most`; waits for them if `patient`.
    pub(crate) fn look(&mut self, most: usize, patient: bool) {
        while self.end.is_none() && self.units.len() < most {
            let read = if patient {
                self.receive.recv().map_err(|_| TryRecvError::Disconnected)
            } else {
                self.receive.try_recv()
            };
            match read {
                Ok(read) => self.add(read),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.end = Some(Ok(())),
            }
        }
    }

    /// The number of the first unit of which not all was taken.
    pub(crate) fn number(&self) -> u64 {
        self.first
    }

    /// The units from `number` on that were read.
    pub(crate) fn units(&self, number: u64) -> impl ExactSizeIterator<Item = &Arc<Vec<u8>>> {
        let before = number.saturating_sub(self.first).min(self.units.len() as u64);
        self.units.range(before as usize..)
    }

    /// Whether no more units will come.
    pub(crate) fn is_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Skips `n` bytes.
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

    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.units.is_empty() && self.end.is_none() {
            match self.receive.recv() {
                Ok(read) => self.add(read),
                Err(_) => self.end = Some(Ok(())),
            }
        }
        let Some(unit) = self.units.front() else { return self.give_end() };
        let n = (&unit[self.taken..]).read(out)?;
        self.taken += n;
        if self.taken == unit.len() {
            self.next_unit();
        }
        Ok(n)
    }

    fn add(&mut self, read: io::Result<Vec<u8>>) {
        match read {
            Ok(unit) => self.units.push_back(Arc::new(unit)),
            Err(error) => self.end = Some(Err(error)),
        }
    }

    fn next_unit(&mut self) {
        if let Some(unit) = self.units.pop_front().and_then(Arc::into_inner) {
            // The thread may be done.
            let _ = self.used.send(unit);
        }
        self.first += 1;
        self.taken = 0;
    }

    /// The end is one only if the reader has not panicked: then its panic goes on here.
    fn give_end(&mut self) -> io::Result<usize> {
        if let Some(Err(error)) = self.end.replace(Ok(())) {
            return Err(error);
        }
        if let Some(thread) = self.thread.take() {
            match thread.join() {
                Ok(reader) => self.reader = reader,
                Err(panic) => resume_unwind(panic),
            }
        }
        Ok(0)
    }
}

/// Lets the thread end after the read that it is at. It is not waited for: that read may take long.
impl<R> Drop for Ahead<R> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Reads to the end or to an error, or until the decoder is dropped. This runs on the thread.
fn read_units(
    reader: &mut impl Read,
    size: usize,
    units: &SyncSender<io::Result<Vec<u8>>>,
    used: &Receiver<Vec<u8>>,
    stop: &AtomicBool,
) {
    loop {
        let mut unit = used.try_recv().unwrap_or_default();
        unit.resize(size, 0);
        let (len, end) = read_unit(reader, &mut unit, stop);
        unit.truncate(len);
        if len > 0 && units.send(Ok(unit)).is_err() {
            return;
        }
        match end {
            Ok(false) => {}
            Ok(true) => return,
            Err(error) => {
                // The decoder may be gone.
                let _ = units.send(Err(error));
                return;
            }
        }
    }
}

/// Fills a unit; returns how much of it, and whether that was the end.
fn read_unit(reader: &mut impl Read, unit: &mut [u8], stop: &AtomicBool) -> (usize, io::Result<bool>) {
    let mut len = 0;
    while len < unit.len() {
        let room = &mut unit[len..];
        let most = room.len();
        match reader.read(room) {
            Ok(0) => return (len, Ok(true)),
            // See `Input`: a reader may claim anything.
            Ok(n) => len += n.min(most),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (len, Err(error)),
        }
        if stop.load(Ordering::Relaxed) {
            return (len, Ok(true));
        }
    }
    (len, Ok(false))
}
