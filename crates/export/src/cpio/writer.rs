//! An archive entry by entry.

use std::io::Write;

use vmroot_output::display_path;

use super::header::{Header, finish, pad};
use crate::stream::Stream;
use crate::{Error, Result};

const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_777;

/// Writes an initramfs of a few files that are at hand: all are root's, from 1970, with one name each.
///
/// Paths have no slash in front. The kernel makes no missing directories, so they come before what they hold.
///
/// ```
/// use vmroot_export::CpioWriter;
///
/// let mut archive = CpioWriter::new(Vec::new());
/// archive.directory(b"dev", 0o755)?;
/// archive.device(b"dev/console", 0o020_600, (5, 1))?;
/// archive.file(b"init", 0o755, b"#!/bin/sh\n")?;
/// let (bytes, _) = archive.finish()?;
/// assert!(bytes.starts_with(b"070701"));
/// # Ok::<(), vmroot_export::Error>(())
/// ```
pub struct CpioWriter<W> {
    output: Stream<W>,
    entries: u32,
}

impl<W: Write> CpioWriter<W> {
    /// Begins an archive.
    pub fn new(writer: W) -> Self {
        Self { output: Stream::new(writer), entries: 0 }
    }

    /// Adds a directory with these permission bits.
    ///
    /// # Errors
    /// [`Error::BeyondCpio`] for a path of more than 4095 bytes, [`Error::Stream`].
    pub fn directory(&mut self, path: &[u8], mode: u32) -> Result<()> {
        self.entry(path, Header { mode: DIRECTORY | mode, nlink: 2, ..Header::default() }, b"")
    }

    /// Adds a regular file with these permission bits.
    ///
    /// # Errors
    /// As [`Self::directory`], and [`Error::BeyondCpio`] for a file of 4 GiB.
    pub fn file(&mut self, path: &[u8], mode: u32, bytes: &[u8]) -> Result<()> {
        self.entry(path, Header { mode: REGULAR | mode, nlink: 1, ..Header::default() }, bytes)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// As [`Self::directory`].
    pub fn symlink(&mut self, path: &[u8], target: &[u8]) -> Result<()> {
        self.entry(path, Header { mode: SYMLINK, nlink: 1, ..Header::default() }, target)
    }

    /// Adds a device, with its type in `mode`, and its major and minor number.
    ///
    /// # Errors
    /// As [`Self::directory`].
    pub fn device(&mut self, path: &[u8], mode: u32, device: (u32, u32)) -> Result<()> {
        self.entry(path, Header { mode, nlink: 1, device, ..Header::default() }, b"")
    }

    /// Ends the archive, and gives the writer back with the number of bytes.
    ///
    /// # Errors
    /// [`Error::Stream`].
    pub fn finish(self) -> Result<(W, u64)> {
        finish(self.output)
    }

    fn entry(&mut self, path: &[u8], header: Header, bytes: &[u8]) -> Result<()> {
        let size = size_of_file(path, bytes.len() as u64)?;
        self.entries += 1;
        Header { ino: self.entries, size, ..header }.write(path, &mut self.output)?;
        self.output.write(bytes)?;
        pad(&mut self.output)
    }
}

/// The most bytes of a file: a header has eight hexadecimal digits for it.
const MAX_FILE: u64 = u32::MAX as u64;

/// The size as a header holds it.
pub(super) fn size_of_file(path: &[u8], size: u64) -> Result<u32> {
    u32::try_from(size).map_err(|_| {
        let path = display_path(path);
        Error::BeyondCpio { path, unit: "bytes", actual: size, limit: MAX_FILE }
    })
}
