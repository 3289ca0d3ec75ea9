//! Files and directories under temporary names.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, CWD, OFlags, linkat};
use rustix::io::Errno;

use crate::flock::{Mode, is_at, try_flock};
use crate::{Error, Result};

/// The prefix of the names of all temporary files and directories.
pub const TEMPORARY_PREFIX: &str = ".tmp-";

/// The paths of all temporary files of this process.
static TEMPORARY_FILES: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Removes the temporary files of this process, for a program that ends while its threads still write: destructors do
/// not run then.
///
/// A file that gets its final name meanwhile is kept. Threads that create a temporary file wait until the result is
/// dropped.
pub fn remove_temporary_files() -> NoTemporaryFiles {
    let files = temporary_files();
    // The files in a directory come before it.
    for path in files.iter().rev() {
        // The error is ignored: a file or directory that cannot be removed now is swept later.
        let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
    }
    NoTemporaryFiles { _files: files }
}

/// While this exists, no temporary file or directory is created.
#[must_use = "temporary files can be created once this is dropped"]
#[derive(Debug)]
pub struct NoTemporaryFiles {
    _files: MutexGuard<'static, BTreeSet<PathBuf>>,
}

fn temporary_files() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    TEMPORARY_FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file under a temporary name until [`TemporaryFile::publish`]. If it is dropped before that, the file is removed.
///
/// It holds the flock(2) lock of the file, if the file system supports locks. A sweep removes only files without a
/// lock, whose writers were killed.
#[derive(Debug)]
pub struct TemporaryFile {
    path: PathBuf,
    file: File,
}

impl TemporaryFile {
    /// Creates a file in `directory` with the permission bits `mode`, minus the umask.
    ///
    /// # Errors
    /// [`Error`]: the file cannot be created or locked.
    pub fn create_in(directory: &Path, mode: u32) -> Result<Self> {
        loop {
            let path = directory.join(name());
            let mut files = temporary_files();
            let file = match OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(&path) {
                Ok(file) => file,
                // The file of an earlier process with the same id: from before a reboot, or from another container that
                // shares the directory.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(source) => return Err(Error { action: "make", path, source }),
            };
            // A sweep between the two calls may have removed the file as abandoned.
            if is_ours(&file, &path, Mode::Exclusive)? {
                files.insert(path.clone());
                return Ok(Self { path, file });
            }
        }
    }

    /// Returns the file, for writes at any position.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Returns the temporary path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets the permission bits if `mode` is `Some`, and syncs the file to disk.
    ///
    /// # Errors
    /// [`Error`]: the mode cannot be set, or the file cannot be synced.
    pub fn sync(&self, mode: Option<u32>) -> Result<()> {
        self.set_mode(mode)?;
        self.file.sync_all().map_err(Error::on("sync", &self.path))
    }

    /// Sets the permission bits if `mode` is `Some`.
    ///
    /// # Errors
    /// [`Error`]: the mode cannot be set.
    pub fn set_mode(&self, mode: Option<u32>) -> Result<()> {
        let set = mode.map_or(Ok(()), |mode| self.file.set_permissions(Permissions::from_mode(mode)));
        set.map_err(Error::on("set the mode of", &self.path))
    }

    /// Renames the file to `target` on the same file system, and replaces an existing file. The new name is durable
    /// after [`sync_directory`].
    ///
    /// # Errors
    /// [`Error`]: the file cannot be renamed. The temporary file is removed.
    pub fn rename(self, target: &Path) -> Result<()> {
        fs::rename(&self.path, target).map_err(Error::on("rename to", target))?;
        // The temporary name no longer exists, so there is nothing to remove.
        let mut renamed = self;
        temporary_files().remove(&std::mem::take(&mut renamed.path));
        Ok(())
    }

    /// Syncs the file and renames it to `target`, durably.
    ///
    /// # Errors
    /// [`Error`]: the file cannot be synced or renamed; `target` is unchanged. Or the directory cannot be synced.
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
            temporary_files().remove(&self.path);
        }
    }
}

