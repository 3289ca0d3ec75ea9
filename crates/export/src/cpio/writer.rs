//! Writing an archive entry by entry.

use std::io::Write;

use vmroot_container_fs::Device;
use vmroot_output::display_path;

use super::header::{Header, finish, pad};
use crate::stream::Stream;
use crate::{Error, Result};

const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_777;

/// Writes an initramfs of files in memory. All entries belong to root, and their time is the Unix epoch.
///
/// Paths have no leading slash. Directories must be added before their entries, because the kernel does not create
/// missing ones.
///
/// ```
/// use vmroot_container_fs::Device;
/// use vmroot_export::CpioWriter;
///
/// let mut bytes = Vec::new();
/// let mut archive = CpioWriter::new(&mut bytes);
/// archive.add_directory(b"dev", 0o755)?;
/// archive.add_device(b"dev/console", 0o020_600, Device { major: 5, minor: 1 })?;
/// archive.add_file(b"init", 0o755, b"#!/bin/sh\n")?;
/// archive.finish()?;
/// assert!(bytes.starts_with(b"070701"));
/// # Ok::<(), vmroot_export::Error>(())
/// ```
#[derive(Debug)]
pub struct CpioWriter<'w> {
    output: Stream<'w>,
    entries: u32,
}

impl<'w> CpioWriter<'w> {
    /// Begins an archive.
    pub fn new(writer: &'w mut dyn Write) -> Self {
        Self { output: Stream::new(writer), entries: 0 }
    }

    /// Adds a directory with the permission bits `mode`.
    ///
    /// # Errors
    /// - [`Error::BeyondCpio`]: the path has more than 4095 bytes.
    /// - [`Error::Stream`]: the writer failed.
    pub fn add_directory(&mut self, path: &[u8], mode: u32) -> Result<()> {
        self.add_entry(path, Header { mode: DIRECTORY | mode, nlink: 2, ..Header::default() }, b"")
    }

    /// Adds a regular file with the permission bits `mode`.
    ///
    /// # Errors
    /// - [`Error::BeyondCpio`]: the path has more than 4095 bytes, or the file has 4 GiB or more.
    /// - [`Error::Stream`]: the writer failed.
    pub fn add_file(&mut self, path: &[u8], mode: u32, bytes: &[u8]) -> Result<()> {
        self.add_entry(path, Header { mode: REGULAR | mode, nlink: 1, ..Header::default() }, bytes)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// As [`Self::add_file`].
    pub fn add_symlink(&mut self, path: &[u8], target: &[u8]) -> Result<()> {
        self.add_entry(path, Header { mode: SYMLINK, nlink: 1, ..Header::default() }, target)
    }

    /// Adds a device. `mode` includes its file type.
    ///
    /// # Errors
    /// As [`Self::add_directory`].
    pub fn add_device(&mut self, path: &[u8], mode: u32, device: Device) -> Result<()> {
        self.add_entry(path, Header { mode, nlink: 1, device, ..Header::default() }, b"")
    }

    /// Ends the archive, and flushes the writer.
    ///
    /// # Errors
    /// [`Error::Stream`]: the writer failed.
    pub fn finish(self) -> Result<()> {
        finish(self.output)
    }

    fn add_entry(&mut self, path: &[u8], header: Header, bytes: &[u8]) -> Result<()> {
        let size = size_of_file(path, bytes.len() as u64)?;
        self.entries += 1;
        Header { ino: self.entries, size, ..header }.write(path, &mut self.output)?;
        self.output.write(bytes)?;
        pad(&mut self.output)
    }
}

/// The largest file in bytes: its size has eight hexadecimal digits.
const MAX_FILE: u64 = u32::MAX as u64;

/// Converts a size for the header.
pub(super) fn size_of_file(path: &[u8], size: u64) -> Result<u32> {
    u32::try_from(size).map_err(|_| {
        let path = display_path(path);
        Error::BeyondCpio { path, unit: "bytes", actual: size, limit: MAX_FILE }
    })
}
