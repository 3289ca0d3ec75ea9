//! Pauses between attempts, with exponential growth and random variation.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use vmroot_output::Cancel;

use crate::{ClientOptions, Result};

/// Counts consecutive failures and computes the pause after each.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Returns the number of consecutive failures.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Resets the count after a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Counts a failure. Returns whether another attempt is allowed.
    pub(crate) fn fail(&mut self, options: &ClientOptions) -> bool {
        self.fail_within(options.retries)
    }

    /// Counts a failure. Returns whether another attempt is allowed if `retries` are.
    pub(crate) fn fail_within(&mut self, retries: u32) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.failures <= retries
    }

    /// Sleeps for `retry_after` if the server sent one above zero, else for the delay of the failures so far.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled) if `cancel` was used.
    pub(crate) fn pause(&self, options: &ClientOptions, cancel: &Cancel, retry_after: Option<Duration>) -> Result<()> {
        Ok(cancel.sleep(self.next_pause(options, retry_after))?)
    }

    /// Returns `retry_after` if the server sent one above zero, else the delay of the failures so far.
    pub(crate) fn next_pause(&self, options: &ClientOptions, retry_after: Option<Duration>) -> Duration {
        let retry_after = retry_after.filter(|retry_after| !retry_after.is_zero());
        retry_after.unwrap_or_else(|| self.delay(options, random_fraction()))
    }

    /// Returns the fixed delay and up to a tenth of it, or a growing one between half of the full one and all of it, by
    /// `random_fraction` in 0..=1. The variation spreads the retries of many clients.
    fn delay(&self, options: &ClientOptions, random_fraction: f64) -> Duration {
        if let Some(delay) = options.retry_delay {
            return delay.mul_f64(1.0 + random_fraction / 10.0);
        }
        let doublings = self.failures.saturating_sub(1).min(31);
        let full = options.backoff.saturating_mul(1 << doublings).min(options.backoff_limit);
        full.mul_f64(0.5 + random_fraction / 2.0)
    }
}

/// Returns a random number in 0..=1. The standard library seeds each `RandomState` anew, which is random enough here.
fn random_fraction() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    random as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_limit() {
        let options = ClientOptions {
            backoff: Duration::from_millis(100),
            backoff_limit: Duration::from_millis(500),
            retries: 5,
            ..ClientOptions::default()
        };
        let mut backoff = Backoff::default();
        let mut delays = Vec::new();
        while backoff.fail(&options) {
            delays.push(backoff.delay(&options, 1.0).as_millis());
        }
        assert_eq!(delays, [100, 200, 400, 500, 500]);
        assert_eq!(backoff.delay(&options, 0.0), Duration::from_millis(250));
        assert!((0.0..=1.0).contains(&random_fraction()));
    }

    #[test]
    fn a_fixed_delay_does_not_grow() {
        let delay = Duration::from_secs(5);
        let options = ClientOptions { retry_delay: Some(delay), retries: 20, ..ClientOptions::default() };
        let mut backoff = Backoff::default();
        while backoff.fail(&options) {
            assert_eq!(backoff.delay(&options, 0.0), delay);
            assert_eq!(backoff.delay(&options, 1.0), Duration::from_millis(5500));
        }
    }
}