/// A file without a name until [`UnnamedFile::publish`]. The kernel removes it when its process ends in any way before.
#[derive(Debug)]
pub struct UnnamedFile {
    file: File,
}

impl UnnamedFile {
    /// Creates a file on the file system of `directory` with the permission bits `mode`, minus the umask. Returns `None`
    /// if the file system has no files without names, or `/proc` is not mounted, which is needed to give them one.
    ///
    /// # Errors
    /// [`Error`]: the file cannot be created.
    pub fn create_in(directory: &Path, mode: u32) -> Result<Option<Self>> {
        let flags = OFlags::TMPFILE.bits().cast_signed();
        let opened = OpenOptions::new().read(true).write(true).mode(mode).custom_flags(flags).open(directory);
        let file = match opened {
            Ok(file) => Self { file },
            // What the kernel and file systems answer that do not know the flag (open(2)).
            Err(error)
                if matches!(Errno::from_io_error(&error), Some(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL)) =>
            {
                return Ok(None);
            }
            Err(source) => return Err(Error { action: "make a file in", path: directory.to_owned(), source }),
        };
        Ok(fs::symlink_metadata(file.own_path()).is_ok().then_some(file))
    }

    /// Returns the file, for writes at any position.
    pub fn file(&self) -> &File {
        &self.file
    }

    fn own_path(&self) -> String {
        format!("/proc/self/fd/{}", self.file.as_raw_fd())
    }

