//! A thread that fills buffers for another thread to use.

use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::{self, JoinHandle};

use crate::{Error, Result};

/// The receiving end of a thread that fills buffers of type `B` and returns an `R` when it reaches its end.
///
/// Dropping it stops the thread at its next [`Outlet::send`]. The thread is not joined then, since it may be blocked in
/// a reader.
pub(crate) struct Producer<B, R> {
    state: State<B, R>,
}

enum State<B, R> {
    Running { filled: Receiver<Result<B>>, spent: Sender<B>, thread: JoinHandle<Option<R>> },
    Ended(R),
    Failing(Error),
    Failed,
}

/// The thread's end of a [`Producer`].
pub(crate) struct Outlet<B> {
    filled: SyncSender<Result<B>>,
    spent: Receiver<B>,
}

impl<B> Outlet<B> {
    /// A buffer that was used before, if one came back.
    pub(crate) fn spent(&self) -> Option<B> {
        self.spent.try_recv().ok()
    }

    /// Hands over a buffer or an error, and waits for room in the queue. `None` means that the other end is gone.
    pub(crate) fn send(&self, filled: Result<B>) -> Option<()> {
        self.filled.send(filled).ok()
    }
}

impl<B: Send + 'static, R: Send + 'static> Producer<B, R> {
    /// Starts `produce` on a thread called `name`; at most `depth` filled buffers wait to be taken.
    ///
    /// `produce` returns `None` after it sent an error, or when the other end is gone. A thread that cannot be started
    /// is an error of the first [`Producer::next`].
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
    /// Gives back a buffer and waits for the next filled one; `None` at the end.
    pub(crate) fn next(&mut self, spent: Option<B>) -> Result<Option<B>> {
        if let Some(buffer) = spent {
            self.give_back(buffer);
        }
        let State::Running { filled, .. } = &self.state else { return self.after_end() };
        let received = filled.recv().map_err(|_| TryRecvError::Disconnected);
        self.receive(received).unwrap_or(Ok(None))
    }

    /// The next filled buffer, `None` inside at the end; `None` if the thread is not so far.
    pub(crate) fn try_next(&mut self) -> Option<Result<Option<B>>> {
        let State::Running { filled, .. } = &self.state else { return Some(self.after_end()) };
        let received = filled.try_recv();
        self.receive(received)
    }

    /// Gives back a buffer to be filled again.
    pub(crate) fn give_back(&self, buffer: B) {
        if let State::Running { spent, .. } = &self.state {
            // The thread may have filled its last buffer.
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

    /// What the thread returned, once [`Producer::next`] has reached the end.
    pub(crate) fn into_inner(self) -> Result<R> {
        match self.state {
            State::Ended(value) => Ok(value),
            _ => Err(Error::FailedBefore),
        }
    }

    /// The thread has hung up without an error: it reached its end, or panicked.
    fn join(&mut self) {
        if let State::Running { thread, .. } = std::mem::replace(&mut self.state, State::Failed) {
            self.state = match thread.join() {
                Ok(Some(value)) => State::Ended(value),
                _ => State::Failing(Error::Panicked),
            };
        }
    }
}
