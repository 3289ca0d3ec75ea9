//! The disk space that a cache takes.

use std::fs;
use std::io;
use std::iter::Sum;
use std::ops::AddAssign;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::Result;
use crate::cache::{Cache, names};

/// The unit of `st_blocks` in stat(2). It does not depend on the block size of the file system.
const STAT_BLOCK: u64 = 512;

/// The size of one area of a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Area {
    /// The number of files.
    pub files: u64,
    /// The sum of the file lengths in bytes, including holes.
    pub bytes: u64,
    /// The bytes allocated on disk, without holes.
    pub disk_bytes: u64,
}

/// The sizes of all areas of a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Complete blobs.
    pub blobs: Area,
    /// Partial blobs, and the temporary files of all areas.
    pub unfinished: Area,
    /// Layer indexes and their contents.
    pub layers: Area,
    /// Merged roots.
    pub roots: Area,
    /// Image records.
    pub images: Area,
    /// Damaged files that could not be repaired, and their descriptions.
    pub quarantine: Area,
}

impl Usage {
    /// Returns the size of all areas together.
    pub fn total(&self) -> Area {
        let Self { blobs, unfinished, layers, roots, images, quarantine } = *self;
        [blobs, unfinished, layers, roots, images, quarantine].into_iter().sum()
    }
}

impl Cache {
    /// Measures all areas.
    ///
    /// # Errors
    /// - [`Error::Io`](crate::Error::Io): a directory cannot be listed.
    pub fn usage(&self) -> Result<Usage> {
        let mut usage = Usage::default();
        let Usage { blobs, unfinished, layers, roots, images, quarantine } = &mut usage;
        for algorithm in [vmroot_model::Algorithm::Sha256, vmroot_model::Algorithm::Sha512] {
            measure(&self.layout().blobs(algorithm), blobs, unfinished)?;
        }
        measure(&self.layout().layers(), layers, unfinished)?;
        measure(&self.layout().roots(), roots, unfinished)?;
        measure(&self.layout().images(), images, unfinished)?;
        measure(&self.layout().quarantine(), quarantine, unfinished)?;
        Ok(usage)
    }
}

impl Area {
    /// Measures one file. Anything else, and a file that does not exist, has no size.
    ///
    /// # Errors
    /// - [`Error::Io`](crate::Error::Io): its attributes cannot be read.
    pub fn of_file(path: &Path) -> Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_file() => {
                Ok(Self { files: 1, bytes: metadata.len(), disk_bytes: metadata.blocks() * STAT_BLOCK })
            }
            Ok(_) => Ok(Self::default()),
            // The file was removed after the directory was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(vmroot_output::Error { action: "stat", path: path.to_owned(), source }.into()),
        }
    }
}

impl AddAssign for Area {
    fn add_assign(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.disk_bytes += other.disk_bytes;
    }
}

impl Sum for Area {
    fn sum<I: Iterator<Item = Self>>(areas: I) -> Self {
        areas.fold(Self::default(), |mut sum, area| {
            sum += area;
            sum
        })
    }
}

fn measure(directory: &Path, whole: &mut Area, unfinished: &mut Area) -> Result<()> {
    for name in names(directory)? {
        let growing = name.starts_with(vmroot_output::TEMPORARY_PREFIX) || name.ends_with(".partial");
        let area = if growing { &mut *unfinished } else { &mut *whole };
        *area += Area::of_file(&directory.join(name))?;
    }
    Ok(())
}
