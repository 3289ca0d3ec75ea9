//! Parallel work whose results are used in the order of the jobs.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::Result;

/// The number of jobs for each thread that can be started before the first result of them is used.
const JOBS_PER_THREAD: usize = 3;

/// Runs the jobs on `threads` threads, at least one. Each thread runs its jobs with its own function, which `worker`
/// returns. Calls `take` with the results on the caller's thread, in the order of the jobs.
///
/// # Errors
/// Returns the first error of a job or of `take`, in the order of the jobs. Later jobs may have run.
pub(crate) fn run_in_order<Job, Output, Work>(
    threads: usize,
    jobs: impl Iterator<Item = Job> + Send,
    worker: impl Fn() -> Work + Sync,
    mut take: impl FnMut(Output) -> Result<()>,
) -> Result<()>
where
    Job: Send,
    Output: Send,
    Work: FnMut(Job) -> Result<Output>,
{
    let threads = threads.max(1);
    let queue = OrderedQueue {
        state: Mutex::new(State { jobs, started: 0, used: 0, done: BTreeMap::new(), workers: threads }),
        limit: threads * JOBS_PER_THREAD,
        changed: Condvar::new(),
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _guard = WorkerGuard(&queue);
                let mut work = worker();
                while let Some((number, job)) = queue.next_job() {
                    queue.finish(number, work(job));
                }
            });
        }
        let result = std::iter::from_fn(|| queue.next_result()).try_for_each(|output| take(output?));
        queue.close();
        result
    })
}

struct OrderedQueue<Jobs, Output> {
    state: Mutex<State<Jobs, Output>>,
    /// The most jobs that are started and whose results are not used yet.
    limit: usize,
    changed: Condvar,
}

struct State<Jobs, Output> {
    jobs: Jobs,
    started: usize,
    used: usize,
    /// Results that are not used yet, by job number.
    done: BTreeMap<usize, Result<Output>>,
    /// The number of running threads; 0 when the queue is closed.
    workers: usize,
}

/// Decrements the number of running threads when dropped, even by a panic.
struct WorkerGuard<'a, Jobs, Output>(&'a OrderedQueue<Jobs, Output>);

impl<Jobs, Output> Drop for WorkerGuard<'_, Jobs, Output> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.workers = state.workers.saturating_sub(1);
        self.0.changed.notify_all();
    }
}

impl<Jobs, Output> OrderedQueue<Jobs, Output> {
    fn lock(&self) -> MutexGuard<'_, State<Jobs, Output>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State<Jobs, Output>>) -> MutexGuard<'s, State<Jobs, Output>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, number: usize, result: Result<Output>) {
        self.lock().done.insert(number, result);
        self.changed.notify_all();
    }

    /// Returns the next result; `None` when there are no more.
    fn next_result(&self) -> Option<Result<Output>> {
        let mut state = self.lock();
        loop {
            let number = state.used;
            if let Some(result) = state.done.remove(&number) {
                state.used += 1;
                self.changed.notify_all();
                return Some(result);
            }
            if state.workers == 0 {
                return None;
            }
            state = self.wait(state);
        }
    }

    /// Closes the queue: no thread starts another job.
    fn close(&self) {
        self.lock().workers = 0;
        self.changed.notify_all();
    }
}

impl<Jobs: Iterator, Output> OrderedQueue<Jobs, Output> {
    /// Waits until there is room for a result, then returns the next job and its number. `None` when there are no more
    /// jobs or the queue is closed.
    fn next_job(&self) -> Option<(usize, Jobs::Item)> {
        let mut state = self.lock();
        while state.workers > 0 && state.started - state.used >= self.limit {
            state = self.wait(state);
        }
        if state.workers == 0 {
            return None;
        }
        let job = state.jobs.next()?;
        state.started += 1;
        Some((state.started - 1, job))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::Error;

    #[test]
    fn results_come_in_order_and_few_are_pending() {
        for threads in [1, 2, 5] {
            let (started, mut used) = (AtomicUsize::new(0), Vec::new());
            let work = || {
                |job: usize| {
                    started.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(Duration::from_micros((job % 7 * 50) as u64));
                    Ok(job * 2)
                }
            };
            let take = |output| {
                assert!(started.load(Ordering::Relaxed) <= used.len() + 1 + threads * JOBS_PER_THREAD);
                used.push(output);
                Ok(())
            };
            run_in_order(threads, 0..300, work, take).unwrap();
            assert!(used.iter().copied().eq((0..300).map(|job| job * 2)));
        }
    }

    #[test]
    fn the_first_error_ends_the_run() {
        let fail = |at: usize| move |job: usize| if job >= at { Err(Error::Cancelled) } else { Ok(job) };
        for at in [0, 50] {
            let mut used = 0;
            let result = run_in_order(
                3,
                0..,
                || fail(at),
                |_| {
                    used += 1;
                    Ok(())
                },
            );
            assert!(matches!(result, Err(Error::Cancelled)));
            assert_eq!(used, at);
        }
        let result = run_in_order(3, 0.., || Ok, |job: usize| if job == 9 { Err(Error::Cancelled) } else { Ok(()) });
        assert!(matches!(result, Err(Error::Cancelled)));
        run_in_order(2, 0..0, || Ok, |_: usize| unreachable!()).unwrap();
    }

    #[test]
    #[should_panic = "a scoped thread panicked"]
    fn a_panic_ends_the_run() {
        let work = || |job: usize| if job == 20 { panic!("on purpose") } else { Ok(job) };
        run_in_order(1, 0.., work, |_| Ok(())).unwrap();
    }
}
