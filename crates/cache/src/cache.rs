//! A cache directory and its locks.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat, statfs};
use rustix::io::Errno;
use vmroot_model::Algorithm;
use vmroot_output::flock::Mode;

use crate::lock::{Lock, LockName, WaitHook};
use crate::{Error, Layout, Result};

/// The mode of the directories of a new cache.
const PRIVATE: u32 = 0o700;

/// The permissions that new directories take over from the others of their cache.
const PUBLIC: u32 = 0o755;

/// The file systems whose files another machine or a process can take away while they are mapped, by the magic numbers
/// in the kernel's `magic.h`: NFS, SMB (three versions), 9P, FUSE, Ceph, AFS (two clients), Coda, GFS2, OCFS2, Lustre.
const REMOTE: [u32; 13] = [
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x0102_1997,
    0x6573_5546,
    0x00c3_6400,
    0x5346_414f,
    0x6b41_4653,
    0x7375_7245,
    0x0116_1970,
    0x7461_636f,
    0x0bd0_0bd0,
];

/// A cache directory. Cheap to clone. Any number of threads and processes may use the same directory.
#[derive(Debug, Clone)]
pub struct Cache {
    layout: Layout,
    role: Role,
    maps_indexes: bool,
}

/// How a process uses a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// It reads and writes files, and takes locks.
    Writer,
    /// It only reads, because it may not write. It takes no locks.
    Reader,
    /// It only reads, and the cache is not its own. It takes no locks.
    Sharer,
}

