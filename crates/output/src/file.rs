//! Output files that appear under their names only when they are complete.

use std::fs::{self, File};
use std::io::{self, BufWriter, IntoInnerError, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::temporary::remove_abandoned;
use crate::{Error, Result, TemporaryFile, UnnamedFile, directory_of};

/// The size of the buffer of [`OutputFile::write_with`] in bytes.
const BUFFER: usize = 1 << 20;

/// The permission bits of a new file, minus the umask.
const MODE: u32 = 0o666;

/// A file that appears under its name only when it is complete.
///
/// The bytes go to a file without a name in the same directory, so that a process that is killed leaves nothing. If the
/// file system has no such files, it is a temporary file, which is removed by a drop, or else by the next output to the
/// directory. [`Self::commit`] gives the file its name. Devices, named pipes and other files that are not regular are written directly. A symbolic link is kept and its
/// target replaced.
#[derive(Debug)]
pub struct OutputFile {
    destination: Destination,
    path: PathBuf,
}

#[derive(Debug)]
enum Destination {
    Unnamed(UnnamedFile),
    Temporary(TemporaryFile),
    Direct(File),
}

impl OutputFile {
    /// Opens the file at `path` for writing. A new file has mode 0666 minus the umask.
    ///
    /// # Errors
    /// [`Error`]: the directory is missing or not writable, or `path` is a directory.
    pub fn create(path: &Path) -> Result<Self> {
        Self::create_with(path, UnnamedFile::create_in)
    }

    /// Opens the file at `path` like [`Self::create`], for a program that opens [`Self::path`] itself.
    ///
    /// # Errors
    /// As for [`Self::create`].
    pub fn create_named(path: &Path) -> Result<Self> {
        Self::create_with(path, |_, _| Ok(None))
    }

    fn create_with(path: &Path, unnamed: impl Fn(&Path, u32) -> Result<Option<UnnamedFile>>) -> Result<Self> {
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
                let directory = directory_of(&path);
                let failed = |error: Error| Error { action: "write", path: path.clone(), source: error.source };
                match unnamed(directory, MODE).map_err(failed)? {
                    Some(file) => Destination::Unnamed(file),
                    None => {
                        remove_abandoned(directory);
                        Destination::Temporary(TemporaryFile::create_in(directory, MODE).map_err(failed)?)
                    }
                }
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
            Destination::Unnamed(file) => file.file(),
            Destination::Temporary(file) => file.file(),
            Destination::Direct(file) => file,
        }
    }

    /// Returns the path that has the bytes of [`Self::create_named`] until [`Self::commit`], for programs that open the
    /// file themselves. A file without a name has that of its target.
    pub fn path(&self) -> &Path {
        match &self.destination {
            Destination::Temporary(file) => file.path(),
            Destination::Unnamed(_) | Destination::Direct(_) => &self.path,
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
            Destination::Unnamed(file) => file.publish(&self.path),
            Destination::Temporary(file) => file.publish(&self.path, None),
        }
    }
}

/// The errors have the kind of the system's error and contain an [`Error`], which names the file.
impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.destination {
            Destination::Unnamed(file) => file.file().write(bytes),
            Destination::Temporary(file) => file.write(bytes),
            Destination::Direct(file) => file.write(bytes),
        };
        written.map_err(|source| self.name_error(source))
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = match &mut self.destination {
            Destination::Unnamed(file) => file.file().flush(),
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::flock::{Mode, try_flock};

    fn names(directory: &Path) -> Vec<String> {
        let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    /// Writes a file in each of the two ways.
    fn both(test: impl Fn(fn(&Path) -> Result<OutputFile>, &Path)) {
        for create in [OutputFile::create, OutputFile::create_named] {
            test(create, tempfile::tempdir().unwrap().path());
        }
    }

    #[test]
    fn a_file_appears_when_it_is_complete() {
        both(|create, directory| {
            let path = directory.join("out");
            for content in ["first", "second"] {
                let mut file = create(&path).unwrap();
                file.write_all(content.as_bytes()).unwrap();
                assert_ne!(fs::read(&path).unwrap_or_default(), content.as_bytes());
                file.commit().unwrap();
                assert_eq!(fs::read(&path).unwrap(), content.as_bytes());
                assert_eq!(names(directory), ["out"]);
            }
            let expected = File::create(directory.join("usual")).unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode(), expected);
        });
    }

    #[test]
    fn a_file_that_is_not_committed_leaves_nothing() {
        both(|create, directory| {
            let mut file = create(&directory.join("out")).unwrap();
            file.write_all(b"half").unwrap();
            drop(file);
            assert_eq!(names(directory), [""; 0]);
        });
    }

    #[test]
    fn a_link_is_kept_and_its_target_replaced() {
        both(|create, directory| {
            fs::write(directory.join("target"), "old").unwrap();
            std::os::unix::fs::symlink("target", directory.join("link")).unwrap();
            let mut file = create(&directory.join("link")).unwrap();
            file.write_all(b"new").unwrap();
            file.commit().unwrap();
            assert!(fs::symlink_metadata(directory.join("link")).unwrap().is_symlink());
            assert_eq!(fs::read(directory.join("target")).unwrap(), b"new");
        });
    }

    #[test]
    fn a_directory_that_appears_meanwhile_is_an_error_with_the_path() {
        both(|create, directory| {
            let path = directory.join("out");
            let file = create(&path).unwrap();
            fs::create_dir(&path).unwrap();
            let error = file.commit().unwrap_err();
            assert_eq!(error.path, path);
            assert_eq!(names(directory), ["out"]);
        });
    }

    #[test]
    fn abandoned_files_of_killed_writers_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(directory.path().join(name)).unwrap();
        let held = file(".tmp-4194303-7");
        assert!(try_flock(&held, Mode::Exclusive).unwrap());
        for name in [".tmp-4194303-5", ".tmp-mine", ".tmp-1", ".tmp-1-2-3", ".tmp-1-b", "tmp-1-1"] {
            file(name);
        }
        fs::create_dir(directory.path().join(".tmp-9-9")).unwrap();
        drop(OutputFile::create_named(&directory.path().join("out")).unwrap());
        let mut left = names(directory.path());
        left.sort();
        assert_eq!(left, [".tmp-1", ".tmp-1-2-3", ".tmp-1-b", ".tmp-4194303-7", ".tmp-9-9", ".tmp-mine", "tmp-1-1"]);
    }
}
