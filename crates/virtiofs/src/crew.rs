//! Threads that help a queue in which several requests wait.
//!
//! Guests before Linux 6.11 use one request queue, however many processors they have, so what several of them read at
//! once would come from the disk one by one. A request that is alone in its queue is answered by the queue's own thread,
//! at no cost.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::requests::{Answered, Chain, Requests};

/// Threads that answer requests.
pub(crate) struct Crew {
    board: Arc<Board>,
    threads: Vec<JoinHandle<()>>,
}

/// Where requests wait for a thread.
struct Board {
    requests: Arc<Requests>,
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// Each with whom to tell that it is answered.
    chains: VecDeque<(Chain, Sender<Answered>)>,
    over: bool,
}

impl Crew {
    pub(crate) fn new(requests: Arc<Requests>, threads: usize) -> io::Result<Self> {
        let board = Arc::new(Board { requests, waiting: Mutex::default(), more: Condvar::new() });
        let mut crew = Self { board, threads: Vec::new() };
        for _ in 0..threads {
            let board = Arc::clone(&crew.board);
            crew.threads.push(thread::Builder::new().name("virtiofs-crew".to_owned()).spawn(move || board.work())?);
        }
        Ok(crew)
    }

    /// Whether there is anybody to help.
    pub(crate) fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    /// Has a request answered, and `done` told of it.
    pub(crate) fn give(&self, chain: Chain, done: &Sender<Answered>) {
        self.board.lock().chains.push_back((chain, done.clone()));
        self.board.more.notify_one();
    }

    /// Answers one that nobody has begun, on this thread.
    pub(crate) fn help(&self) {
        let next = self.board.lock().chains.pop_front();
        if let Some(next) = next {
            self.board.answer(next);
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.board.lock().over = true;
        self.board.more.notify_all();
        for thread in self.threads.drain(..) {
            // None panics, and there would be no one to tell.
            let _ = thread.join();
        }
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(next) = self.next() {
            self.answer(next);
        }
    }

    fn answer(&self, (chain, done): (Chain, Sender<Answered>)) {
        // The queue waits for all that it gives, so it is there.
        let _ = done.send(self.requests.answer(chain));
    }

    fn next(&self) -> Option<(Chain, Sender<Answered>)> {
        let mut waiting = self.lock();
        loop {
            if let Some(next) = waiting.chains.pop_front() {
                return Some(next);
            }
            if waiting.over {
                return None;
            }
            waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
