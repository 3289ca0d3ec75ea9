//! Options of an image.

use std::num::NonZeroUsize;

use vmroot_output::{Hook, RunsHook};

use super::compress::ErofsCompression;

/// Options of [`export_erofs`](crate::export_erofs) and [`write_erofs`](crate::write_erofs).
#[derive(Debug, Default, Clone, Copy)]
pub struct ErofsOptions<'a> {
    /// The compression of file contents; `None` stores them as they are.
    pub compression: Option<ErofsCompression>,
    /// Fail before anything is written if EROFS cannot hold the whole root.
    pub strict: bool,
    /// The number of threads that compress and write. `None` is one for each core. The bytes do not depend on it.
    pub threads: Option<NonZeroUsize>,
    /// Receives the runs of whole blocks that the image has from contents files, before they are written. With a
    /// compression, there are none.
    pub runs: Option<RunsHook<'a>>,
    /// Receives progress. `Break` cancels the export.
    pub hook: Option<Hook<'a>>,
}
