//! A large blob in parts, over several connections at once, read in order.
//!
//! Many registries limit the rate of a connection, so several connections are faster. The parts are taken in order, and
//! only as many as there is room for, because parts that come early wait in memory. Threads fetch them, because each connection belongs to the
//! thread that reads it; they are used only where the network is slow ([`Watch`](crate::watch::Watch)).
//!
//! A failure that retries do not mend (a registry that knows no ranges, answers with another part, or is gone) ends all
//! parts, and [`ResumingBlob`](crate::ResumingBlob) goes on over one connection
//! from where the reader is. So every such case ends as it would without parts.

mod budget;
mod worker;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use vmroot_model::{Descriptor, Reference};
use vmroot_output::{CANCEL_LATENCY, Cancel};

use crate::{Client, Error, Result};
use budget::Room;
pub(crate) use budget::{Budget, Connection};

/// The length of a part in bytes: a request for each costs little, and a few of them fit into memory.
pub(crate) const PART: u64 = 4 << 20;

/// How many parts of all blobs of a client are in memory at most.
pub(crate) const PARTS_LIMIT: usize = 8;

/// How many connections one blob has at most.
pub(crate) const BLOB_CONNECTIONS: usize = 8;

/// How long a reader whose connection is good waits for the first part. A registry may refuse a second connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// A reader of the rest of a blob.
#[derive(Debug)]
pub(crate) struct Parts {
    shared: Arc<Shared>,
    /// Bytes of the first part, of which `given` have been read.
    bytes: Vec<u8>,
    given: usize,
    /// Where the parts begin in the blob.
    start: u64,
    /// Whether they have the connection of the caller.
    has_connection: bool,
}

/// The state that the reader shares with the threads.
struct Shared {
    client: Client,
    reference: Reference,
    descriptor: Descriptor,
    /// Ends the threads; set with the client's flag.
    stop: Cancel,
    state: Mutex<State>,
    changed: Condvar,
    /// The room for one part that the blob has anyhow, so that some part can always be fetched.
    _own_room: Room,
}

struct State {
    /// Parts that are being fetched or wait to be read, in order.
    parts: VecDeque<Part>,
    /// The number of the first of them.
    first: u64,
    /// The first byte of the next part.
    next: u64,
    /// Whether the connection that the blob has anyhow can be used for a part.
    own_connection: bool,
    /// Whether the room that the blob has anyhow is free.
    own_room: bool,
    /// Whether the registry has given a part. Before that, only one is asked for.
    proved: bool,
}

/// A part on its way.
struct Part {
    bytes: Vec<u8>,
    /// How many bytes are still to come.
    left: u64,
    failed: Option<Error>,
    /// Its room in memory: the blob's own, or one of the client's.
    room: Option<Room>,
}

impl Parts {
    /// Begins to fetch a blob from `start` on; `None` if there are no connections, room or threads for that now.
    ///
    /// The connection that the caller reads from is not used before [`Self::use_connection`].
    pub(crate) fn begin(client: &Client, reference: &Reference, descriptor: &Descriptor, start: u64) -> Option<Self> {
        let budget = client.budget();
        if !budget.has_connection() {
            return None;
        }
        let own_room = budget.room()?;
        let shared = Arc::new(Shared {
            client: client.clone(),
            reference: reference.clone(),
            descriptor: descriptor.clone(),
            stop: client.options().cancel.child(),
            state: Mutex::new(State {
                parts: VecDeque::new(),
                first: 0,
                next: start,
                own_connection: false,
                own_room: true,
                proved: false,
            }),
            changed: Condvar::new(),
            _own_room: own_room,
        });
        let parts = Self { shared, bytes: Vec::new(), given: 0, start, has_connection: false };
        let wanted = budget.connections().min(BLOB_CONNECTIONS);
        let started = (0..wanted).take_while(|_| worker::start(&parts.shared)).count();
        (started > 0).then_some(parts)
    }

    /// Where the parts begin.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Whether the first part comes, for which it waits a while; `None` if no connection was free to ask for it.
    pub(crate) fn come(&self) -> Option<bool> {
        let until = Instant::now() + PATIENCE;
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

    /// Lets the parts use the connection of the caller, which is closed.
    pub(crate) fn use_connection(&mut self) {
        if !std::mem::replace(&mut self.has_connection, true) {
            self.shared.state().own_connection = true;
            self.shared.changed.notify_all();
        }
    }

    /// Reads some of the bytes that come next.
    ///
    /// # Errors
    /// The failure of the part that is due; all bytes before it have been read.
    pub(crate) fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.given == self.bytes.len() {
            self.next_bytes()?;
        }
        let count = buffer.len().min(self.bytes.len() - self.given);
        buffer[..count].copy_from_slice(&self.bytes[self.given..][..count]);
        self.given += count;
        Ok(count)
    }

    /// Takes the bytes that have come of the first part, and waits if there are none.
    fn next_bytes(&mut self) -> Result<()> {
        self.bytes.clear();
        self.given = 0;
        let mut state = self.shared.state();
        loop {
            self.shared.stop.check()?;
            match state.parts.front_mut() {
                Some(part) if !part.bytes.is_empty() => {
                    std::mem::swap(&mut part.bytes, &mut self.bytes);
                    return Ok(());
                }
                Some(part) if part.left == 0 => {
                    if part.room.is_none() {
                        state.own_room = true;
                    }
                    state.parts.pop_front();
                    state.first += 1;
                    self.shared.changed.notify_all();
                }
                Some(Part { failed: failed @ Some(_), .. }) => {
                    return Err(failed.take().expect("it was just looked at"));
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
    /// Nothing in it is left half done by a panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change: here, or for a while, because other blobs do not tell when they free something.
    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, CANCEL_LATENCY).unwrap_or_else(PoisonError::into_inner).0
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("digest", &self.descriptor.digest).finish_non_exhaustive()
    }
}