impl Cache {
    /// Opens the cache at `directory`, and creates it with mode 0700 if it is missing. Directories that an
    /// existing cache lacks get the permissions of its directory of blobs, so a cache whose owner shares it stays shared.
    ///
    /// A cache that this process may not write to is opened for reading: see [`Self::is_writable`].
    ///
    /// # Errors
    /// - [`Error::Io`](crate::Error::Io): a directory of the cache is missing and cannot be created.
    /// - [`Error::Unreadable`](crate::Error::Unreadable): the directory exists, and this process may not read it.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self> {
        let layout = Layout::new(directory);
        let root = layout.root();
        if root.is_dir() && !can_write(root) {
            return Self::reader(layout, Role::Reader);
        }
        let blobs = layout.blobs(Algorithm::Sha256).metadata();
        let mode = blobs.map_or(PRIVATE, |metadata| metadata.mode() & PUBLIC | PRIVATE);
        for directory in layout.directories() {
            if directory.is_dir() {
                if !can_write(&directory) {
                    return Self::reader(layout, Role::Reader);
                }
                continue;
            }
            let made = DirBuilder::new().recursive(true).mode(mode).create(&directory);
            made.map_err(vmroot_output::Error::on("make the directory", &directory))?;
        }
        let maps_indexes = is_local(layout.root());
        Ok(Self { layout, role: Role::Writer, maps_indexes })
    }

    /// Opens the cache at `directory` as [`Self::open`] does, but creates none: where there is no cache, the result has no
    /// files, and is not writable.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_existing(directory: impl Into<PathBuf>) -> Result<Self> {
        let layout = Layout::new(directory);
        let root = layout.root();
        let is_other_file = root.exists() && !root.is_dir();
        match Self::exists(root) || is_other_file {
            true => Self::open(root),
            false => Self::reader(layout, Role::Reader),
        }
    }

    /// Returns whether there is a cache at `directory`, which may have no files yet.
    pub fn exists(directory: &Path) -> bool {
        Layout::new(directory).blobs(Algorithm::Sha256).is_dir()
    }

    /// Removes a cache without files, such as one that was made for work that failed. Returns whether it is gone. A cache
    /// with files stays, and so does one that a process uses.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io): a directory cannot be listed or removed.
    pub fn remove_empty(directory: &Path) -> Result<bool> {
        let layout = Layout::new(directory);
        let is_empty =
            |directory: &PathBuf| fs::read_dir(directory).map_or(true, |mut entries| entries.next().is_none());
        let others = layout.directories().into_iter().filter(|it| ![layout.locks(), layout.uses()].contains(it));
        let data: Vec<PathBuf> = others.collect();
        // Each process in the cache has a file in the directory of users.
        if !data.iter().all(is_empty) || !remove_directory(&layout.uses())? {
            return Ok(false);
        }
        let parents = data.iter().filter_map(|it| it.parent()).filter(|it| *it != directory);
        for removed in data.iter().map(PathBuf::as_path).chain(parents) {
            // A process that has come meanwhile keeps its files.
            remove_directory(removed)?;
        }
        for entry in fs::read_dir(layout.locks()).into_iter().flatten().flatten() {
            fs::remove_file(entry.path()).map_err(vmroot_output::Error::on("remove", entry.path()))?;
        }
        Ok(remove_directory(&layout.locks())? && remove_directory(directory)?)
    }

    /// Opens a cache of somebody else, for reading. The directory need not exist.
    ///
    /// # Errors
    /// - [`Error::Unreadable`](crate::Error::Unreadable): this process may not read the directory.
    pub fn open_shared(directory: impl Into<PathBuf>) -> Result<Self> {
        Self::reader(Layout::new(directory), Role::Sharer)
    }

    fn reader(layout: Layout, role: Role) -> Result<Self> {
        match accessat(CWD, layout.root(), Access::READ_OK | Access::EXEC_OK, AtFlags::EACCESS) {
            Err(Errno::ACCESS | Errno::PERM) => Err(Error::Unreadable { path: layout.root().to_owned() }),
            _ => Ok(Self { layout, role, maps_indexes: false }),
        }
    }

    /// Returns whether this process may write to the cache. If it may not, every lock fails with
    /// [`Error::ReadOnly`](crate::Error::ReadOnly).
    pub fn is_writable(&self) -> bool {
        self.role == Role::Writer
    }

    /// Returns whether this is the cache of somebody else, of [`Self::open_shared`].
    pub fn is_shared(&self) -> bool {
        self.role == Role::Sharer
    }

    /// Returns whether an index of the cache may be mapped. If it may not, it is read into memory: its owner or its file
    /// system may take it away, which would end the process with SIGBUS.
    pub fn maps_indexes(&self) -> bool {
        self.maps_indexes
    }

    /// Checks that this process may write to the cache.
    ///
    /// # Errors
    /// - [`Error::ReadOnly`](crate::Error::ReadOnly): it may not.
    pub fn check_writable(&self) -> Result<()> {
        if self.is_writable() { Ok(()) } else { Err(Error::ReadOnly { path: self.layout.root().to_owned() }) }
    }

    /// Returns the paths of the files in the cache.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Takes a lock, and waits while another process or thread holds it.
    ///
    /// # Errors
    /// - [`Error::Cancelled`](crate::Error::Cancelled): `on_wait` returned `Break`.
    /// - [`Error::Io`](crate::Error::Io): the lock file cannot be created or locked.
    /// - [`Error::ReadOnly`](crate::Error::ReadOnly): this process may not write to the cache.
    pub fn lock(&self, name: &LockName, mode: Mode, on_wait: WaitHook<'_>) -> Result<Lock> {
        self.check_writable()?;
        let path = self.layout.lock(name);
        match name {
            // A collection holds them for a moment at a time, again and again.
            LockName::Gate | LockName::Uses => Lock::wait_shortly(&path, mode, on_wait),
            _ => Lock::wait(&path, mode, on_wait),
        }
    }

    /// Takes a lock if it is free. Returns `None` if another process or thread holds it.
    ///
    /// # Errors
    /// As [`Self::lock`], except that it does not wait.
    pub fn try_lock(&self, name: &LockName, mode: Mode) -> Result<Option<Lock>> {
        self.check_writable()?;
        Lock::attempt(&self.layout.lock(name), mode)
    }
}

/// Returns whether this process may make and remove files in a directory: it has the permission, and the file system is
/// not mounted read-only.
fn can_write(directory: &Path) -> bool {
    let access = accessat(CWD, directory, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS);
    !matches!(access, Err(Errno::ACCESS | Errno::PERM | Errno::ROFS))
}

/// Returns whether a directory is on a file system of this machine's kernel.
fn is_local(directory: &Path) -> bool {
    // The type is a signed number on some architectures, and 64 bits long on others.
    statfs(directory).is_ok_and(|it| !REMOTE.contains(&(it.f_type as u32)))
}

/// Returns the names in a directory, sorted. Names that are not UTF-8 are left out: the cache has none.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory).map_err(vmroot_output::Error::on("list", directory))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(vmroot_output::Error::on("list", directory))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// Removes a file. Returns true if it existed.
pub(crate) fn remove_file(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(vmroot_output::Error { action: "remove", path: path.to_owned(), source }.into()),
    }
}

