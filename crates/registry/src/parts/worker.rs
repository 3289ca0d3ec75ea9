//! A thread that fetches parts.

use std::ops::Range;
use std::sync::Arc;
use std::thread;

use vmroot_errors::with_causes;

use super::{Connection, PART, Part, Shared, State};
use crate::backoff::Backoff;
use crate::{Error, Result};

/// How much of a part must come after a break for the count of breaks to start again, in bytes.
const PROGRESS: u64 = 256 << 10;

/// A part that a thread has taken.
struct Taken {
    number: u64,
    bytes: Range<u64>,
    /// `None` for the connection that the blob has anyhow.
    connection: Option<Connection>,
}

/// Starts a thread; false if there can be no more.
pub(super) fn start(shared: &Arc<Shared>) -> bool {
    let shared = Arc::clone(shared);
    let builder = thread::Builder::new().name("blob-part".to_owned());
    builder
        .spawn(move || work(&shared))
        .inspect_err(|error| tracing::warn!(error = with_causes(error), "one connection fewer"))
        .is_ok()
}

fn work(shared: &Shared) {
    while let Some(taken) = take(shared) {
        let fetched = fetch(shared, &taken);
        let mut state = shared.state();
        if taken.connection.is_none() {
            state.own_connection = true;
        }
        if let Err(error) = fetched {
            if !matches!(error, Error::Cancelled) {
                tracing::info!(error = with_causes(&error), bytes = ?taken.bytes, "a part of a blob cannot be had by itself");
            }
            if let Some(part) = state.part(taken.number) {
                part.failed = Some(error);
            }
            // No later part is needed any more. The reader still gets the parts before this one.
            state.next = shared.descriptor.size;
        }
        drop(state);
        shared.changed.notify_all();
    }
}

/// The next part, once there are a connection and room for it; `None` when all are taken, or the reader is gone.
fn take(shared: &Shared) -> Option<Taken> {
    let budget = shared.client.budget();
    let mut state = shared.state();
    loop {
        if shared.stop.is_cancelled() || state.next >= shared.descriptor.size {
            return None;
        }
        if !state.proved && !state.parts.is_empty() {
            state = shared.wait(state);
            continue;
        }
        let connection = if state.own_connection { None } else { budget.connection() };
        let room = if state.own_room { None } else { budget.room() };
        if (state.own_connection || connection.is_some()) && (state.own_room || room.is_some()) {
            if connection.is_none() {
                state.own_connection = false;
            }
            if room.is_none() {
                state.own_room = false;
            }
            let bytes = state.next..(state.next + PART).min(shared.descriptor.size);
            state.next = bytes.end;
            let number = state.first + state.parts.len() as u64;
            let left = bytes.end - bytes.start;
            // As much as there is room for, and never more.
            let buffer = Vec::with_capacity(usize::try_from(left).unwrap_or_default());
            state.parts.push_back(Part { bytes: buffer, left, failed: None, room });
            return Some(Taken { number, bytes, connection });
        }
        // One without the other is of no use here, and other blobs may need it.
        drop((connection, room));
        state = shared.wait(state);
    }
}

/// Fetches a part over as many connections as it takes.
fn fetch(shared: &Shared, taken: &Taken) -> Result<()> {
    let options = shared.client.options();
    let mut position = taken.bytes.start;
    let mut progress_from = position;
    let mut backoff = Backoff::default();
    while position < taken.bytes.end {
        let error = match fetch_some(shared, taken, &mut position) {
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
        tracing::info!(error = with_causes(&error), position, "going on where the connection broke");
        backoff.pause(options, &shared.stop, None)?;
    }
    Ok(())
}

/// Asks for the rest of a part, and hands over its bytes as they come.
fn fetch_some(shared: &Shared, taken: &Taken, position: &mut u64) -> Result<()> {
    let range = *position..taken.bytes.end;
    let Shared { client, reference, descriptor, stop, .. } = shared;
    let mut body = client.blob_part(reference, descriptor, range, stop)?;
    while let Some(chunk) = body.take_chunk()? {
        *position += chunk.len() as u64;
        let mut state = shared.state();
        // It is always there: the reader takes no part away before all of it came.
        let Some(part) = state.part(taken.number) else { return Err(Error::Cancelled) };
        part.bytes.extend_from_slice(&chunk);
        part.left -= chunk.len() as u64;
        state.proved = true;
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
