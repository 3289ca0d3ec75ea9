//! The library's progress events, shown by the [`display`].

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vmroot::model::Descriptor;
use vmroot::output::WriteProgress;
use vmroot::registry::{RequestEvent, RequestObserver};
use vmroot::{
    BlobProgress, BlobStage, BlobState, Cancel, CopyProgress, Digest, Progress, VerifyProgress, Work, WorkProgress,
};

use crate::display::{self, Action, Group, LONG, NewTask, Outcome, Task, Unit};
use crate::output;

/// The number of digits of a digest that name a blob.
const SHORT: usize = 12;

/// Shows the work on a store.
pub(crate) struct StoreProgress {
    /// What is done with blobs that come from a source.
    action: Action,
    /// The name of other work: an archive, a directory.
    name: String,
    delay: Duration,
    state: Mutex<StoreState>,
}

#[derive(Default)]
struct StoreState {
    /// The blobs of the layers. Created by the first one.
    group: Option<Group>,
    blobs: HashMap<Digest, Task>,
    /// Other work, by its kind. `None` stands for a verification.
    work: HashMap<Option<Work>, Task>,
}

impl StoreProgress {
    /// Shows a pull at once.
    pub(crate) fn of_pull() -> Arc<dyn Progress> {
        Self::after(Action::Fetch, "", Duration::ZERO)
    }

    /// Shows other work if it takes long. `action` is what is done with blobs, and `name` is that of the whole.
    pub(crate) fn of_work(action: Action, name: &str) -> Arc<dyn Progress> {
        Self::after(action, name, LONG)
    }

