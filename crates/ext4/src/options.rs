//! Options of a file system.

use std::num::NonZeroUsize;

use vmroot_output::{Hook, RunsHook};

/// The longest label in bytes.
pub const MAX_LABEL: usize = 16;

/// Options of [`export_ext4`](crate::export_ext4) and [`write_ext4`](crate::write_ext4).
#[derive(Debug, Default, Clone, Copy)]
pub struct Ext4Options<'a> {
    /// Size of the file system in bytes, rounded down to a multiple of 4096. `None`: the smallest that holds
    /// everything.
    pub size: Option<u64>,
    /// Bytes that any user can still write to the file system, at least.
    pub free: u64,
    /// Create a journal, of the size that mke2fs chooses.
    pub journal: bool,
    /// The label of the file system, at most [`MAX_LABEL`] bytes.
    pub label: &'a str,
    /// Fail before anything is written if ext4 cannot hold the whole root.
    pub strict: bool,
    /// The number of threads that write file contents. `None` is one for each core. The bytes do not depend on it.
    pub threads: Option<NonZeroUsize>,
    /// Receives the runs of blocks that the file system has from contents files, before they are written.
    pub runs: Option<RunsHook<'a>>,
    /// Receives progress. `Break` cancels the export.
    pub hook: Option<Hook<'a>>,
}
