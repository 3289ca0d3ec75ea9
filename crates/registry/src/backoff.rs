//! Pauses between attempts: each twice as long as the one before, with some chance in it.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use vmroot_output::Cancel;

use crate::{ClientOptions, Result};

/// Counts failures in a row and knows how long to pause after each.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How many failures there were in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Forgets the failures: something succeeded.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Notes a failure; true if another attempt is due.
    pub(crate) fn fail(&mut self, options: &ClientOptions) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.failures <= options.retries
    }

    /// Sleeps for what the failures so far ask for, or for `asked` if the server said how long and that is not "at once".
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled).
    pub(crate) fn pause(&self, options: &ClientOptions, cancel: &Cancel, asked: Option<Duration>) -> Result<()> {
        let asked = asked.filter(|asked| !asked.is_zero());
        Ok(cancel.sleep(asked.unwrap_or_else(|| self.delay(options, chance())))?)
    }

    /// Between half of the full delay and all of it, by `chance` in 0..=1, so that many clients do not come back at once.
    fn delay(&self, options: &ClientOptions, chance: f64) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(31);
        let full = options.backoff.saturating_mul(1 << doublings).min(options.backoff_limit);
        full.mul_f64(0.5 + chance / 2.0)
    }
}

/// A number in 0..=1; std seeds each `RandomState` anew, which is random enough to spread clients.
fn chance() -> f64 {
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
        assert!((0.0..=1.0).contains(&chance()));
    }
}