/// Removes an empty directory. Returns whether it is gone.
fn remove_directory(directory: &Path) -> Result<bool> {
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
        removed => {
            removed.map_err(vmroot_output::Error::on("remove", directory))?;
            Ok(true)
        }
    }
}

/// Returns the length of a file in bytes, or `None` if it does not exist.
pub(crate) fn file_length(path: &Path) -> Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(vmroot_output::Error { action: "stat", path: path.to_owned(), source }.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn open_creates_private_directories() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("a/cache");
        let cache = Cache::open(&root).unwrap();
        Cache::open(&root).unwrap();
        for directory in cache.layout().directories().iter().map(PathBuf::as_path).chain([root.as_path()]) {
            assert_eq!(fs::metadata(directory).unwrap().permissions().mode() & 0o7777, 0o700, "{directory:?}");
        }
    }

    #[test]
    fn no_cache_is_created_for_a_reader() {
        let parent = tempfile::tempdir().unwrap();
        for root in [parent.path().join("missing"), parent.path().to_owned()] {
            let cache = Cache::open_existing(&root).unwrap();
            assert!(!cache.is_writable() && !Cache::exists(&root));
            assert!(cache.get(&vmroot_model::Digest::of(b"x")).unwrap().is_none());
            drop(cache.enter("", &mut crate::wait_forever).unwrap());
        }
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        Cache::open(parent.path()).unwrap();
        assert!(Cache::exists(parent.path()) && Cache::open_existing(parent.path()).unwrap().is_writable());
        let file = tempfile::NamedTempFile::new().unwrap();
        Cache::open_existing(file.path()).unwrap_err();
    }

    #[test]
    fn only_an_unused_cache_without_files_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("cache");
        let cache = Cache::open(&root).unwrap();
        let presence = cache.enter("", &mut crate::wait_forever).unwrap();
        assert!(!Cache::remove_empty(&root).unwrap(), "it is in use");
        drop(presence);
        let blob = cache.layout().partial(&vmroot_model::Digest::of(b"x"));
        fs::write(&blob, "part").unwrap();
        assert!(!Cache::remove_empty(&root).unwrap() && blob.exists());
        fs::remove_file(blob).unwrap();
        fs::write(root.join("other"), "").unwrap();
        assert!(!Cache::remove_empty(&root).unwrap() && root.join("other").exists());
        fs::remove_file(root.join("other")).unwrap();
        assert!(Cache::remove_empty(&root).unwrap() && !root.exists());
        assert!(parent.path().exists());
        assert!(Cache::remove_empty(&root).unwrap(), "it is gone already");
    }

    #[test]
    fn added_directories_are_as_public_as_the_others() {
        let parent = tempfile::tempdir().unwrap();
        let cache = Cache::open(parent.path()).unwrap();
        for directory in [cache.layout().blobs(Algorithm::Sha256), parent.path().to_owned()] {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::remove_dir(cache.layout().images()).unwrap();
        Cache::open(parent.path()).unwrap();
        let mode = |directory: PathBuf| fs::metadata(directory).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(cache.layout().images()), 0o755);
        assert_eq!(mode(cache.layout().layers()), 0o700, "it stays as its owner left it");
    }

    #[test]
    fn a_shared_cache_is_only_read() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("missing");
        let shared = Cache::open_shared(&root).unwrap();
        assert!(shared.is_shared() && !shared.is_writable() && !shared.maps_indexes());
        assert!(shared.get(&vmroot_model::Digest::of(b"x")).unwrap().is_none());
        let presence = shared.enter("", &mut crate::wait_forever).unwrap();
        drop(presence.uses().hold(crate::Needs::default()).unwrap());
        let error = presence.close_gate(&mut crate::wait_forever).unwrap_err();
        assert!(matches!(&error, Error::ReadOnly { path } if *path == root), "{error}");
        assert!(error.to_string().contains("read-only"), "{error}");
        assert!(!root.exists());
    }

    #[test]
    fn open_error_names_the_directory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Cache::open(file.path()).unwrap_err().to_string();
        assert!(error.contains(file.path().to_str().unwrap()), "{error}");
    }
}
