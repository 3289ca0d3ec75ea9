//! Threads that share one piece of work.

use std::panic::resume_unwind;
use std::thread;

use vmroot_output::Meter;

use crate::{Error, Result};

/// One for each core.
pub(crate) fn all() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Does `work` on so many threads, this one included, until all are done. An error of one stops the others.
pub(crate) fn run(threads: usize, meter: &Meter<'_>, work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    let work = || {
        let result = work();
        if result.is_err() {
            meter.stop();
        }
        result
    };
    let results: Vec<Result<()>> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        let joined = others.into_iter().map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        std::iter::once(own).chain(joined).collect()
    });
    // Of several errors the one that stopped the others.
    let cause = |result: &Result<()>| !matches!(result, Err(Error::Cancelled));
    let (causes, stopped): (Vec<_>, Vec<_>) = results.into_iter().partition(cause);
    causes.into_iter().chain(stopped).collect()
}

/// Counts, and says whether to go on.
pub(crate) fn going_on(meter: &Meter<'_>, bytes: u64) -> Result<()> {
    if meter.advance(bytes).is_break() { Err(Error::Cancelled) } else { Ok(()) }
}
