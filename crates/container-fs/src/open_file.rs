//! Reading a file by its path.

use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bstr::BString;
use vmroot_layer_index::{Extent, InodeKind};

use crate::{ContainerFs, Contents, Error, Result, Stat};

/// The largest file in bytes that [`ContainerFs::read`] reads: 1 GiB. An image can have files of any size, which take no
/// space where they are zeros.
pub const MAX_READ: u64 = 1 << 30;

/// An open regular file of a root, from [`ContainerFs::open`].
///
/// It holds the contents file of its layer open, and so outlives the root. [`Read`] and [`Seek`] have a position;
/// [`OpenFile::read_at`] has none, and can be called from several threads. Their I/O errors contain an [`Error`], which
/// names the file.
#[derive(Debug, Clone)]
pub struct OpenFile {
    path: BString,
    stat: Stat,
    /// `None` for an empty file.
    contents: Option<(Arc<Contents>, Extent)>,
    position: u64,
}

impl ContainerFs {
    /// Reads a whole file. Symbolic links in the path are followed, within the root.
    ///
    /// # Errors
    /// - The errors of [`Self::open`].
    /// - [`Error::FileTooLarge`] for a file of more than [`MAX_READ`] bytes.
    /// - [`Error::File`] when the contents file cannot be read.
    pub fn read(&self, path: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        let file = self.open(path)?;
        let size = file.len();
        let too_large = || Error::FileTooLarge { path: file.path.clone(), size, limit: MAX_READ };
        if size > MAX_READ {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size as usize).map_err(|_| too_large())?;
        bytes.resize(size as usize, 0);
        file.read_exact_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// Opens a regular file for reading. Symbolic links in the path are followed, within the root.
    ///
    /// # Errors
    /// Each error has the path.
    /// - The errors of [`Self::resolve_path`].
    /// - [`Error::IsADirectory`] for a directory.
    /// - [`Error::NotAFile`] for a device, a named pipe or a socket.
    ///
    /// # Examples
    /// ```no_run
    /// # fn example(root: &vmroot_container_fs::ContainerFs) -> std::io::Result<()> {
    /// use std::io::{Read, Seek, SeekFrom};
    ///
    /// let mut file = root.open("/usr/bin/env").map_err(std::io::Error::other)?;
    /// let mut magic = [0; 4];
    /// file.read_exact(&mut magic)?;
    /// file.seek(SeekFrom::End(-16))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn open(&self, path: impl AsRef<[u8]>) -> Result<OpenFile> {
        let path = BString::from(path.as_ref());
        let ino = self.resolve_path(&path)?.ino;
        let stat = self.stat(ino);
        match stat.kind {
            InodeKind::Regular => {}
            InodeKind::Directory => return Err(Error::IsADirectory(path)),
            _ => return Err(Error::NotAFile(path)),
        }
        let contents = self.extent(ino).map(|extent| (self.shared_contents()[extent.file as usize].clone(), extent));
        Ok(OpenFile { path, stat, contents, position: 0 })
    }
}

impl OpenFile {
    /// Returns the attributes of the file.
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Returns the length of the file in bytes.
    pub fn len(&self) -> u64 {
        self.stat.size
    }

    /// Returns whether the file has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads bytes from `offset` on into `buffer`, and returns their number. It is less than the size of `buffer` only at
    /// the end of the file. The position of [`Seek`] does not change.
    ///
    /// # Errors
    /// [`Error::File`] when the contents file cannot be read.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let count = usize::try_from(self.len().saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
        self.read_exact_at(offset, &mut buffer[..count])?;
        Ok(count)
    }

    /// Reads bytes that the file has.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let Some((contents, extent)) = &self.contents else { return Ok(()) };
        if buffer.is_empty() {
            return Ok(());
        }
        let read = contents.file.read_exact_at(buffer, extent.offset + offset);
        read.map_err(|source| contents.read_error(source).of_file(self.path.clone()))
    }
}

impl Read for OpenFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.read_at(self.position, buffer).map_err(io::Error::from)?;
        self.position += count as u64;
        Ok(count)
    }
}

/// A position after the end is allowed; reads there return nothing.
impl Seek for OpenFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let before_start = || io::Error::new(io::ErrorKind::InvalidInput, "a position before the start of the file");
        self.position = position.ok_or_else(before_start)?;
        Ok(self.position)
    }
}
