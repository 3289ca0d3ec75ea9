//! A pool of threads that helps a queue in which several requests wait.
//!
//! Guests before Linux 6.11 use one request queue for all processors, so concurrent reads would come from the disk one
//! by one. A request that is alone in its queue is handled by the queue's own thread, without the cost of another
//! thread.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::requests::{Chain, Reply, RequestHandler};

/// Threads that handle requests.
pub(crate) struct WorkerPool {
    queue: Arc<WorkQueue>,
    threads: Vec<JoinHandle<()>>,
}

/// The requests that wait for a thread.
struct WorkQueue {
    handler: Arc<RequestHandler>,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// Each with the sender that receives its reply.
    chains: VecDeque<(Chain, Sender<Reply>)>,
    closed: bool,
}

impl WorkerPool {
    pub(crate) fn new(handler: Arc<RequestHandler>, threads: usize) -> io::Result<Self> {
        let queue = Arc::new(WorkQueue { handler, waiting: Mutex::default(), changed: Condvar::new() });
        let mut pool = Self { queue, threads: Vec::new() };
        for _ in 0..threads {
            let queue = Arc::clone(&pool.queue);
            pool.threads.push(thread::Builder::new().name("virtiofs-worker".to_owned()).spawn(move || queue.run())?);
        }
        Ok(pool)
    }

    /// Returns whether the pool has no threads.
    pub(crate) fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    /// Queues a request. Its reply is sent to `reply_to`.
    pub(crate) fn submit(&self, chain: Chain, reply_to: &Sender<Reply>) {
        self.queue.lock().chains.push_back((chain, reply_to.clone()));
        self.queue.changed.notify_one();
    }

    /// Handles the oldest waiting request, if there is one, on this thread.
    pub(crate) fn run_one(&self) {
        let next = self.queue.lock().chains.pop_front();
        if let Some(next) = next {
            self.queue.handle(next);
        }
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.changed.notify_all();
        for thread in self.threads.drain(..) {
            // The threads do not panic, and an error could not be returned here.
            let _ = thread.join();
        }
    }
}

impl WorkQueue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        while let Some(next) = self.next() {
            self.handle(next);
        }
    }

    fn handle(&self, (chain, reply_to): (Chain, Sender<Reply>)) {
        // The queue waits for all replies, so the receiver exists.
        let _ = reply_to.send(self.handler.handle(chain));
    }

    fn next(&self) -> Option<(Chain, Sender<Reply>)> {
        let mut waiting = self.lock();
        loop {
            if let Some(next) = waiting.chains.pop_front() {
                return Some(next);
            }
            if waiting.closed {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