    fn link(&self, path: &Path) -> io::Result<()> {
        Ok(linkat(CWD, self.own_path(), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
    }

    /// Syncs the file and gives it the name `target`, durably. An existing file is replaced.
    ///
    /// # Errors
    /// [`Error`]: the file cannot be synced or get its name; `target` is unchanged. Or the directory cannot be synced.
    pub fn publish(self, target: &Path) -> Result<()> {
        self.file.sync_all().map_err(Error::on("write", target))?;
        match self.link(target) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.replace(target)?,
            linked => linked.map_err(Error::on("write", target))?,
        }
        sync_directory(directory_of(target))
    }

    /// Replaces an existing file. A link cannot do that, so the file has a temporary name in between.
    fn replace(self, target: &Path) -> Result<()> {
        let directory = directory_of(target);
        // A sweep keeps a file with this lock.
        if !lock_new(&self.file, target)? {
            return Err(Error { action: "lock", path: target.to_owned(), source: io::ErrorKind::WouldBlock.into() });
        }
        loop {
            let path = directory.join(name());
            let mut files = temporary_files();
            match self.link(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(source) => return Err(Error { action: "write", path: target.to_owned(), source }),
            }
            files.insert(path.clone());
            drop(files);
            return TemporaryFile { path, file: self.file }.rename(target);
        }
    }
}

/// Removes the temporary files in `directory` whose writers were killed. The directory may be any, so only regular files
/// with exactly the names of this program's are removed, and only if they have no lock. Errors are ignored: the next
/// writer tries again.
pub(crate) fn remove_abandoned(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let is_file = entry.file_type().is_ok_and(|file_type| file_type.is_file());
        if !is_file || !entry.file_name().to_str().is_some_and(is_own_name) {
            continue;
        }
        let path = entry.path();
        // Another file may have the name by now.
        let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
        let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(&path) else { continue };
        // The lock is held during the removal. Its writer, if it has just made the file, notices that it is gone.
        if matches!(try_flock(&file, Mode::Exclusive), Ok(true)) && is_at(&file, &path).unwrap_or(false) {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Returns whether [`name`] can return this name.
fn is_own_name(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = name.strip_prefix(TEMPORARY_PREFIX).and_then(|numbers| numbers.split_once('-'));
    numbers.is_some_and(|(process, number)| is_number(process) && is_number(number))
}

/// Writes `bytes` to `target` atomically and durably, with the permission bits `mode`.
///
/// # Errors
/// [`Error`]: the file cannot be created, written, synced or renamed.
pub fn write_atomically(target: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut file = TemporaryFile::create_in(directory_of(target), 0o600)?;
    let written = file.write_all(bytes);
    written.map_err(Error::on("write", &file.path))?;
    file.publish(target, Some(mode))
}

/// A temporary directory. Dropping it removes the directory and everything in it.
///
/// It holds the flock(2) lock of the directory. A sweep removes only directories without a lock, whose processes were
/// killed.
#[derive(Debug)]
pub struct TemporaryDirectory {
    path: PathBuf,
    _locked: File,
}

impl TemporaryDirectory {
    /// Creates a directory with mode 0700 in `parent`.
    ///
    /// # Errors
    /// [`Error`]: the directory cannot be created, opened or locked.
    pub fn create_in(parent: &Path) -> Result<Self> {
        loop {
            let path = parent.join(name());
            let mut files = temporary_files();
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                // The directory of a process with the same id: an earlier one, or one in another container that shares
                // the parent.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(source) => return Err(Error { action: "make a directory in", path: parent.to_owned(), source }),
            }
            let opened = match File::open(&path) {
                Ok(opened) => opened,
                // A sweep removed the directory before it was opened.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(Error { action: "open", path, source }),
            };
            // A shared lock, because some network file systems require write access for an exclusive one.
            if is_ours(&opened, &path, Mode::Shared)? {
                files.insert(path.clone());
                return Ok(Self { path, _locked: opened });
            }
        }
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // A directory that cannot be removed now is swept later.
        let _ = fs::remove_dir_all(&self.path);
        temporary_files().remove(&self.path);
    }
}

/// Makes the renames and removals in a directory durable.
///
/// # Errors
/// [`Error`]: the directory cannot be opened or synced.
pub fn sync_directory(directory: &Path) -> Result<()> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(Error::on("sync the directory", directory))
}

/// Returns the directory of a file, `.` for a plain name.
pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns a name that is unique among the threads and processes of this machine.
fn name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    format!("{TEMPORARY_PREFIX}{}-{}", process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// Locks a file that was just created. Returns true if it still has its name.
fn is_ours(file: &File, path: &Path, mode: Mode) -> Result<bool> {
    match lock(file, path, mode)? {
        Locked::Yes => is_at(file, path),
        Locked::No => Ok(false),
        Locked::Unsupported => Ok(true),
    }
}

/// Locks a file that has no name yet. Returns true unless another process has its lock.
fn lock_new(file: &File, path: &Path) -> Result<bool> {
    Ok(!matches!(lock(file, path, Mode::Exclusive)?, Locked::No))
}

enum Locked {
    Yes,
    No,
    /// The file system has no locks. A sweep removes nothing there.
    Unsupported,
}

fn lock(file: &File, path: &Path, mode: Mode) -> Result<Locked> {
    match try_flock(file, mode) {
        Ok(true) => Ok(Locked::Yes),
        Ok(false) => Ok(Locked::No),
        Err(error) if error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(NO_LOCKS) => {
            Ok(Locked::Unsupported)
        }
        Err(source) => Err(Error { action: "lock", path: path.to_owned(), source }),
    }
}

/// `ENOLCK`, the error of network file systems without a lock server.
const NO_LOCKS: i32 = rustix::io::Errno::NOLCK.raw_os_error();

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn publish_sets_name_and_mode() {
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
    fn write_atomically_replaces_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("record.json");
        write_atomically(&target, 0o444, b"old").unwrap();
        write_atomically(&target, 0o444, b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }

    #[test]
    fn drop_removes_file_and_directory() {
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
    fn existing_temporary_names_are_skipped() {
        let directory = tempfile::tempdir().unwrap();
        // Tests share the counter, so all numbers in its reach are taken.
        let number: u64 = name().rsplit('-').next().unwrap().parse().unwrap();
        for taken in number..number + 100 {
            let name = format!("{TEMPORARY_PREFIX}{}-{taken}", process::id());
            File::create_new(directory.path().join(name)).unwrap();
        }
        let file = TemporaryFile::create_in(directory.path(), 0o600).unwrap();
        assert!(names(directory.path()).len() == 101 && file.path().exists());
    }
}
