//! The resources that all blobs of a client share: connections, and memory for parts.

use std::sync::{Arc, Mutex, PoisonError};

use super::PARTS_LIMIT;

/// Connections and room that are free.
#[derive(Debug)]
pub(crate) struct Budget {
    connections: usize,
    free: Mutex<Free>,
}

#[derive(Debug)]
struct Free {
    /// May be below zero: a blob always has one connection.
    connections: isize,
    rooms: usize,
}

/// A connection that is in use; it is given back when dropped.
#[derive(Debug)]
pub(crate) struct Connection(Arc<Budget>);

/// Memory for a part; it is given back when dropped.
#[derive(Debug)]
pub(super) struct Room(Arc<Budget>);

impl Budget {
    pub(crate) fn new(connections: usize) -> Arc<Self> {
        let free = Free { connections: isize::try_from(connections).unwrap_or(isize::MAX), rooms: PARTS_LIMIT };
        Arc::new(Self { connections, free: Mutex::new(free) })
    }

    /// How many connections blobs may have.
    pub(super) fn connections(&self) -> usize {
        self.connections
    }

    /// Whether a connection is free.
    pub(super) fn has_connection(&self) -> bool {
        self.free().connections > 0
    }

    /// The one connection that each blob has, free or not.
    pub(crate) fn own_connection(self: &Arc<Self>) -> Connection {
        self.free().connections -= 1;
        Connection(Arc::clone(self))
    }

    /// One more connection, if one is free.
    pub(super) fn connection(self: &Arc<Self>) -> Option<Connection> {
        let mut free = self.free();
        (free.connections > 0).then(|| {
            free.connections -= 1;
            Connection(Arc::clone(self))
        })
    }

    /// Room for one more part, if there is any.
    pub(super) fn room(self: &Arc<Self>) -> Option<Room> {
        let mut free = self.free();
        free.rooms = free.rooms.checked_sub(1)?;
        Some(Room(Arc::clone(self)))
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.free().connections += 1;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.free().rooms += 1;
    }
}
