//! Copies of many images, several at once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::ledger::lock;
use crate::{Copier, Error, Result};

impl Copier {
    /// Runs `work` for each of `count` images, several at once, and stops at the first error unless `keep_going` is set.
    /// `work` gets the position of the image. With this copier, images share transfers and blobs.
    ///
    /// # Errors
    /// [`Error::Threads`]: a thread cannot be started.
    pub fn run_batch(
        &self,
        count: usize,
        keep_going: bool,
        work: impl Fn(usize) -> std::result::Result<(), ()> + Sync,
    ) -> Result<()> {
        let next = AtomicUsize::new(0);
        let stopped = AtomicBool::new(false);
        let failure = Mutex::new(None);
        let run = || {
            while !stopped.load(Ordering::Relaxed) && !self.options.cancel.is_cancelled() {
                let position = next.fetch_add(1, Ordering::Relaxed);
                if position >= count {
                    return;
                }
                if work(position).is_err() && !keep_going {
                    stopped.store(true, Ordering::Relaxed);
                }
            }
        };
        thread::scope(|scope| {
            for number in 1..self.options.parallel.max(1).min(count) {
                let thread = thread::Builder::new().name(format!("image-{number}")).spawn_scoped(scope, run);
                if let Err(error) = thread {
                    lock(&failure).get_or_insert(Error::Threads(error));
                    stopped.store(true, Ordering::Relaxed);
                }
            }
            run();
        });
        let failure = lock(&failure).take();
        failure.map_or(Ok(()), Err)
    }
}
