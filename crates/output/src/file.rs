//! A file that is there whole or not at all. Every output ends in [`OutputFile::commit`], which is where its bytes reach
//! the disk, and where it is said if they do not.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::{Error, Result, TemporaryFile, directory_of};

/// A file that somebody will find under its name only once it is complete.
///
/// The bytes go to a temporary file in the same directory; [`Self::commit`] renames it, dropping removes it. What is no
/// regular file, such as a device or a named pipe, is written to directly, and a symbolic link to something stays:
/// its target is replaced.
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
    /// Begins to write the file at `path`. Its mode will be 0666 less the umask.
    ///
    /// # Errors
    /// [`Error`]: the directory is missing or may not be written to, or `path` is a directory.
    pub fn create(path: &Path) -> Result<Self> {
        let path = match fs::canonicalize(path) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(source) => return Err(Error { action: "write", path: path.to_owned(), source }),
        };
        let destination = match fs::metadata(&path) {
            Ok(metadata) if !metadata.is_file() => {
                // A disk that was written may be read once more; a pipe that is open for reading too would never break.
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

    /// Writes to a file that is open, such as standard output; `name` is for messages.
    pub fn over(file: File, name: &Path) -> Self {
        Self { destination: Destination::Direct(file), path: name.to_owned() }
    }

    /// The file itself, for writing at any position and for sharing blocks.
    pub fn file(&self) -> &File {
        match &self.destination {
            Destination::Temporary(file) => file.file(),
            Destination::Direct(file) => file,
        }
    }

    /// Where the bytes are until [`Self::commit`], for a program that opens the file itself.
    pub fn path(&self) -> &Path {
        match &self.destination {
            Destination::Temporary(file) => file.path(),
            Destination::Direct(_) => &self.path,
        }
    }

    /// The temporary file that holds the bytes until [`Self::commit`], unless they go to their place directly.
    pub fn temporary(&self) -> Option<&Path> {
        match &self.destination {
            Destination::Temporary(file) => Some(file.path()),
            Destination::Direct(_) => None,
        }
    }

    /// Puts the bytes on the disk, and gives a new file its name.
    ///
    /// # Errors
    /// [`Error`] for what fsync(2) and rename(2) say: a bad or full disk or a quota may be noticed only here.
    pub fn commit(self) -> Result<()> {
        match self.destination {
            Destination::Direct(file) => sync_existing(&file).map_err(Error::on("write", &self.path)),
            Destination::Temporary(file) => file.publish(&self.path, None),
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.destination {
            Destination::Temporary(file) => file.write(bytes),
            Destination::Direct(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.destination {
            Destination::Temporary(file) => file.flush(),
            Destination::Direct(file) => file.flush(),
        }
    }
}

/// Puts what was written to something that was there before on its disk, if it has one.
fn sync_existing(file: &File) -> io::Result<()> {
    match file.sync_all() {
        // Pipes, sockets, terminals and most other devices that keep nothing.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::INVAL | Errno::OPNOTSUPP)) => Ok(()),
        result => result,
    }
}
