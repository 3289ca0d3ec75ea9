//! Output files that appear under their names only when they are complete.

use std::fs::{self, File};
use std::io::{self, BufWriter, IntoInnerError, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::{Error, Result, TemporaryFile, directory_of};

/// The size of the buffer of [`OutputFile::write_with`] in bytes.
const BUFFER: usize = 1 << 20;

/// A file that appears under its name only when it is complete.
///
/// The bytes go to a temporary file in the same directory. [`Self::commit`] renames it, and dropping removes it.
/// Devices, named pipes and other files that are not regular are written directly. A symbolic link is kept and its
/// target replaced.
#[derive(Debug)]
pub struct OutputFile {
    destination: Destination,
    path: PathBuf,
}

#[derive(Debug)]
enum Destination {
    Temporary(TemporaryFile),
    Direct(File),
}

impl OutputFile {
    /// Opens the file at `path` for writing. A new file has mode 0666 minus the umask.
    ///
    /// # Errors
    /// [`Error`]: the directory is missing or not writable, or `path` is a directory.
    pub fn create(path: &Path) -> Result<Self> {
        let path = match fs::canonicalize(path) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(source) => return Err(Error { action: "write", path: path.to_owned(), source }),
        };
        let destination = match fs::metadata(&path) {
            Ok(metadata) if !metadata.is_file() => {
                // A disk may be read after it was written. A pipe must not be open for reading too: writes to it would
                // never fail.
                let is_disk = metadata.file_type().is_block_device();
                let file = File::options().read(is_disk).write(true).open(&path);
                Destination::Direct(file.map_err(Error::on("write", &path))?)
            }
            _ => {
                Destination::Temporary(TemporaryFile::create_in(directory_of(&path), 0o666).map_err(|error| Error {
                    action: "write",
                    path: path.clone(),
                    source: error.source,
                })?)
            }
        };
        Ok(Self { destination, path })
    }

    /// Writes directly to an open file, such as standard output. `name` is used in messages.
    pub fn over(file: File, name: &Path) -> Self {
        Self { destination: Destination::Direct(file), path: name.to_owned() }
    }

    /// Calls `write` with a buffered writer of the file, and commits the file if it succeeds.
    ///
    /// # Errors
    /// The error of `write`, or that of [`Self::commit`].
    pub fn write_with<R, E: From<Error>>(
        self,
        write: impl FnOnce(&mut dyn Write) -> std::result::Result<R, E>,
    ) -> std::result::Result<R, E> {
        let path = self.path.clone();
        let mut writer = BufWriter::with_capacity(BUFFER, self);
        let result = write(&mut writer)?;
        let file = writer.into_inner().map_err(IntoInnerError::into_error);
        file.map_err(Error::on("write", path))?.commit()?;
        Ok(result)
    }

    /// Returns the file, for writes at any position and for sharing blocks.
    pub fn file(&self) -> &File {
        match &self.destination {
            Destination::Temporary(file) => file.file(),
            Destination::Direct(file) => file,
        }
    }

    /// Returns the path that has the bytes until [`Self::commit`], for programs that open the file themselves.
    pub fn path(&self) -> &Path {
        match &self.destination {
            Destination::Temporary(file) => file.path(),
            Destination::Direct(_) => &self.path,
        }
    }

    fn name_error(&self, source: io::Error) -> io::Error {
        io::Error::new(source.kind(), Error { action: "write", path: self.path.clone(), source })
    }

    /// Syncs the bytes to disk and gives a new file its name.
    ///
    /// # Errors
    /// [`Error`]: fsync(2) or rename(2) failed. A full disk, a quota or an I/O error may be reported only here.
    pub fn commit(self) -> Result<()> {
        match self.destination {
            Destination::Direct(file) => sync_existing(&file).map_err(Error::on("write", &self.path)),
            Destination::Temporary(file) => file.publish(&self.path, None),
        }
    }
}

/// The errors have the kind of the system's error and contain an [`Error`], which names the file.
impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.destination {
            Destination::Temporary(file) => file.write(bytes),
            Destination::Direct(file) => file.write(bytes),
        };
        written.map_err(|source| self.name_error(source))
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = match &mut self.destination {
            Destination::Temporary(file) => file.flush(),
            Destination::Direct(file) => file.flush(),
        };
        flushed.map_err(|source| self.name_error(source))
    }
}

/// Syncs a file that existed before, if it is on a disk.
fn sync_existing(file: &File) -> io::Result<()> {
    match file.sync_all() {
        // Pipes, sockets, terminals and most other devices cannot be synced.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::INVAL | Errno::OPNOTSUPP)) => Ok(()),
        result => result,
    }
}
