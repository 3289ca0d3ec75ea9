//! Options of an image.

use vmroot_output::{Hook, workers};

use super::compress::ErofsCompression;

/// Options of [`export_erofs`](crate::export_erofs) and [`write_erofs`](crate::write_erofs).
#[derive(Clone, Copy)]
pub struct ErofsOptions<'a> {
    /// The compression of file contents; `None` stores them as they are.
    pub compression: Option<ErofsCompression>,
    /// Fail before anything is written if EROFS cannot represent the whole root.
    pub strict: bool,
    /// Number of threads that compress and write, at least 1. The bytes of the image do not depend on it.
    pub threads: usize,
    /// Receives progress and can cancel the export.
    pub hook: Option<Hook<'a>>,
}

impl Default for ErofsOptions<'_> {
    /// Returns the default options: no compression, not strict, one thread for each core, and no hook.
    fn default() -> Self {
        Self { compression: None, strict: false, threads: workers::core_count(), hook: None }
    }
}
