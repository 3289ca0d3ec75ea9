//! The progress of reading files.

use std::path::Path;
use std::sync::atomic::Ordering;

use super::Check;
use crate::VerifyProgress;

/// The bytes after which progress is reported. A layer may have many small files.
const STEP: u64 = 1 << 20;

/// The reading of files that count as one. When it ends, all of their bytes count as read, even if a fault was found
/// before their end.
pub(super) struct Reading<'a> {
    check: &'a Check<'a>,
    /// The bytes of the files that are not counted yet.
    left: u64,
    /// The bytes that were read since the last report.
    pending: u64,
}

impl Check<'_> {
    /// Begins to read files.
    pub(super) fn reading<P: AsRef<Path>>(&self, files: &[P]) -> Reading<'_> {
        let length = |path: &P| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        Reading { check: self, left: files.iter().map(length).sum(), pending: 0 }
    }

    /// Counts bytes that were read.
    fn count(&self, length: u64) {
        let bytes = self.read_bytes.fetch_add(length, Ordering::Relaxed) + length;
        self.progress.verified(&VerifyProgress { bytes, total_bytes: self.total_bytes.max(bytes) });
    }
}

impl Reading<'_> {
    /// Counts bytes that were read. Bytes beyond the length of the files do not count: some are read several times.
    pub(super) fn advance(&mut self, bytes: u64) {
        self.pending += bytes.min(self.left - self.pending);
        if self.pending >= STEP {
            self.report();
        }
    }

    fn report(&mut self) {
        let bytes = std::mem::take(&mut self.pending);
        self.left -= bytes;
        self.check.count(bytes);
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.pending = self.left;
        self.report();
    }
}
