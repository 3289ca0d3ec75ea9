//! How a device is to be.

use std::thread;

/// The most request queues that a device may have: as many queues fit the mask of one of its threads.
pub(crate) const MAX_QUEUES: usize = 63;

/// How a device is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtioFsOptions {
    /// The request queues that a VMM may ask for, 1 to 63, each with a thread of its own. One that asks for fewer gets
    /// what it asks for.
    pub queues: usize,
    /// Threads that help a queue in which several requests wait. With 0 it answers one after the other.
    pub threads: usize,
}

impl Default for VirtioFsOptions {
    /// A queue for each core, 8 at most; a thread for each core, 4 to 8, for they wait for disks.
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
        Self { queues: cores.min(8), threads: cores.clamp(4, 8) }
    }
}
