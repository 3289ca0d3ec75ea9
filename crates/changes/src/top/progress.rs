//! The progress of building the layers on top.

use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use vmroot_output::{Cancel, WriteProgress};

use super::{Addition, Top};

/// The bytes after which progress is reported.
const STEP: u64 = 1 << 20;

/// The progress of [`Top::put_on_with_progress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopProgress {
    /// The bytes that were read: those of tars as they are stored, and the contents of other files.
    pub bytes: u64,
    /// The bytes of all tars and files. `None` if there are directories, whose size is only known once they are read.
    pub total_bytes: Option<u64>,
}

impl Top {
    /// Returns the bytes of all tars and files, unless there are directories. Errors show when the files are opened.
    pub(super) fn total_bytes(&self) -> Option<u64> {
        let of_layer = |path| fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len());
        let of_addition = |addition: &Addition| match addition {
            Addition::File { bytes, .. } => Some(bytes.len() as u64),
            Addition::Copy { source, .. } => {
                let metadata = fs::symlink_metadata(source).ok()?;
                let length = if metadata.is_file() { metadata.len() } else { 0 };
                (!metadata.is_dir()).then_some(length)
            }
        };
        self.layers.iter().map(of_layer).chain(self.additions.iter().map(of_addition)).sum()
    }
}

/// Counts the bytes of all layers.
pub(super) struct Counter {
    report: Arc<dyn Fn(TopProgress) + Send + Sync>,
    total: Option<u64>,
    bytes: AtomicU64,
    reported: AtomicU64,
}

impl Counter {
    pub(super) fn new(report: Arc<dyn Fn(TopProgress) + Send + Sync>, total: Option<u64>) -> Arc<Self> {
        Arc::new(Self { report, total, bytes: AtomicU64::new(0), reported: AtomicU64::new(0) })
    }

    /// Returns the bytes that were counted.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Sets the number of bytes, and reports it if it is much larger than the last one.
    pub(super) fn set(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
        if bytes >= self.reported.load(Ordering::Relaxed) + STEP {
            self.report();
        }
    }

    /// Reports the number of bytes.
    pub(super) fn report(&self) {
        let bytes = self.bytes();
        self.reported.store(bytes, Ordering::Relaxed);
        (self.report)(TopProgress { bytes, total_bytes: self.total });
    }

    /// Returns a hook that counts what is written to a layer, on top of what is counted already.
    pub(super) fn hook<'a>(&'a self, cancel: &'a Cancel) -> impl Fn(WriteProgress) -> ControlFlow<()> + Sync + 'a {
        let before = self.bytes();
        move |progress| {
            self.set(before + progress.bytes);
            cancel.control_flow()
        }
    }
}

/// A tar whose bytes are counted as they are read.
pub(super) struct CountedFile {
    pub(super) file: File,
    pub(super) counter: Arc<Counter>,
}

impl Read for CountedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.counter.set(self.counter.bytes() + count as u64);
        Ok(count)
    }
}
