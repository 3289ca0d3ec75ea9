//! A thread that fills buffers for another thread.

use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::{self, JoinHandle};

use crate::{Error, Result};

/// The receiver of a thread that fills buffers of type `B` and returns an `R` at its end.
///
/// Dropping it stops the thread at its next [`Outlet::send`]. The thread is not joined, because it may be blocked in a
/// reader.
pub(crate) struct Producer<B, R> {
    state: State<B, R>,
}

enum State<B, R> {
    Running { filled: Receiver<Result<B>>, spent: Sender<B>, thread: JoinHandle<Option<R>> },
    Ended(R),
    Failing(Error),
    Failed,
}

/// The sender of a [`Producer`], used by the thread.
pub(crate) struct Outlet<B> {
    filled: SyncSender<Result<B>>,
    spent: Receiver<B>,
}

impl<B> Outlet<B> {
    /// Returns a used buffer for reuse, if there is one.
    pub(crate) fn spent(&self) -> Option<B> {
        self.spent.try_recv().ok()
    }

    /// Sends a buffer or an error, and waits for space in the queue. Returns `None` if the receiver was dropped.
    pub(crate) fn send(&self, filled: Result<B>) -> Option<()> {
        self.filled.send(filled).ok()
    }
}

impl<B: Send + 'static, R: Send + 'static> Producer<B, R> {
    /// Starts `produce` on a thread with this name. At most `depth` filled buffers are queued.
    ///
    /// `produce` returns `None` after it has sent an error, or if the receiver was dropped. If the thread cannot be
    /// started, the first [`Producer::next`] returns the error.
    pub(crate) fn start(
        name: &str,
        depth: usize,
        produce: impl FnOnce(Outlet<B>) -> Option<R> + Send + 'static,
    ) -> Self {
        let (send_filled, filled) = sync_channel(depth);
        let (spent, receive_spent) = channel();
        let outlet = Outlet { filled: send_filled, spent: receive_spent };
        let state = match thread::Builder::new().name(name.into()).spawn(move || produce(outlet)) {
            Ok(thread) => State::Running { filled, spent, thread },
            Err(error) => State::Failing(Error::Thread(error)),
        };
        Self { state }
    }
}

impl<B, R> Producer<B, R> {
    /// Returns a used buffer to the thread and waits for the next filled one. `None` is the end.
    pub(crate) fn next(&mut self, spent: Option<B>) -> Result<Option<B>> {
        if let Some(buffer) = spent {
            self.give_back(buffer);
        }
        let State::Running { filled, .. } = &self.state else { return self.after_end() };
        let received = filled.recv().map_err(|_| TryRecvError::Disconnected);
        self.receive(received).unwrap_or(Ok(None))
    }

    /// Returns the next filled buffer, or `Ok(None)` at the end. Returns `None` if no buffer is ready.
    pub(crate) fn try_next(&mut self) -> Option<Result<Option<B>>> {
        let State::Running { filled, .. } = &self.state else { return Some(self.after_end()) };
        let received = filled.try_recv();
        self.receive(received)
    }

    /// Returns a used buffer to the thread.
    pub(crate) fn give_back(&self, buffer: B) {
        if let State::Running { spent, .. } = &self.state {
            // An error is ignored: the thread may have ended.
            let _ = spent.send(buffer);
        }
    }

    fn receive(&mut self, received: std::result::Result<Result<B>, TryRecvError>) -> Option<Result<Option<B>>> {
        match received {
            Ok(Ok(buffer)) => Some(Ok(Some(buffer))),
            Ok(Err(error)) => {
                self.state = State::Failed;
                Some(Err(error))
            }
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.join();
                Some(self.after_end())
            }
        }
    }

    fn after_end(&mut self) -> Result<Option<B>> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Ended(value) => {
                self.state = State::Ended(value);
                Ok(None)
            }
            State::Failing(error) => Err(error),
            _ => Err(Error::FailedBefore),
        }
    }

    /// Returns the result of the thread. [`Producer::next`] must have reached the end.
    pub(crate) fn into_inner(self) -> Result<R> {
        match self.state {
            State::Ended(value) => Ok(value),
            _ => Err(Error::FailedBefore),
        }
    }

    /// Joins the thread after it has closed its channel, at its end or by a panic.
    fn join(&mut self) {
        if let State::Running { thread, .. } = std::mem::replace(&mut self.state, State::Failed) {
            self.state = match thread.join() {
                Ok(Some(value)) => State::Ended(value),
                _ => State::Failing(Error::Panicked),
            };
        }
    }
}
