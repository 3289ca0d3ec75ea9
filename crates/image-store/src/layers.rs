//! All layers of an image, several at once.

use std::cmp::Reverse;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use vmroot_transport::ImageSource;

use crate::layer::Layer;
use crate::progress::Report;
use crate::{Error, Result, Store};

/// Added to the nice value of threads that must not delay the critical layer: a tenth of its share of a core (sched(7)).
const NICER: i32 = 10;

/// Layers in the order in which they are begun, and the next one.
struct Queue {
    /// Positions in the image, the largest layer first. A large layer that is begun last has the machine to itself at
    /// the end, and can use only a part of it.
    order: Vec<usize>,
    next: AtomicUsize,
    /// Whether the first layer is more than one core's share of the work, so that all others are done before it.
    has_critical: bool,
    failure: Mutex<Option<Error>>,
}

impl Queue {
    fn new(layers: &[Layer], missing: &[usize], cores: u64) -> Self {
        let size = |number: &usize| layers[*number].descriptor.size;
        let mut order = missing.to_vec();
        order.sort_by_key(|number| Reverse(size(number)));
        // Sizes are those that a manifest names: any number.
        let total = missing.iter().map(size).fold(0, u64::saturating_add);
        let has_critical = order.first().is_some_and(|largest| size(largest) > total / cores);
        Self { order, next: AtomicUsize::new(0), has_critical, failure: Mutex::new(None) }
    }

    /// The rank and the number of the next layer; `None` at the end or after a failure.
    fn next(&self) -> Option<(usize, usize)> {
        if self.failure.lock().is_ok_and(|failure| failure.is_some()) {
            return None;
        }
        let rank = self.next.fetch_add(1, Ordering::Relaxed);
        self.order.get(rank).map(|&number| (rank, number))
    }

    /// Keeps the first failure: later ones are often its consequence.
    fn fail(&self, error: Error) {
        if let Ok(mut failure) = self.failure.lock() {
            failure.get_or_insert(error);
        }
    }
}

impl Store {
    /// Fetches and indexes the layers that are missing, `parallel` at once, the largest first.
    ///
    /// These are plain threads, not tasks of a pool of computing threads: they wait for sockets and disks.
    pub(crate) fn ensure_layers(
        &self,
        source: &dyn ImageSource,
        layers: &[Layer],
        missing: &[usize],
        reports: &[Report],
    ) -> Result<()> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let queue = Queue::new(layers, missing, cores as u64);
        thread::scope(|scope| -> Result<()> {
            for number in 0..self.options.parallel.max(1).min(missing.len()) {
                let work = || self.work(&queue, source, layers, reports);
                let thread = thread::Builder::new().name(format!("layer-{number}")).spawn_scoped(scope, work);
                thread.map_err(|error| Error::Threads(error.to_string()))?;
            }
            Ok(())
        })?;
        match queue.failure.into_inner() {
            Ok(Some(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes one layer after the other.
    fn work(&self, queue: &Queue, source: &dyn ImageSource, layers: &[Layer], reports: &[Report]) {
        let mut is_nice = false;
        while let Some((rank, number)) = queue.next() {
            if queue.has_critical && rank > 0 && !std::mem::replace(&mut is_nice, true) {
                be_nice();
            }
            let done = self
                .check_cancelled()
                .and_then(|()| self.ensure_layer(Some(source), &layers[number], &reports[number]).map(drop));
            if let Err(error) = done {
                return queue.fail(error);
            }
        }
    }
}

/// Lets threads of the critical layer go first. The nice value belongs to this thread, and to those that it starts to
/// read and decode. It cannot be lowered again without a privilege, so each worker is a new thread.
fn be_nice() {
    if let Err(error) = rustix::process::nice(NICER) {
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
            Layer { descriptor: Descriptor::new(MediaType::OCI_LAYER_GZIP, digest, size), diff_id: digest }
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

    /// Sizes of missing layers, cores, and whether the largest takes longer than its share of the machine.
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
    fn a_failure_stops_layers_that_are_not_begun() {
        let queue = Queue::new(&layers(&[1, 2, 3]), &[0, 1, 2], 2);
        assert_eq!(queue.next(), Some((0, 2)));
        queue.fail(Error::Cancelled);
        queue.fail(Error::Threads("a later one".to_owned()));
        assert_eq!(queue.next(), None);
        assert!(matches!(queue.failure.into_inner(), Ok(Some(Error::Cancelled))));
    }
}
