//! How a root is to be mounted.

use std::thread;

/// How a root is to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOptions {
    /// Whether users other than the one who mounts may use the mount. The kernel checks permissions in either case.
    /// Users other than root need `user_allow_other` in `/etc/fuse.conf`.
    pub allow_other: bool,
    /// Whether device nodes work and set-user-id bits count, which only root may ask for: for a mount that becomes the
    /// root of a guest. Without it they are shown as they are, and have no effect.
    pub suid_dev: bool,
    /// Threads that answer requests, 1 at least. Each holds a buffer of 1 MiB at most.
    pub threads: usize,
    /// The source that mount tables show.
    pub source: String,
}

impl Default for MountOptions {
    /// For the mounting user alone, with a thread for each core, 8 at most.
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 8));
        Self { allow_other: false, suid_dev: false, threads, source: "vmroot".to_owned() }
    }
}
