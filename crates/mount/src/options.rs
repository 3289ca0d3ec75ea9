//! Mount options.

use std::thread;

/// Options of a mount, by FUSE or by the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOptions {
    /// Make device nodes work and set-user-id bits count, for a mount that becomes the root of a guest. Only root may
    /// set this. Without it, both are shown and have no effect.
    pub suid_dev: bool,
    /// FUSE: allow access by users other than the one who mounts. The kernel checks permissions in either case. Users
    /// other than root need `user_allow_other` in `/etc/fuse.conf`. Mounts by the kernel always allow it.
    pub allow_other: bool,
    /// FUSE: number of threads that serve requests, at least 1. Each has a buffer of up to 1 MiB. Mounts by the kernel
    /// have no threads.
    pub threads: usize,
    /// The source that mount tables show, such as `vmroot:IMAGE`. In mounts by the kernel it always begins with
    /// `vmroot:`, has at most 255 bytes, and no `..` between slashes.
    pub source: String,
    /// EROFS: fail if it cannot hold the whole root. Without it, the rest is left out, with a warning. FUSE
    /// represents every root.
    pub strict: bool,
}

impl Default for MountOptions {
    /// No `suid_dev`, access for the mounting user alone, one thread for each core (2 to 8), the source `vmroot`, and
    /// not strict.
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 8));
        Self { suid_dev: false, allow_other: false, threads, source: "vmroot".to_owned(), strict: false }
    }
}
