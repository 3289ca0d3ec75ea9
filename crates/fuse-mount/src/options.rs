//! Mount options.

use std::thread;

/// Options of a FUSE mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOptions {
    /// Allow access by users other than the one who mounts. The kernel checks permissions in either case. Users other
    /// than root need `user_allow_other` in `/etc/fuse.conf`.
    pub allow_other: bool,
    /// Make device nodes work and set-user-id bits count, for a mount that becomes the root of a guest. Only root may
    /// set this. Without it, both are shown and have no effect.
    pub suid_dev: bool,
    /// Number of threads that serve requests, at least 1. Each has a buffer of up to 1 MiB.
    pub threads: usize,
    /// The source that mount tables show.
    pub source: String,
}

impl Default for MountOptions {
    /// Access for the mounting user alone, no `suid_dev`, one thread for each core (2 to 8), and the source `vmroot`.
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 8));
        Self { allow_other: false, suid_dev: false, threads, source: "vmroot".to_owned() }
    }
}
