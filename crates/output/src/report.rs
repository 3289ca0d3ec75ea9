//! The result of an export. All export forms return this type.

use std::path::PathBuf;

use crate::Omissions;

/// The result of an export.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Report {
    /// The length of the output in bytes: of the file, or of the bytes written to a stream, after compression. For a
    /// directory, the bytes of the contents of its files, holes included.
    pub bytes: u64,
    /// The parts of the root that the output lacks or has with other values.
    pub omissions: Omissions,
    /// The files that were written beside the output.
    pub files: Vec<PathBuf>,
}

impl Report {
    /// Creates a report of an output that has no files beside it.
    pub fn new(bytes: u64, omissions: Omissions) -> Self {
        Self { bytes, omissions, files: Vec::new() }
    }
}
