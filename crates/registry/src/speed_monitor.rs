//! Measurement of how long a reader waits for its connection.

use std::time::{Duration, Instant};

/// The number of bytes that are measured for each result.
const SAMPLE_SIZE: u64 = 4 << 20;

/// The rate in bytes per second, of all blobs of a client together, above which connections count as fast. One decoder
/// is hardly faster, and more connections would only share this rate.
const FAST_RATE: f64 = 150e6;

/// Measures how long a reader waits for bytes, and how long it processes them.
///
/// More connections help a reader that waits. For a busy reader they only cost processor time, because bytes pass from
/// thread to thread.
#[derive(Debug)]
pub(crate) struct SpeedMonitor {
    since: Instant,
    bytes: u64,
    /// The number of bytes that all blobs had received at `since`.
    received_before: u64,
    waited: Duration,
}

impl SpeedMonitor {
    /// Starts a measurement. `received` is the number of bytes that all blobs of the client have received.
    pub(crate) fn new(received: u64) -> Self {
        Self { since: Instant::now(), bytes: 0, received_before: received, waited: Duration::ZERO }
    }

    /// Records that the reader waited for `bytes` bytes. Returns whether it waited too long for too few bytes.
    /// `received` is the number of bytes that all blobs have received, with these.
    pub(crate) fn is_slow(&mut self, bytes: usize, waited: Duration, received: u64) -> bool {
        self.bytes += bytes as u64;
        self.waited += waited;
        if self.bytes < SAMPLE_SIZE {
            return false;
        }
        let slow = is_slow(received - self.received_before, self.waited, self.since.elapsed());
        *self = Self::new(received);
        slow
    }
}

fn is_slow(bytes: u64, waited: Duration, elapsed: Duration) -> bool {
    waited > elapsed.mul_f64(0.75) && (bytes as f64) < FAST_RATE * elapsed.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_means_mostly_waiting_below_the_fast_rate() {
        let ms = Duration::from_millis;
        // 40 MB/s: a reader that only waits, and one that is busy half of the time.
        assert!(is_slow(4_000_000, ms(95), ms(100)));
        assert!(!is_slow(4_000_000, ms(50), ms(100)));
        // 400 MB/s: fast, although the reader only waits.
        assert!(!is_slow(4_000_000, ms(10), ms(10)));
        assert!(!is_slow(4_000_000, ms(0), ms(0)));
    }

    #[test]
    fn a_few_bytes_give_no_result() {
        let mut monitor = SpeedMonitor::new(0);
        assert!(!monitor.is_slow(1000, Duration::from_secs(100), 1000));
    }
}
