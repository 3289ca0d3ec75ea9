//! Work on several threads whose results are used in the order of the jobs.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::Result;

/// Jobs for each thread that may be begun before the first of them is taken.
const AHEAD: usize = 3;

/// Hands the jobs out to `threads` threads, at least one, each of which works by a function of its own that `worker`
/// makes; hands their results to `take`, on the caller's thread, in the order of the jobs.
///
/// # Errors
/// The first error in that order, of a job or of `take`. Jobs after it may have been done.
pub(crate) fn in_order<Job, Output, Work>(
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
    let line = Line {
        state: Mutex::new(State { jobs, begun: 0, taken: 0, done: BTreeMap::new(), workers: threads }),
        limit: threads * AHEAD,
        changed: Condvar::new(),
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _leaving = Leaving(&line);
                let mut work = worker();
                while let Some((number, job)) = line.begin() {
                    line.finish(number, work(job));
                }
            });
        }
        let result = std::iter::from_fn(|| line.take()).try_for_each(|output| take(output?));
        line.close();
        result
    })
}

struct Line<Jobs, Output> {
    state: Mutex<State<Jobs, Output>>,
    /// The most jobs that are begun and not taken.
    limit: usize,
    changed: Condvar,
}

struct State<Jobs, Output> {
    jobs: Jobs,
    begun: usize,
    taken: usize,
    /// Results that are not taken, by the number of the job.
    done: BTreeMap<usize, Result<Output>>,
    /// Threads that still work; none when the line is closed.
    workers: usize,
}

/// Says that a thread works no more, even if it panics.
struct Leaving<'a, Jobs, Output>(&'a Line<Jobs, Output>);

impl<Jobs, Output> Drop for Leaving<'_, Jobs, Output> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.workers = state.workers.saturating_sub(1);
        self.0.changed.notify_all();
    }
}

impl<Jobs, Output> Line<Jobs, Output> {
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

    /// The next result; nothing when there are no more.
    fn take(&self) -> Option<Result<Output>> {
        let mut state = self.lock();
        loop {
            let number = state.taken;
            if let Some(result) = state.done.remove(&number) {
                state.taken += 1;
                self.changed.notify_all();
                return Some(result);
            }
            if state.workers == 0 {
                return None;
            }
            state = self.wait(state);
        }
    }

    /// Lets no thread begin another job.
    fn close(&self) {
        self.lock().workers = 0;
        self.changed.notify_all();
    }
}

impl<Jobs: Iterator, Output> Line<Jobs, Output> {
    /// The next job and its number, once there is room for its result.
    fn begin(&self) -> Option<(usize, Jobs::Item)> {
        let mut state = self.lock();
        while state.workers > 0 && state.begun - state.taken >= self.limit {
            state = self.wait(state);
        }
        if state.workers == 0 {
            return None;
        }
        let job = state.jobs.next()?;
        state.begun += 1;
        Some((state.begun - 1, job))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::Error;

    #[test]
    fn results_come_in_order_and_not_too_many_wait() {
        for threads in [1, 2, 5] {
            let (begun, mut taken) = (AtomicUsize::new(0), Vec::new());
            let work = || {
                |job: usize| {
                    begun.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(Duration::from_micros((job % 7 * 50) as u64));
                    Ok(job * 2)
                }
            };
            let take = |output| {
                assert!(begun.load(Ordering::Relaxed) <= taken.len() + 1 + threads * AHEAD);
                taken.push(output);
                Ok(())
            };
            in_order(threads, 0..300, work, take).unwrap();
            assert!(taken.iter().copied().eq((0..300).map(|job| job * 2)));
        }
    }

    #[test]
    fn the_first_error_ends_it() {
        let fail = |at: usize| move |job: usize| if job >= at { Err(Error::Cancelled) } else { Ok(job) };
        for at in [0, 50] {
            let mut taken = 0;
            let result = in_order(
                3,
                0..,
                || fail(at),
                |_| {
                    taken += 1;
                    Ok(())
                },
            );
            assert!(matches!(result, Err(Error::Cancelled)));
            assert_eq!(taken, at);
        }
        let result = in_order(3, 0.., || Ok, |job: usize| if job == 9 { Err(Error::Cancelled) } else { Ok(()) });
        assert!(matches!(result, Err(Error::Cancelled)));
        in_order(2, 0..0, || Ok, |_: usize| unreachable!()).unwrap();
    }

    #[test]
    #[should_panic = "a scoped thread panicked"]
    fn a_panic_is_not_waited_for() {
        let work = || |job: usize| if job == 20 { panic!("on purpose") } else { Ok(job) };
        in_order(1, 0.., work, |_| Ok(())).unwrap();
    }
}
