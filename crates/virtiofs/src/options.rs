//! Options of a device.

use std::thread;

/// The most request queues of a device: with queue 0, they fill the 64-bit mask of a thread.
pub(crate) const MAX_QUEUES: usize = 63;

/// Options of a virtio-fs device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtioFsOptions {
    /// Number of request queues that the device offers, 1 to 63, each with its own thread. A VMM may use fewer.
    pub queues: usize,
    /// Number of threads that help a queue in which several requests wait. With 0, each queue handles its requests one
    /// by one.
    pub threads: usize,
}

impl Default for VirtioFsOptions {
    /// Returns the default options: one queue for each core, at most 8, and one thread for each core, 4 to 8, because
    /// the threads wait for disks.
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
        Self { queues: cores.min(8), threads: cores.clamp(4, 8) }
    }
}
