//! Download progress with rate and estimated time, over all blobs of an image.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use vmroot_image_store::{BlobProgress, Progress};
use vmroot_model::Digest;

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DownloadProgress {
    /// The blob that came forward.
    pub digest: Digest,
    /// Bytes of it that are here.
    pub current: u64,
    /// Bytes of it that there are.
    pub total: u64,
    /// Its number: the config is 0, layers follow from 1.
    pub blob_index: usize,
    /// How many blobs the image has.
    pub blob_count: usize,
    /// Bytes of all blobs that are here, and that there are.
    pub image_current: u64,
    /// See `image_current`.
    pub image_total: u64,
    /// Bytes a second over all blobs, averaged so that recent seconds count most; 0 in the first tenth of a second.
    pub rate: f64,
    /// How long the rest will take at that rate; nothing while the rate is not known.
    pub eta: Option<Duration>,
}

/// Turns what a pull reports into [`DownloadProgress`] for a function.
///
/// ```
/// use vmroot::ProgressMeter;
///
/// let meter = ProgressMeter::new(|progress| eprintln!("{} of {}", progress.current, progress.total));
/// # let _ = meter;
/// ```
pub struct ProgressMeter<F> {
    tell: F,
    state: Mutex<State>,
}

struct State {
    /// Where each blob was when it was first heard of, and where it is.
    blobs: HashMap<Digest, (u64, u64)>,
    rate: f64,
    measured: Option<(Instant, u64)>,
}

/// How much a new measurement counts against all before it.
const WEIGHT: f64 = 0.3;
/// The shortest time that a rate is measured over.
const INTERVAL: Duration = Duration::from_millis(100);

impl<F: Fn(&DownloadProgress) + Send + Sync> ProgressMeter<F> {
    /// A meter that calls `tell` for each piece that arrives, from any thread.
    pub fn new(tell: F) -> Self {
        Self { tell, state: Mutex::new(State { blobs: HashMap::new(), rate: 0.0, measured: None }) }
    }
}

impl<F: Fn(&DownloadProgress) + Send + Sync> Progress for ProgressMeter<F> {
    fn blob(&self, blob: &BlobProgress) {
        let progress = self.state.lock().expect("nobody panics while holding it").take(blob, Instant::now());
        (self.tell)(&progress);
    }
}

impl State {
    fn take(&mut self, blob: &BlobProgress, now: Instant) -> DownloadProgress {
        // What an earlier attempt left came at no rate: only what comes from now on is measured.
        self.blobs.entry(blob.digest).or_insert((blob.current, blob.current)).1 = blob.current;
        let current: u64 = self.blobs.values().map(|(_, current)| current).sum();
        let arrived: u64 = self.blobs.values().map(|(first, current)| current.saturating_sub(*first)).sum();
        let (since, before) = *self.measured.get_or_insert((now, arrived));
        let elapsed = now.duration_since(since);
        if elapsed >= INTERVAL {
            let rate = arrived.saturating_sub(before) as f64 / elapsed.as_secs_f64();
            self.rate = if self.rate == 0.0 { rate } else { WEIGHT * rate + (1.0 - WEIGHT) * self.rate };
            self.measured = Some((now, arrived));
        }
        let left = blob.image_total.saturating_sub(current);
        let eta = match left {
            0 => Some(Duration::ZERO),
            _ => Duration::try_from_secs_f64((left as f64 / self.rate).floor()).ok(),
        };
        DownloadProgress {
            digest: blob.digest,
            current: blob.current,
            total: blob.total,
            blob_index: blob.index,
            blob_count: blob.count,
            image_current: current,
            image_total: blob.image_total,
            rate: self.rate,
            eta,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_time_left_over_all_blobs() {
        let mut state = State { blobs: HashMap::new(), rate: 0.0, measured: None };
        let start = Instant::now();
        let blob = |name: &str, current| BlobProgress {
            digest: Digest::of(name.as_bytes()),
            index: 1,
            count: 3,
            current,
            total: 1000,
            image_total: 2000,
        };
        let first = state.take(&blob("a", 200), start);
        assert_eq!((first.rate, first.eta), (0.0, None), "what was there before came at no rate");
        let second = state.take(&blob("a", 700), start + Duration::from_secs(1));
        assert_eq!((second.rate, second.eta), (500.0, Some(Duration::from_secs(2))));
        let third = state.take(&blob("b", 1000), start + Duration::from_millis(1050));
        assert_eq!((third.rate, third.image_current), (500.0, 1700));
        state.take(&blob("a", 1000), start + Duration::from_secs(2));
        assert_eq!(state.take(&blob("b", 1000), start + Duration::from_secs(3)).eta, Some(Duration::ZERO));
    }
}
