//! Fetching and indexing of all layers of an image, several at once.

use std::cmp::Reverse;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use vmroot_layer_index::Index;
use vmroot_transport::ImageSource;

use crate::layer::Layer;
use crate::progress::BlobReporter;
use crate::{BlobProgress, BlobStage, Error, Progress, Result, Store};

/// The increment of the nice value for threads that must not delay the critical layer. It leaves them about a tenth of
/// its share of a core (sched(7)).
const NICE_INCREMENT: i32 = 10;

/// The layers in their order of work, with the position of the next one.
struct Queue {
    /// Positions in the image, the largest layer first. A large layer at the end would run alone and could not use all
    /// cores.
    order: Vec<usize>,
    next: AtomicUsize,
    /// Whether the first layer is more than one core's share of the work. All others then finish before it.
    has_critical: bool,
    done: Mutex<Done>,
}

/// The results of the threads.
#[derive(Default)]
struct Done {
    /// The indexes of finished layers, with their positions.
    indexes: Vec<(usize, Index)>,
    failure: Option<Error>,
}

impl Queue {
    fn new(layers: &[Layer], missing: &[usize], cores: u64) -> Self {
        let size = |number: &usize| layers[*number].descriptor.size;
        let mut order = missing.to_vec();
        order.sort_by_key(|number| Reverse(size(number)));
        // The sizes come from a manifest and can be any number.
        let total = missing.iter().map(size).fold(0, u64::saturating_add);
        let has_critical = order.first().is_some_and(|largest| size(largest) > total / cores);
        Self { order, next: AtomicUsize::new(0), has_critical, done: Mutex::default() }
    }

    /// Returns the rank and the position of the next layer; `None` at the end or after a failure.
    fn next(&self) -> Option<(usize, usize)> {
        if self.done().failure.is_some() {
            return None;
        }
        let rank = self.next.fetch_add(1, Ordering::Relaxed);
        self.order.get(rank).map(|&number| (rank, number))
    }

    /// Records the first failure. Later ones are often its consequences.
    fn fail(&self, error: Error) {
        self.done().failure.get_or_insert(error);
    }

    fn done(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the indexes, or the first failure.
    fn finish(self) -> Result<Vec<(usize, Index)>> {
        let Done { indexes, failure } = self.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        failure.map_or(Ok(indexes), Err)
    }
}

impl Store {
    /// Fetches and indexes the missing layers, `parallel` at once, the largest first. Returns the indexes of all layers.
    ///
    /// The threads are plain ones and not tasks of a thread pool, because they wait for sockets and disks.
    pub(crate) fn ensure_layers(
        &self,
        source: &dyn ImageSource,
        layers: &[Layer],
        progress: &Arc<dyn Progress>,
    ) -> Result<Vec<Index>> {
        let mut indexes: Vec<Option<Index>> = layers.iter().map(|layer| self.open_own_or_shared(layer)).collect();
        let missing: Vec<usize> = (0..layers.len()).filter(|&number| indexes[number].is_none()).collect();
        for (layer, _) in layers.iter().zip(&indexes).filter(|(_, index)| index.is_some()) {
            tracing::info!("layer {}: in the cache already", layer.descriptor.digest);
        }
        let layers = &self.with_keys(layers, &missing)?;
        let reporters = self.reporters(layers, &missing, progress);
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let queue = Queue::new(layers, &missing, cores as u64);
        thread::scope(|scope| -> Result<()> {
            for number in 0..self.options.parallel.max(1).min(missing.len()) {
                let work = || self.work(&queue, source, layers, &reporters);
                let thread = thread::Builder::new().name(format!("layer-{number}")).spawn_scoped(scope, work);
                thread.map_err(|error| Error::Threads(error.to_string()))?;
            }
            Ok(())
        })?;
        for (number, index) in queue.finish()? {
            indexes[number] = Some(index);
        }
        Ok(indexes.into_iter().flatten().collect())
    }

