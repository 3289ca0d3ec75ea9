//! Files and directories that have no name of their own yet.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::flock::{Mode, is_at, try_flock};
use crate::{Error, Result};

/// How the names of all temporary files and directories begin.
pub const TEMPORARY_PREFIX: &str = ".tmp-";

/// A file under a temporary name, which [`TemporaryFile::publish`] replaces by its own. Dropped before that, it is removed.
///
/// It holds the flock(2) lock of its file where the file system has such locks, so that a file whose writer was killed
/// can be told from one that is being written.
#[derive(Debug)]
pub struct TemporaryFile {
    path: PathBuf,
    file: File,
}

impl TemporaryFile {
    /// Makes a file in `directory` with these permission bits, less the umask.
    ///
    /// # Errors
    /// [`Error`] where it cannot be made.
    pub fn create_in(directory: &Path, mode: u32) -> Result<Self> {
        loop {
            let path = directory.join(name());
            let file = match OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(&path) {
                Ok(file) => file,
                // A process with the same id left it: before a reboot, or in another container that shares the directory.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(source) => return Err(Error { action: "make", path, source }),
            };
            // A sweep may have come between the two calls, and taken it for abandoned.
            if is_ours(&file, &path, Mode::Exclusive)? {
                return Ok(Self { path, file });
            }
        }
    }

    /// The file itself, for writing at any position.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where it is until it is published.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the bytes on the disk, and sets the permission bits if there are any here.
    ///
    /// # Errors
    /// [`Error`] where the disk is full or bad.
    pub fn sync(&self, mode: Option<u32>) -> Result<()> {
        self.set_mode(mode)?;
        self.file.sync_all().map_err(Error::on("sync", &self.path))
    }

    /// Sets the permission bits if there are any here.
    ///
    /// # Errors
    /// [`Error`] where the system refuses.
    pub fn set_mode(&self, mode: Option<u32>) -> Result<()> {
        let set = mode.map_or(Ok(()), |mode| self.file.set_permissions(Permissions::from_mode(mode)));
        set.map_err(Error::on("set the mode of", &self.path))
    }

    /// Gives it its name, on the same file system; a file that had this name is replaced. The name is durable after
    /// [`sync_directory`].
    ///
    /// # Errors
    /// [`Error`] where it cannot be renamed; the temporary file is removed.
    pub fn rename(self, target: &Path) -> Result<()> {
        fs::rename(&self.path, target).map_err(Error::on("rename to", target))?;
        // The temporary name is gone, so there is nothing to remove.
        let mut renamed = self;
        renamed.path = PathBuf::new();
        Ok(())
    }

    /// Puts the bytes on the disk and gives the file its name, durably.
    ///
    /// # Errors
    /// [`Error`] where it cannot be synced or renamed; then nothing has changed under the name.
    pub fn publish(self, target: &Path, mode: Option<u32>) -> Result<()> {
        self.sync(mode)?;
        self.rename(target)?;
        sync_directory(directory_of(target))
    }
}

impl Write for TemporaryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // A file that cannot be removed now is swept later.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes `bytes` to `target`, whole or not at all, with these permission bits.
///
/// # Errors
/// [`Error`] where the file cannot be made, written, synced or renamed.
pub fn write_whole(target: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut file = TemporaryFile::create_in(directory_of(target), 0o600)?;
    let written = file.write_all(bytes);
    written.map_err(Error::on("write", &file.path))?;
    file.publish(target, Some(mode))
}

/// A directory that is removed, with all that is in it, when this is dropped.
///
/// It holds the flock(2) lock of the directory, so that one whose process was killed can be told from one in use.
#[derive(Debug)]
pub struct TemporaryDirectory {
    path: PathBuf,
    _locked: File,
}

impl TemporaryDirectory {
    /// Makes a directory with mode 0700 in `parent`.
    ///
    /// # Errors
    /// [`Error`] where it cannot be made or opened.
    pub fn create_in(parent: &Path) -> Result<Self> {
        loop {
            let path = parent.join(name());
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                // A process with the same id left it, or has it: in another container that shares the directory.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(source) => return Err(Error { action: "make the directory", path, source }),
            }
            let opened = match File::open(&path) {
                Ok(opened) => opened,
                // A sweep came before the lock.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(Error { action: "open", path, source }),
            };
            // Shared, for some network file systems want a file that is open for writing for the other mode.
            if is_ours(&opened, &path, Mode::Shared)? {
                return Ok(Self { path, _locked: opened });
            }
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // A directory that cannot be removed now is swept later.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Makes the renames and removals in a directory durable.
///
/// # Errors
/// [`Error`] where it cannot be opened or synced.
pub fn sync_directory(directory: &Path) -> Result<()> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(Error::on("sync the directory", directory))
}

/// The directory that a file is in; `.` for a plain name.
pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A name that no other thread has, and no other process of this machine.
fn name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    format!("{TEMPORARY_PREFIX}{}-{}", process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// Locks a file that was just made, and says whether it still has its name.
fn is_ours(file: &File, path: &Path, mode: Mode) -> Result<bool> {
    match try_flock(file, mode) {
        Ok(locked) => Ok(locked && is_at(file, path)?),
        // A file system without locks: nothing is swept there.
        Err(error) if error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(NO_LOCKS) => Ok(true),
        Err(source) => Err(Error { action: "lock", path: path.to_owned(), source }),
    }
}

/// `ENOLCK`, the answer of network file systems without a lock server.
const NO_LOCKS: i32 = rustix::io::Errno::NOLCK.raw_os_error();

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn appears_whole_with_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("record.json");
        let mut file = TemporaryFile::create_in(directory.path(), 0o600).unwrap();
        file.write_all(b"one ").unwrap();
        assert!(!target.exists());
        file.write_all(b"two").unwrap();
        file.publish(&target, Some(0o444)).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"one two");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o7777, 0o444);
        assert_eq!(names(directory.path()), ["record.json"]);
    }

    #[test]
    fn replaces_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("record.json");
        write_whole(&target, 0o444, b"old").unwrap();
        write_whole(&target, 0o444, b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }

    #[test]
    fn leaves_nothing_when_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = TemporaryFile::create_in(directory.path(), 0o600).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        let inner = TemporaryDirectory::create_in(directory.path()).unwrap();
        fs::write(inner.path().join("file"), "x").unwrap();
        drop(inner);
        assert_eq!(names(directory.path()), [""; 0]);
    }

    #[test]
    fn a_name_taken_by_a_dead_process_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        // Tests share the counter, so every number that it can be at soon is taken.
        let number: u64 = name().rsplit('-').next().unwrap().parse().unwrap();
        for taken in number..number + 100 {
            let name = format!("{TEMPORARY_PREFIX}{}-{taken}", process::id());
            File::create_new(directory.path().join(name)).unwrap();
        }
        let file = TemporaryFile::create_in(directory.path(), 0o600).unwrap();
        assert!(names(directory.path()).len() == 101 && file.path().exists());
    }
}
