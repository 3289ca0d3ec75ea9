//! Entrances for the fuzz targets, which see the public API only.

use std::path::Path;

/// Reads a file as a tar-split file, to its end or its first error.
pub fn tar_split(path: &Path) {
    crate::containers_storage::fuzz_tar_split(path);
}
