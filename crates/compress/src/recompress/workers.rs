//! Threads that work on parts of a stream, with the results in order.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::{Error, Result};

/// The most parts beyond the number of threads that are in work or wait to be taken.
const AHEAD: usize = 2;

/// Threads that turn a `P` into an `O`. They end when this is dropped, after the parts that they work on.
pub(super) struct Workers<P, O> {
    parts: Sender<Part<P, O>>,
    /// For the threads that are not started yet.
    receiver: Arc<Mutex<Receiver<Part<P, O>>>>,
    results: VecDeque<Receiver<O>>,
    started: usize,
    most: usize,
    new_worker: Box<dyn Fn() -> Work<P, O> + Send>,
}

/// The function of one thread.
pub(super) type Work<P, O> = Box<dyn FnMut(P) -> O + Send>;

struct Part<P, O> {
    part: P,
    result: SyncSender<O>,
}

impl<P: Send + 'static, O: Send + 'static> Workers<P, O> {
    /// Creates up to `most` threads, each when it is needed.
    pub(super) fn new(most: usize, new_worker: impl Fn() -> Work<P, O> + Send + 'static) -> Self {
        let (parts, receiver) = channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let results = VecDeque::new();
        Self { parts, receiver, results, started: 0, most: most.max(1), new_worker: Box::new(new_worker) }
    }

    /// Passes a part to the threads. If that makes too many parts, waits for the result of the oldest and returns it.
    pub(super) fn add(&mut self, part: P) -> Result<Option<O>> {
        if self.started < self.most && self.started <= self.results.len() {
            self.start()?;
        }
        let (result, receive) = sync_channel(1);
        self.results.push_back(receive);
        self.parts.send(Part { part, result }).map_err(|_| Error::Panicked)?;
        if self.results.len() >= self.most + AHEAD { self.next() } else { Ok(None) }
    }

    /// Waits for the result of the oldest part. Returns `None` if there is none.
    pub(super) fn next(&mut self) -> Result<Option<O>> {
        let Some(result) = self.results.pop_front() else { return Ok(None) };
        result.recv().map(Some).map_err(|_| Error::Panicked)
    }

    fn start(&mut self) -> Result<()> {
        let receiver = Arc::clone(&self.receiver);
        let mut work = (self.new_worker)();
        let run = move || {
            while let Some(Part { part, result }) = take(&receiver) {
                // Without a receiver, the stream was dropped, and no part is left.
                let _ = result.send(work(part));
            }
        };
        thread::Builder::new().name("compress".into()).spawn(run).map_err(Error::Thread)?;
        self.started += 1;
        Ok(())
    }
}

/// Waits for the next part. Returns `None` if there are no more.
fn take<T>(receiver: &Mutex<Receiver<T>>) -> Option<T> {
    receiver.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}
