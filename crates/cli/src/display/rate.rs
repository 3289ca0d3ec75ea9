//! The rate of work, over the last seconds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The time over which a rate is measured.
const WINDOW: Duration = Duration::from_secs(8);

/// The shortest time for a rate. A shorter one would be a guess from a few packets.
const SHORTEST: Duration = Duration::from_secs(1);

/// Measures how much work is done in a second.
///
/// Only work that was done while this measures counts, so bytes of an earlier attempt do not raise the rate.
#[derive(Debug, Default)]
pub(super) struct Rate {
    samples: VecDeque<(Instant, u64)>,
}

impl Rate {
    /// Records the amount at a time. A smaller amount than before means that the work began again.
    pub(super) fn record(&mut self, now: Instant, amount: u64) {
        if self.samples.back().is_some_and(|(_, last)| amount < *last) {
            self.samples.clear();
        }
        self.samples.push_back((now, amount));
        // One sample that is older stays, so that the samples span the window.
        while self.samples.get(1).is_some_and(|(time, _)| now.duration_since(*time) >= WINDOW) {
            self.samples.pop_front();
        }
    }

    /// Returns the units per second, once they are known.
    pub(super) fn per_second(&self) -> Option<f64> {
        let ((first_time, first), (last_time, last)) = (self.samples.front()?, self.samples.back()?);
        let span = last_time.duration_since(*first_time);
        (span >= SHORTEST).then(|| (last - first) as f64 / span.as_secs_f64())
    }

    /// Returns the time for `remaining` units. Returns `None` if it is unknown, or if nothing has advanced lately.
    pub(super) fn time_for(&self, remaining: u64) -> Option<Duration> {
        let rate = self.per_second().filter(|rate| *rate >= 1.0)?;
        Duration::try_from_secs_f64(remaining as f64 / rate).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn only_new_work_counts() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        // A gibibyte is there from an earlier attempt.
        rate.record(start, 1 << 30);
        assert_eq!(rate.per_second(), None);
        rate.record(at(start, 500), (1 << 30) + 500);
        assert_eq!(rate.per_second(), None, "too early");
        rate.record(at(start, 2000), (1 << 30) + 2000);
        assert_eq!(rate.per_second(), Some(1000.0));
        assert_eq!(rate.time_for(5000), Some(Duration::from_secs(5)));
    }

    #[test]
    fn the_rate_follows_the_last_seconds() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        for second in 0..=20 {
            rate.record(at(start, second * 1000), second.min(5) * 1_000_000);
        }
        assert_eq!(rate.per_second(), Some(0.0));
        assert_eq!(rate.time_for(1), None, "a stalled task has no estimate");
    }

    #[test]
    fn work_that_begins_again_is_measured_anew() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        rate.record(start, 0);
        rate.record(at(start, 3000), 9_000_000);
        rate.record(at(start, 3100), 0);
        assert_eq!(rate.per_second(), None);
        rate.record(at(start, 5100), 2000);
        assert_eq!(rate.per_second(), Some(1000.0));
    }
}
