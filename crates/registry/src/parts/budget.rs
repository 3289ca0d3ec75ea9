//! The limits that all blobs of a client share: on connections, and on memory for parts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::PARTS_LIMIT;

/// Counts the free connections and the free memory for parts.
#[derive(Debug)]
pub(crate) struct Budget {
    connections: usize,
    free: Mutex<Free>,
    /// The number of bytes that all blobs have received.
    received: AtomicU64,
}

#[derive(Debug)]
struct Free {
    /// The number of free connections. It can be negative, because each blob always has one.
    connections: isize,
    part_memory: usize,
}

/// Permission to use a connection. It is returned when dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit(Arc<Budget>);

/// Permission to hold a part in memory. It is returned when dropped.
#[derive(Debug)]
pub(super) struct MemoryPermit(Arc<Budget>);

impl Budget {
    pub(crate) fn new(connections: usize) -> Arc<Self> {
        let free = Free { connections: isize::try_from(connections).unwrap_or(isize::MAX), part_memory: PARTS_LIMIT };
        Arc::new(Self { connections, free: Mutex::new(free), received: AtomicU64::new(0) })
    }

    /// Returns the maximum number of connections.
    pub(super) fn connections(&self) -> usize {
        self.connections
    }

    /// Returns the number of bytes that all blobs have received.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Records bytes that a blob has received. Returns the number for all blobs.
    pub(crate) fn add_received(&self, bytes: u64) -> u64 {
        self.received.fetch_add(bytes, Ordering::Relaxed) + bytes
    }

    /// Returns whether a connection is free.
    pub(super) fn has_connection(&self) -> bool {
        self.free().connections > 0
    }

    /// Takes the connection that each blob always has, even if none is free.
    pub(crate) fn take_own_connection(self: &Arc<Self>) -> ConnectionPermit {
        self.free().connections -= 1;
        ConnectionPermit(Arc::clone(self))
    }

    /// Takes a connection if one is free.
    pub(super) fn try_take_connection(self: &Arc<Self>) -> Option<ConnectionPermit> {
        let mut free = self.free();
        (free.connections > 0).then(|| {
            free.connections -= 1;
            ConnectionPermit(Arc::clone(self))
        })
    }

    /// Takes memory for a part if some is free.
    pub(super) fn try_take_memory(self: &Arc<Self>) -> Option<MemoryPermit> {
        let mut free = self.free();
        free.part_memory = free.part_memory.checked_sub(1)?;
        Some(MemoryPermit(Arc::clone(self)))
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.free().connections += 1;
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        self.0.free().part_memory += 1;
    }
}
