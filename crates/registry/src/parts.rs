//! Reading of a large blob in parts, over several connections at once.
//!
//! Many registries limit the rate of a connection, so several connections are faster. Parts are fetched in order, and
//! their number is limited, because a part that arrives early waits in memory. Each connection belongs to the thread
//! that reads it, so threads fetch the parts. They cost processor time, and are used only where the connection is slow
//! ([`SpeedMonitor`](crate::speed_monitor::SpeedMonitor)).
//!
//! A failure that retries do not fix ends all parts. Examples are a registry that does not support ranges, or sends
//! another part. [`ResumingBlob`](crate::ResumingBlob) then continues over one connection from the position of the
//! reader. So the result of such a failure is the same as without parts.

mod budget;
mod worker;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use vmroot_model::{Descriptor, Reference};
use vmroot_output::{CANCEL_LATENCY, Cancel};

use crate::{Client, Error, Result};
use budget::MemoryPermit;
pub(crate) use budget::{Budget, ConnectionPermit};

/// The size of a part in bytes. Large enough that a request for each costs little, and small enough that several fit
/// into memory.
pub(crate) const PART_SIZE: u64 = 4 << 20;

/// The maximum number of parts in memory, for all blobs of a client together.
pub(crate) const PARTS_LIMIT: usize = 8;

/// The maximum number of connections of one blob.
pub(crate) const BLOB_CONNECTIONS: usize = 8;

/// The maximum time that a reader with a working connection waits for the first part. A registry may refuse a second
/// connection.
const FIRST_PART_TIMEOUT: Duration = Duration::from_secs(2);

/// A reader of the rest of a blob, in parts.
#[derive(Debug)]
pub(crate) struct Parts {
    shared: Arc<Shared>,
    /// Bytes of the first part. `consumed` of them have been read.
    bytes: Vec<u8>,
    consumed: usize,
    /// The offset in the blob of the first part.
    start: u64,
    /// Whether the caller has released its connection to the parts.
    has_connection: bool,
}

/// The state that the reader shares with its threads.
struct Shared {
    client: Client,
    reference: Reference,
    descriptor: Descriptor,
    /// Stops the threads. Set together with the client's own flag.
    stop: Cancel,
    state: Mutex<State>,
    changed: Condvar,
    /// Memory for one part, held for the life of the reader, so that one part can always be fetched.
    _own_memory: MemoryPermit,
}

struct State {
    /// Parts that are being fetched or wait to be read, in order of their offsets.
    parts: VecDeque<Part>,
    /// The number of the first part in `parts`.
    first: u64,
    /// The offset in the blob of the next part to fetch.
    next: u64,
    /// Whether the blob's own connection is free for a part.
    own_connection_free: bool,
    /// Whether the blob's own memory is free for a part.
    own_memory_free: bool,
    /// Whether the registry has served bytes of a part. Until then, only one part is requested.
    has_served_part: bool,
}

/// A part that is being fetched.
struct Part {
    bytes: Vec<u8>,
    /// The number of bytes still to be received.
    left: u64,
    failed: Option<Error>,
    /// The permit for its memory, or `None` if it uses the blob's own.
    memory: Option<MemoryPermit>,
}

impl Parts {
    /// Starts fetching a blob from `start` on. Returns `None` if no connection, memory or thread is available now.
    ///
    /// The caller keeps its connection until [`Self::use_connection`].
    pub(crate) fn begin(client: &Client, reference: &Reference, descriptor: &Descriptor, start: u64) -> Option<Self> {
        let budget = client.budget();
        if !budget.has_connection() {
            return None;
        }
        let own_memory = budget.try_take_memory()?;
        let stop = client.cancel().child();
        let shared = Arc::new(Shared {
            client: client.with_cancel(stop.clone()),
            reference: reference.clone(),
            descriptor: descriptor.clone(),
            stop,
            state: Mutex::new(State {
                parts: VecDeque::new(),
                first: 0,
                next: start,
                own_connection_free: false,
                own_memory_free: true,
                has_served_part: false,
            }),
            changed: Condvar::new(),
            _own_memory: own_memory,
        });
        let parts = Self { shared, bytes: Vec::new(), consumed: 0, start, has_connection: false };
        let wanted = budget.connections().min(BLOB_CONNECTIONS);
        let started = (0..wanted).take_while(|_| worker::start(&parts.shared)).count();
        (started > 0).then_some(parts)
    }

    /// Returns the offset in the blob of the first part.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Waits for the first bytes of the first part. Returns false if the part fails or takes too long, and `None` if no
    /// connection was free to request it.
    pub(crate) fn wait_for_first(&self) -> Option<bool> {
        let until = Instant::now() + FIRST_PART_TIMEOUT;
        let mut state = self.shared.state();
        loop {
            let part = state.parts.front()?;
            if !part.bytes.is_empty() {
                return Some(true);
            }
            if part.failed.is_some() || Instant::now() >= until || self.shared.stop.is_cancelled() {
                return Some(false);
            }
            state = self.shared.wait(state);
        }
    }

    /// Releases the caller's connection to the parts. The caller must have closed it.
    pub(crate) fn use_connection(&mut self) {
        if !std::mem::replace(&mut self.has_connection, true) {
            self.shared.state().own_connection_free = true;
            self.shared.changed.notify_all();
        }
    }

    /// Reads the next bytes.
    ///
    /// # Errors
    /// The failure of the next part, after all bytes before it have been read.
    pub(crate) fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.consumed == self.bytes.len() {
            self.next_bytes()?;
        }
        let count = buffer.len().min(self.bytes.len() - self.consumed);
        buffer[..count].copy_from_slice(&self.bytes[self.consumed..][..count]);
        self.consumed += count;
        Ok(count)
    }

    /// Takes the received bytes of the first part. Waits if there are none.
    fn next_bytes(&mut self) -> Result<()> {
        self.bytes.clear();
        self.consumed = 0;
        let mut state = self.shared.state();
        loop {
            self.shared.stop.check()?;
            match state.parts.front_mut() {
                Some(part) if !part.bytes.is_empty() => {
                    std::mem::swap(&mut part.bytes, &mut self.bytes);
                    return Ok(());
                }
                Some(part) if part.left == 0 => {
                    if part.memory.is_none() {
                        state.own_memory_free = true;
                    }
                    state.parts.pop_front();
                    state.first += 1;
                    self.shared.changed.notify_all();
                }
                Some(Part { failed: failed @ Some(_), .. }) => {
                    return Err(failed.take().expect("matched as `Some`"));
                }
                _ => state = self.shared.wait(state),
            }
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        self.shared.changed.notify_all();
    }
}

impl Shared {
    /// Locks the state. Poisoning is ignored, because no panic leaves the state invalid.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change of this state, or for a short time: other blobs send no notification when they release a
    /// permit.
    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, CANCEL_LATENCY).unwrap_or_else(PoisonError::into_inner).0
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("digest", &self.descriptor.digest).finish_non_exhaustive()
    }
}