    fn after(action: Action, name: &str, delay: Duration) -> Arc<dyn Progress> {
        Arc::new(Self { action, name: name.to_owned(), delay, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, StoreState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, group: &Group, blob: &BlobProgress) -> Task {
        let is_fetched = blob.stage == BlobStage::Fetching;
        let action = if is_fetched { self.action } else { Action::Unpack };
        let task =
            NewTask { current: blob.current, total: Some(blob.total), ..NewTask::new(action, short(&blob.digest)) };
        if is_fetched {
            group.plan(blob.image_total);
        }
        group.begin(task, is_fetched)
    }

    fn advance_work(&self, kind: Option<Work>, task: NewTask, done: u64, total: Option<u64>) {
        let mut state = self.state();
        let task = state.work.entry(kind).or_insert_with(|| task.start(self.delay));
        task.set(done, total);
    }
}

impl Progress for StoreProgress {
    fn blob(&self, blob: &BlobProgress) {
        let mut state = self.state();
        if blob.stage == BlobStage::Done {
            if let Some(task) = state.blobs.remove(&blob.digest) {
                task.set(blob.total, Some(blob.total));
                task.end(Outcome::Done);
            }
            return;
        }
        let StoreState { group, blobs, .. } = &mut *state;
        let group = group.get_or_insert_with(|| Group::new(self.delay));
        let task = blobs.entry(blob.digest).or_insert_with(|| self.begin(group, blob));
        // The layer is unpacked while its blob arrives, and the rest afterwards.
        let has_arrived = blob.current >= blob.total && blob.total > 0;
        let action = if has_arrived || blob.stage == BlobStage::Unpacking { Action::Unpack } else { self.action };
        task.set_action(action);
        task.set(blob.current, Some(blob.total));
    }

    fn verified(&self, progress: &VerifyProgress) {
        let task = NewTask::new(Action::Verify, "the cache");
        self.advance_work(None, task, progress.bytes, Some(progress.total_bytes));
    }

    fn work(&self, progress: &WorkProgress) {
        let (action, unit) = match progress.work {
            Work::ReadArchive => (Action::Load, Unit::Bytes),
            Work::Save => (Action::Save, Unit::Bytes),
            Work::AddLayer => (Action::Commit, Unit::Bytes),
            Work::Collect => (Action::Remove, Unit::Files),
            Work::Prebake => (Action::Export, Unit::Bytes),
            Work::PutOnTop => (Action::Prepare, Unit::Bytes),
            _ => return,
        };
        let name = match progress.work {
            Work::Collect => "unneeded files",
            Work::PutOnTop => "the layers on top",
            Work::ReadArchive if self.name.is_empty() => "the archive",
            _ => &self.name,
        };
        let task = NewTask { unit, total: progress.total, ..NewTask::new(action, name) };
        self.advance_work(Some(progress.work), task, progress.done, progress.total);
        // Its layers have tasks of their own afterwards.
        if progress.work == Work::ReadArchive
            && progress.total == Some(progress.done)
            && let Some(task) = self.state().work.remove(&Some(progress.work))
        {
            task.end(Outcome::Done);
        }
    }

    fn message(&self, message: &str) {
        output::print_note(message);
    }
}

impl Drop for StoreProgress {
    fn drop(&mut self) {
        // Work has no event for its end. What has failed has printed an error, or will.
        let mut state = self.state();
        for (_, task) in state.work.drain() {
            if task.is_complete() {
                task.end(Outcome::Done);
            }
        }
    }
}

/// Shows a copy if it takes long: a bar for each blob, and one for all.
pub(crate) struct CopyTasks {
    group: Group,
    state: Mutex<CopyState>,
}

#[derive(Default)]
struct CopyState {
    planned: HashSet<Digest>,
    planned_bytes: u64,
    tasks: HashMap<Digest, Task>,
    /// The blobs that are done. The copy of a later image reports them again.
    done: HashSet<Digest>,
}

impl CopyTasks {
    pub(crate) fn progress() -> Arc<dyn CopyProgress> {
        Arc::new(Self { group: Group::new(LONG), state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, CopyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CopyProgress for CopyTasks {
    fn planned(&self, blobs: &[Descriptor]) {
        let mut state = self.state();
        for blob in blobs {
            if state.planned.insert(blob.digest) {
                state.planned_bytes = state.planned_bytes.saturating_add(blob.size);
            }
        }
        self.group.plan(state.planned_bytes);
    }

    fn blob(&self, blob: &Descriptor, event: BlobState) {
        let mut state = self.state();
        let is_planned = state.planned.contains(&blob.digest);
        match event {
            BlobState::Started | BlobState::Read(_) => {
                let current = if let BlobState::Read(count) = event { count } else { 0 };
                let task = state.tasks.entry(blob.digest).or_insert_with(|| {
                    let task = NewTask::new(Action::Copy, short(&blob.digest));
                    self.group.begin(NewTask { total: Some(blob.size), ..task }, is_planned)
                });
                task.set(current, Some(blob.size));
            }
            BlobState::Written => {
                state.done.insert(blob.digest);
                if let Some(task) = state.tasks.remove(&blob.digest) {
                    task.set(blob.size, Some(blob.size));
                    task.end(Outcome::Done);
                }
            }
            BlobState::Reused if state.done.insert(blob.digest) => {
                if is_planned {
                    self.group.skip(blob.size);
                }
                // A retry may find the blob of an attempt before.
                if let Some(task) = state.tasks.remove(&blob.digest) {
                    task.set(0, Some(0));
                    task.end(Outcome::Reused);
                }
            }
            _ => {}
        }
    }

    fn message(&self, message: &str) {
        if display::is_shown() {
            output::print_note(message);
        }
    }
}

/// Shows what requests to registries wait for.
pub(crate) struct Requests;

impl RequestObserver for Requests {
    fn event(&self, event: &RequestEvent<'_>) {
        match *event {
            RequestEvent::Waiting { request, host, silent_for, attempt, attempts } => {
                display::waiting(request, host, silent_for, attempt, attempts);
            }
            RequestEvent::Answered { request, .. } => display::answered(request),
            RequestEvent::Retrying { host, reason, attempt, attempts, pause, is_requested } => {
                display::retrying(&display::Retry { host, reason, attempt, attempts, pause, is_requested });
            }
            RequestEvent::NextPlace { failed, next, reason } => display::next_place(failed, next, reason),
            _ => {}
        }
    }
}

/// Shows the progress of a writer, and stops the writer if the work is cancelled. This is the body of a progress hook.
pub(crate) fn advance(task: Option<&Task>, cancel: &Cancel, progress: WriteProgress) -> ControlFlow<()> {
    if let Some(task) = task {
        task.set(progress.bytes, Some(progress.total_bytes).filter(|total| *total > 0));
    }
    cancel.control_flow()
}

/// Returns the name of a blob: the first digits of its digest, as docker shows them.
fn short(digest: &Digest) -> String {
    digest.hex().chars().take(SHORT).collect()
}
