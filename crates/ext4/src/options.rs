//! Options of a file system.

use vmroot_output::{Hook, workers};

/// Options of [`export_ext4`](crate::export_ext4) and [`write_ext4`](crate::write_ext4).
#[derive(Clone, Copy)]
pub struct Ext4Options<'a> {
    /// Size of the file system in bytes, rounded down to a multiple of 4096. `None`: the smallest that holds
    /// everything.
    pub size: Option<u64>,
    /// Bytes that any user can still write to the file system, at least.
    pub free: u64,
    /// Create a journal, of the size that mke2fs chooses.
    pub journal: bool,
    /// The label of the file system, at most 16 bytes.
    pub label: &'a str,
    /// Fail before anything is written if ext4 cannot represent the whole root.
    pub strict: bool,
    /// Number of threads that write file contents, at least 1. The bytes of the file system do not depend on it.
    pub threads: usize,
    /// Receives progress and can cancel the export.
    pub hook: Option<Hook<'a>>,
}

impl Default for Ext4Options<'_> {
    /// Returns the default options: the smallest size, without a journal or a label; not strict, one thread for each
    /// core, and no hook.
    fn default() -> Self {
        Self {
            size: None,
            free: 0,
            journal: false,
            label: "",
            strict: false,
            threads: workers::core_count(),
            hook: None,
        }
    }
}
