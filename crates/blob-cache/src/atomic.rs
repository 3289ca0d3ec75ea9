//! Files that appear under their name whole, or not at all.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use vmroot_model::{Algorithm, Digest};

use crate::cache::sync_directory;
use crate::layout::TEMPORARY_PREFIX;
use crate::lock::{Mode, is_at, try_flock};
use crate::sink::Sink;
use crate::{Error, Result};

/// The mode of everything that is published: nobody writes to it again.
const PUBLISHED_MODE: u32 = 0o444;

/// A file on its way to its name: a temporary file in the same directory, renamed by [`AtomicFile::commit`].
///
/// Dropped before that, it is removed. It holds the flock(2) lock of its temporary file, so that a file whose writer was
/// killed is told from one that is being written.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    temporary: Temporary,
    sink: Sink,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Length in bytes.
    pub len: u64,
    /// The digest of the bytes, where [`AtomicFile::hashing`] asked for it.
    pub digest: Option<Digest>,
}

/// The path of a temporary file, which is removed with this value.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // Renamed already, or swept later: either way nobody needs to hear of it.
        let _ = fs::remove_file(&self.0);
    }
}

impl AtomicFile {
    /// Starts a file that will have the path `target`, whose directory exists.
    ///
    /// # Errors
    /// [`Error::Io`] where the temporary file cannot be made.
    pub fn create(target: impl Into<PathBuf>) -> Result<Self> {
        Self::start(target.into(), None)
    }

    /// Like [`AtomicFile::create`], and hashes the bytes as they are written.
    ///
    /// # Errors
    /// Those of [`AtomicFile::create`].
    pub fn hashing(target: impl Into<PathBuf>, algorithm: Algorithm) -> Result<Self> {
        Self::start(target.into(), Some(algorithm))
    }

    fn start(target: PathBuf, algorithm: Option<Algorithm>) -> Result<Self> {
        let (path, file) = create_temporary(directory_of(&target))?;
        Ok(Self { target, temporary: Temporary(path), sink: Sink::new(file, algorithm) })
    }

    /// The file itself, for a writer that seeks. What is written through it is neither counted nor hashed.
    pub fn file(&self) -> &File {
        self.sink.file()
    }

    /// Syncs the file and gives it its name; what had that name before is replaced.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be synced or renamed; then nothing has changed under the name.
    pub fn commit(self) -> Result<Written> {
        let written = Written { len: self.sink.len(), digest: self.sink.digest() };
        publish(self.sink.file(), &self.temporary.0, &self.target)?;
        // The temporary name is gone: there is nothing to remove.
        std::mem::forget(self.temporary);
        Ok(written)
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.write(bytes).map_err(|source| {
            let kind = source.kind();
            io::Error::new(kind, Error::Io { action: "write", path: self.temporary.0.clone(), source })
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// Writes `bytes` to `target`, whole or not at all.
///
/// # Errors
/// [`Error::Io`] where the file cannot be made, written, synced or renamed.
pub fn write_file(target: impl Into<PathBuf>, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(target)?;
    let written = file.sink.write_all(bytes);
    written.map_err(Error::io("write", &file.temporary.0))?;
    file.commit().map(drop)
}

/// Makes `file`, which is at `from`, durable and read-only, and moves it to `to` in the same directory.
pub(crate) fn publish(file: &File, from: &Path, to: &Path) -> Result<()> {
    file.set_permissions(Permissions::from_mode(PUBLISHED_MODE)).map_err(Error::io("set the mode of", from))?;
    file.sync_all().map_err(Error::io("sync", from))?;
    fs::rename(from, to).map_err(Error::io("rename to", to))?;
    sync_directory(directory_of(to))
}

/// Makes a temporary file whose lock this process holds.
fn create_temporary(directory: &Path) -> Result<(PathBuf, File)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("{TEMPORARY_PREFIX}-{}-{number}", process::id()));
        let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => file,
            // A process with the same id left it: before a reboot, or in another container that shares the cache.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(source) => return Err(Error::Io { action: "make", path, source }),
        };
        // A sweep may have come between the two calls, and taken it for abandoned.
        if try_flock(&file, Mode::Exclusive).map_err(Error::io("lock", &path))? && is_at(&file, &path)? {
            return Ok((path, file));
        }
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::names;

    #[test]
    fn appears_whole_and_read_only() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("record.json");
        let mut file = AtomicFile::hashing(&target, Algorithm::Sha256).unwrap();
        file.write_all(b"one ").unwrap();
        assert!(!target.exists());
        file.write_all(b"two").unwrap();
        let written = file.commit().unwrap();
        assert_eq!(written, Written { len: 7, digest: Some(Digest::of(b"one two")) });
        assert_eq!(fs::read(&target).unwrap(), b"one two");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o7777, 0o444);
        assert_eq!(names(directory.path()).unwrap(), ["record.json"]);
    }

    #[test]
    fn replaces_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("record.json");
        write_file(&target, b"old").unwrap();
        write_file(&target, b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }

    #[test]
    fn leaves_nothing_when_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = AtomicFile::create(directory.path().join("record.json")).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(names(directory.path()).unwrap(), [""; 0]);
    }

    #[test]
    fn a_name_taken_by_a_dead_process_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        // Tests share the counter, so block every number it can be at soon.
        let (first, _) = create_temporary(directory.path()).unwrap();
        let number: u64 = first.to_str().unwrap().rsplit('-').next().unwrap().parse().unwrap();
        for taken in number + 1..number + 100 {
            File::create_new(directory.path().join(format!("{TEMPORARY_PREFIX}-{}-{taken}", process::id()))).unwrap();
        }
        let (second, _) = create_temporary(directory.path()).unwrap();
        assert_ne!(first, second);
    }
}
