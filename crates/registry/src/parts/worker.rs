//! The threads that fetch parts.

use std::ops::Range;
use std::sync::Arc;
use std::thread;

use super::{ConnectionPermit, PART_SIZE, Part, Shared, State};
use crate::backoff::Backoff;
use crate::{Error, Result};
use vmroot_errors::with_causes;

/// The number of bytes after an interruption that resets the count of retries.
const PROGRESS: u64 = 256 << 10;

/// A part that a thread fetches.
struct Assignment {
    number: u64,
    bytes: Range<u64>,
    /// The permit for its connection, or `None` if it uses the blob's own.
    connection: Option<ConnectionPermit>,
}

/// Starts a thread. Returns false if the system refuses one.
pub(super) fn start(shared: &Arc<Shared>) -> bool {
    let shared = Arc::clone(shared);
    let builder = thread::Builder::new().name("blob-part".to_owned());
    builder
        .spawn(move || run(&shared))
        .inspect_err(|error| tracing::warn!(error = with_causes(error), "cannot start a thread for parts"))
        .is_ok()
}

fn run(shared: &Shared) {
    while let Some(assignment) = next_assignment(shared) {
        let fetched = fetch(shared, &assignment);
        let mut state = shared.state();
        if assignment.connection.is_none() {
            state.own_connection_free = true;
        }
        if let Err(error) = fetched {
            if !matches!(error, Error::Cancelled) {
                tracing::info!(error = with_causes(&error), bytes = ?assignment.bytes, "cannot fetch a part of a blob");
            }
            if let Some(part) = state.part(assignment.number) {
                part.failed = Some(error);
            }
            // Later parts are not needed. The reader still reads the parts before this one.
            state.next = shared.descriptor.size;
        }
        drop(state);
        shared.changed.notify_all();
    }
}

/// Waits for a connection and memory, and returns the next part to fetch. Returns `None` when no part is left or the
/// reader is dropped.
fn next_assignment(shared: &Shared) -> Option<Assignment> {
    let budget = shared.client.budget();
    let mut state = shared.state();
    loop {
        if shared.stop.is_cancelled() || state.next >= shared.descriptor.size {
            return None;
        }
        if !state.has_served_part && !state.parts.is_empty() {
            state = shared.wait(state);
            continue;
        }
        let connection = if state.own_connection_free { None } else { budget.try_take_connection() };
        let memory = if state.own_memory_free { None } else { budget.try_take_memory() };
        if (state.own_connection_free || connection.is_some()) && (state.own_memory_free || memory.is_some()) {
            if connection.is_none() {
                state.own_connection_free = false;
            }
            if memory.is_none() {
                state.own_memory_free = false;
            }
            let bytes = state.next..(state.next + PART_SIZE).min(shared.descriptor.size);
            state.next = bytes.end;
            let number = state.first + state.parts.len() as u64;
            let left = bytes.end - bytes.start;
            // The buffer never grows beyond the permitted memory.
            let buffer = Vec::with_capacity(usize::try_from(left).unwrap_or_default());
            state.parts.push_back(Part { bytes: buffer, left, failed: None, memory });
            return Some(Assignment { number, bytes, connection });
        }
        // A connection without memory, or the reverse, is useless here, and other blobs may need it.
        drop((connection, memory));
        state = shared.wait(state);
    }
}

/// Fetches a part. Reconnects after interruptions.
fn fetch(shared: &Shared, assignment: &Assignment) -> Result<()> {
    let options = shared.client.options();
    let mut position = assignment.bytes.start;
    let mut progress_from = position;
    let mut backoff = Backoff::default();
    while position < assignment.bytes.end {
        let error = match fetch_some(shared, assignment, &mut position) {
            Ok(()) => continue,
            Err(error) if error.is_broken_connection() => error,
            Err(error) => return Err(error),
        };
        if position - progress_from >= PROGRESS {
            backoff.reset();
        }
        progress_from = position;
        if !backoff.fail(options) {
            return Err(error);
        }
        let pause = backoff.next_pause(options, None);
        let url = error.broken_url().unwrap_or(shared.reference.registry_host());
        shared.client.report_retry(url, &error, backoff.failures(), pause, false);
        shared.stop.sleep(pause)?;
    }
    Ok(())
}

/// Requests the rest of a part, and stores its bytes as they arrive.
fn fetch_some(shared: &Shared, assignment: &Assignment, position: &mut u64) -> Result<()> {
    let range = *position..assignment.bytes.end;
    let Shared { client, reference, descriptor, .. } = shared;
    let mut body = client.blob_part(reference, descriptor, range)?;
    while let Some(chunk) = body.take_chunk()? {
        *position += chunk.len() as u64;
        client.budget().add_received(chunk.len() as u64);
        let mut state = shared.state();
        // The part is always present, because the reader removes a part only when it is complete.
        let Some(part) = state.part(assignment.number) else { return Err(Error::Cancelled) };
        part.bytes.extend_from_slice(&chunk);
        part.left -= chunk.len() as u64;
        state.has_served_part = true;
        drop(state);
        shared.changed.notify_all();
    }
    Ok(())
}

impl State {
    fn part(&mut self, number: u64) -> Option<&mut Part> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.parts.get_mut(at)
    }
}
