//! The number of large transfers at once.
//!
//! If bytes arrive fast, the processors are the limit, not the connections. More transfers than processors then only
//! take turns, and the largest blob, which could have had a processor of its own, ends later. If bytes arrive slowly,
//! more transfers are faster: many registries limit the rate of a connection.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use vmroot_output::Cancel;

use crate::Result;
use crate::ledger::lock;

/// The size in bytes from which a blob waits. Requests, not bytes, take the time of a smaller one.
const LARGE: u64 = 4 << 20;

/// The rate in bytes per second of all transfers together from which they are fast: that of a gigabit network.
const FAST_RATE: f64 = 100e6;

/// The time for which the rate is measured.
const MEASUREMENT: Duration = Duration::from_millis(100);

/// Delays large transfers while there is one for each processor and these are fast.
#[derive(Debug)]
pub(crate) struct Pace {
    processors: usize,
    /// The number of bytes that all transfers have read.
    read: AtomicU64,
    /// The number of large transfers.
    large: Mutex<usize>,
    ended: Condvar,
}

/// A transfer that has begun. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a>(Option<&'a Pace>);

impl Pace {
    pub(crate) fn new() -> Self {
        // Two, because a transfer also waits for requests.
        Self::on(thread::available_parallelism().map_or(1, NonZero::get).max(2))
    }

    fn on(processors: usize) -> Self {
        let (read, large, ended) = Default::default();
        Self { processors, read, large, ended }
    }

    /// Begins the transfer of a blob of `size` bytes, after a delay if it is large.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled).
    pub(crate) fn begin(&self, size: u64, cancel: &Cancel) -> Result<Turn<'_>> {
        if size < LARGE {
            return Ok(Turn(None));
        }
        let mut large = lock(&self.large);
        while *large >= self.processors {
            cancel.check()?;
            let (started, before) = (Instant::now(), self.read.load(Ordering::Relaxed));
            let waited = self.ended.wait_timeout(large, MEASUREMENT).unwrap_or_else(PoisonError::into_inner);
            large = waited.0;
            let read = self.read.load(Ordering::Relaxed) - before;
            if waited.1.timed_out() && (read as f64) < FAST_RATE * started.elapsed().as_secs_f64() {
                break;
            }
        }
        *large += 1;
        Ok(Turn(Some(self)))
    }

    /// Records bytes that a transfer has read.
    pub(crate) fn add(&self, bytes: u64) {
        self.read.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(pace) = self.0 {
            *lock(&pace.large) -= 1;
            pace.ended.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_transfers_and_small_blobs_do_not_delay_others() {
        let (pace, cancel) = (Pace::on(1), Cancel::new());
        let first = pace.begin(LARGE, &cancel).unwrap();
        let second = pace.begin(LARGE, &cancel).unwrap();
        let small = pace.begin(LARGE - 1, &cancel).unwrap();
        assert_eq!(*lock(&pace.large), 2);
        drop((first, second, small));
        assert_eq!(*lock(&pace.large), 0);
    }

    #[test]
    fn a_fast_transfer_delays_the_next_until_it_ends() {
        let (pace, cancel) = (Pace::on(1), Cancel::new());
        let first = pace.begin(LARGE, &cancel).unwrap();
        let has_ended = Mutex::new(false);
        thread::scope(|scope| {
            let second = scope.spawn(|| {
                let turn = pace.begin(LARGE, &cancel).unwrap();
                assert!(*lock(&has_ended));
                drop(turn);
            });
            for _ in 0..300 {
                pace.add(1 << 30);
                thread::sleep(Duration::from_millis(1));
            }
            *lock(&has_ended) = true;
            drop(first);
            second.join().unwrap();
        });
    }

    #[test]
    fn a_delayed_transfer_is_cancelled() {
        let (pace, cancel) = (Pace::on(1), Cancel::new());
        let _first = pace.begin(LARGE, &cancel).unwrap();
        cancel.cancel();
        assert!(matches!(pace.begin(LARGE, &cancel), Err(crate::Error::Cancelled)));
    }
}
