//! Whether a reader waits for its connection most of the time.

use std::time::{Duration, Instant};

/// How many bytes are looked at before a verdict.
const LOOKED_AT: u64 = 4 << 20;

/// A connection that is as fast as this needs no help, in bytes per second: one decoder takes hardly more.
const FAST: f64 = 150e6;

/// Looks at how long a reader waits for bytes, and how long it works on them.
///
/// More connections help a reader that waits. They only cost a busy reader processor time, because bytes go from thread to
/// thread.
#[derive(Debug)]
pub(crate) struct Watch {
    since: Instant,
    bytes: u64,
    waited: Duration,
}

impl Watch {
    /// Begins to look.
    pub(crate) fn new() -> Self {
        Self { since: Instant::now(), bytes: 0, waited: Duration::ZERO }
    }

    /// Notes that the reader waited for some bytes; true if it waits too long for too little.
    pub(crate) fn is_slow(&mut self, bytes: usize, waited: Duration) -> bool {
        self.bytes += bytes as u64;
        self.waited += waited;
        if self.bytes < LOOKED_AT {
            return false;
        }
        let slow = is_slow(self.bytes, self.waited, self.since.elapsed());
        *self = Self::new();
        slow
    }
}

fn is_slow(bytes: u64, waited: Duration, elapsed: Duration) -> bool {
    waited > elapsed.mul_f64(0.75) && (bytes as f64) < FAST * elapsed.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_connection_is_one_that_is_waited_for() {
        let ms = Duration::from_millis;
        // 40 MB/s, a reader that does nothing else, and one that is busy for half the time.
        assert!(is_slow(4_000_000, ms(95), ms(100)));
        assert!(!is_slow(4_000_000, ms(50), ms(100)));
        // 400 MB/s, though nothing is done but waiting for it.
        assert!(!is_slow(4_000_000, ms(10), ms(10)));
        assert!(!is_slow(4_000_000, ms(0), ms(0)));
    }

    #[test]
    fn a_few_bytes_say_nothing() {
        let mut watch = Watch::new();
        assert!(!watch.is_slow(1000, Duration::from_secs(100)));
    }
}
