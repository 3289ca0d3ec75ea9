//! Threads that share work.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::Meter;

/// Returns the number of cores that this process may use.
pub fn core_count() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Returns the number of threads for an option whose `None` is one for each core.
pub fn count(threads: Option<NonZeroUsize>) -> usize {
    threads.map_or_else(core_count, usize::from)
}

/// Runs `work` on `threads` threads, including this one, and waits for all. An error in one thread stops the others.
///
/// # Errors
/// The first error of any thread.
pub fn run<E: Send>(threads: usize, meter: &Meter<'_>, work: impl Fn() -> Result<(), E> + Sync) -> Result<(), E> {
    let first = Mutex::new(None);
    let work = || {
        if let Err(error) = work() {
            first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            meter.stop();
        }
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        work();
        others.into_iter().for_each(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
    });
    first.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}
