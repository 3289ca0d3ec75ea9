//! Download progress with rate and remaining time, over all layers of an image.

use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use vmroot_image_store::{BlobProgress, BlobStage, Progress};
use vmroot_model::Digest;

/// The progress of a download.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct DownloadProgress {
    /// The digest of the layer's blob that has new bytes.
    pub digest: Digest,
    /// The bytes of the blob that are downloaded, including those of earlier attempts.
    pub current: u64,
    /// The size of the blob in bytes.
    pub total: u64,
    /// The layer's position in the image: 0 is the lowest.
    pub layer_index: usize,
    /// The number of layers of the image.
    pub layer_count: usize,
    /// The bytes of the layers' blobs that are downloaded.
    pub image_current: u64,
    /// The size in bytes of the blobs of all layers that must be downloaded.
    pub image_total: u64,
    /// Bytes per second over all blobs, as a moving average; 0 in the first 100 milliseconds.
    pub rate: f64,
    /// The remaining time at that rate; `None` while the rate is unknown.
    pub eta: Option<Duration>,
}

/// A [`Progress`] that adds rate and remaining time, and passes the result to a function.
///
/// ```
/// use vmroot::ProgressMeter;
///
/// let meter = ProgressMeter::new(|progress| eprintln!("{} of {}", progress.current, progress.total));
/// # let _ = meter;
/// ```
pub struct ProgressMeter<F> {
    report: F,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The bytes of each blob at its first event, and now.
    blobs: HashMap<Digest, (u64, u64)>,
    rate: f64,
    measured: Option<(Instant, u64)>,
}

/// The weight of a new measurement in the moving average.
const RATE_WEIGHT: f64 = 0.3;
/// The shortest time over which a rate is measured.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

impl<F: Fn(&DownloadProgress) + Send + Sync> ProgressMeter<F> {
    /// Returns a meter that calls `report` for each piece that arrives, from any thread. Calls may overlap.
    pub fn new(report: F) -> Self {
        Self { report, state: Mutex::new(State { blobs: HashMap::new(), rate: 0.0, measured: None }) }
    }
}

impl<F> fmt::Debug for ProgressMeter<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgressMeter").field("state", &self.state).finish_non_exhaustive()
    }
}

impl<F: Fn(&DownloadProgress) + Send + Sync> Progress for ProgressMeter<F> {
    fn blob(&self, blob: &BlobProgress) {
        // A layer that is indexed again from the cache is no download.
        if blob.stage != BlobStage::Fetching {
            return;
        }
        let mut state = self.state.lock().expect("no thread panics while it holds the lock");
        let progress = state.record(blob, Instant::now());
        drop(state);
        (self.report)(&progress);
    }
}

impl State {
    fn record(&mut self, blob: &BlobProgress, now: Instant) -> DownloadProgress {
        // Bytes of an earlier attempt do not count for the rate.
        self.blobs.entry(blob.digest).or_insert((blob.current, blob.current)).1 = blob.current;
        let current: u64 = self.blobs.values().map(|(_, current)| current).sum();
        let arrived: u64 = self.blobs.values().map(|(first, current)| current.saturating_sub(*first)).sum();
        let (since, before) = *self.measured.get_or_insert((now, arrived));
        let elapsed = now.duration_since(since);
        if elapsed >= MIN_INTERVAL {
            let rate = arrived.saturating_sub(before) as f64 / elapsed.as_secs_f64();
            self.rate = if self.rate == 0.0 { rate } else { RATE_WEIGHT * rate + (1.0 - RATE_WEIGHT) * self.rate };
            self.measured = Some((now, arrived));
        }
        let remaining = blob.image_total.saturating_sub(current);
        let eta = match remaining {
            0 => Some(Duration::ZERO),
            _ => Duration::try_from_secs_f64((remaining as f64 / self.rate).floor()).ok(),
        };
        DownloadProgress {
            digest: blob.digest,
            current: blob.current,
            total: blob.total,
            layer_index: blob.layer_index,
            layer_count: blob.layer_count,
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
    fn rate_and_remaining_time_cover_all_blobs() {
        let mut state = State { blobs: HashMap::new(), rate: 0.0, measured: None };
        let start = Instant::now();
        let blob = |name: &str, current| {
            let mut blob = BlobProgress::new(Digest::of(name.as_bytes()), 1000);
            (blob.current, blob.image_total) = (current, 2000);
            blob
        };
        let first = state.record(&blob("a", 200), start);
        assert_eq!((first.rate, first.eta), (0.0, None), "bytes of an earlier attempt do not count for the rate");
        let second = state.record(&blob("a", 700), start + Duration::from_secs(1));
        assert_eq!((second.rate, second.eta), (500.0, Some(Duration::from_secs(2))));
        let third = state.record(&blob("b", 1000), start + Duration::from_millis(1050));
        assert_eq!((third.rate, third.image_current), (500.0, 1700));
        state.record(&blob("a", 1000), start + Duration::from_secs(2));
        assert_eq!(state.record(&blob("b", 1000), start + Duration::from_secs(3)).eta, Some(Duration::ZERO));
    }
}
