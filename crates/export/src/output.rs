//! A file that is there whole or not at all. Every output ends in [`OutputFile::commit`], which is where its bytes reach
//! the disk, and where it is said if they do not.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use tempfile::{Builder, NamedTempFile};

use crate::{Error, Result};

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
    Temporary(NamedTempFile),
    Direct(File),
}

impl OutputFile {
    /// Begins to write the file at `path`. Its mode will be 0666 less the umask.
    ///
    /// # Errors
    /// [`Error::Io`]: the directory is missing or may not be written to, or `path` is a directory.
    pub fn create(path: &Path) -> Result<Self> {
        let begin = || {
            let path = match fs::canonicalize(path) {
                Ok(target) => target,
                Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
                Err(error) => return Err(error),
            };
            let destination = match fs::metadata(&path) {
                Ok(metadata) if !metadata.is_file() => {
                    // What is written to a disk may be read once more; a pipe that could be read would wait for nobody.
                    let is_disk = metadata.file_type().is_block_device();
                    Destination::Direct(File::options().read(is_disk).write(true).open(&path)?)
                }
                _ => Destination::Temporary(temporary_for(&path)?),
            };
            Ok(Self { destination, path })
        };
        begin().map_err(Error::io("write", path))
    }

    /// Writes to a file that is open, such as standard output; `name` is for messages.
    pub fn over(file: File, name: &Path) -> Self {
        Self { destination: Destination::Direct(file), path: name.to_owned() }
    }

    /// The file itself, for writing at any position and for sharing blocks.
    pub fn file(&self) -> &File {
        match &self.destination {
            Destination::Temporary(file) => file.as_file(),
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
    /// [`Error::Io`] for what fsync(2) and rename(2) say: a bad or full disk or a quota may be noticed only here.
    pub fn commit(self) -> Result<()> {
        let path = self.path;
        let commit = || match self.destination {
            Destination::Direct(file) => sync_existing(&file),
            Destination::Temporary(file) => {
                file.as_file().sync_all()?;
                file.persist(&path).map_err(|error| error.error)?;
                sync_directory_of(&path)
            }
        };
        commit().map_err(Error::io("write", &path))
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

fn temporary_for(path: &Path) -> io::Result<NamedTempFile> {
    Builder::new().prefix(".tmp-").permissions(Permissions::from_mode(0o666)).tempfile_in(directory_of(path))
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