    /// Returns a progress reporter for each layer.
    fn reporters(&self, layers: &[Layer], missing: &[usize], progress: &Arc<dyn Progress>) -> Vec<BlobReporter> {
        let fetched = missing.iter().map(|&number| &layers[number].descriptor);
        let fetched = fetched.filter(|blob| !self.has_blob(&blob.digest));
        let image_total = fetched.map(|blob| blob.size).sum();
        let reporter = |(number, layer): (usize, &Layer)| BlobReporter {
            progress: Arc::clone(progress),
            blob: BlobProgress {
                digest: layer.descriptor.digest,
                layer_index: number,
                layer_count: layers.len(),
                stage: BlobStage::Fetching,
                current: 0,
                total: layer.descriptor.size,
                image_total,
            },
        };
        layers.iter().enumerate().map(reporter).collect()
    }

    /// Handles layers from the queue until it is empty or one fails.
    fn work(&self, queue: &Queue, source: &dyn ImageSource, layers: &[Layer], reporters: &[BlobReporter]) {
        let mut is_nice = false;
        while let Some((rank, number)) = queue.next() {
            if queue.has_critical && rank > 0 && !std::mem::replace(&mut is_nice, true) {
                raise_nice_value();
            }
            let opened = self
                .check_cancelled()
                .and_then(|()| self.ensure_layer(Some(source), &layers[number], &reporters[number]))
                .map_err(|error| error.of_member(source, &layers[number].descriptor));
            match opened {
                Ok(index) => queue.done().indexes.push((number, index)),
                Err(error) => return queue.fail(error),
            }
        }
    }
}

/// Raises the nice value of this thread, so that threads of the critical layer run first.
///
/// Threads that it starts to read and decode inherit the value. It cannot be lowered again without a privilege, so each
/// worker is a new thread.
fn raise_nice_value() {
    if let Err(error) = rustix::process::nice(NICE_INCREMENT) {
        tracing::debug!(%error, "the nice value of a thread cannot be raised");
    }
}

#[cfg(test)]
mod tests {
    use vmroot_model::{Descriptor, Digest, MediaType};

    use super::*;

    fn layers(sizes: &[u64]) -> Vec<Layer> {
        let layer = |&size: &u64| {
            let digest = Digest::of(&size.to_le_bytes());
            Layer::new(Descriptor::new(MediaType::OCI_LAYER_GZIP, digest, size), digest)
        };
        sizes.iter().map(layer).collect()
    }

    fn order(queue: &Queue) -> Vec<usize> {
        std::iter::from_fn(|| queue.next()).map(|(_, number)| number).collect()
    }

    #[test]
    fn missing_layers_come_largest_first() {
        let queue = Queue::new(&layers(&[5, 40, 7, 30]), &[0, 2, 3], 2);
        assert_eq!(order(&queue), [3, 2, 0]);
    }

    /// Sizes of missing layers, number of cores, and whether the largest layer is critical.
    #[test]
    fn a_layer_is_critical_when_it_is_more_than_one_cores_share() {
        for (sizes, cores, critical) in [
            (&[70, 20, 20][..], 2, true),
            (&[50, 50], 2, false),
            (&[10; 40], 2, false),
            (&[10; 40], 64, true),
            (&[u64::MAX, u64::MAX], 2, true),
            (&[0, 0], 2, false),
            (&[], 2, false),
        ] {
            let missing: Vec<usize> = (0..sizes.len()).collect();
            assert_eq!(Queue::new(&layers(sizes), &missing, cores).has_critical, critical, "{sizes:?} on {cores}");
        }
    }

    #[test]
    fn a_failure_stops_further_layers() {
        let queue = Queue::new(&layers(&[1, 2, 3]), &[0, 1, 2], 2);
        assert_eq!(queue.next(), Some((0, 2)));
        queue.fail(Error::Cancelled);
        queue.fail(Error::Threads("a later one".to_owned()));
        assert_eq!(queue.next(), None);
        assert!(matches!(queue.finish(), Err(Error::Cancelled)));
    }
}
