//! The socket to which a VMM connects.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};

use crate::{Error, Result};

/// The most bytes of a socket's path: `sun_path` without its terminating NUL (unix(7)).
pub(crate) const MAX_PATH: usize = 107;

/// The default limit of [`LockWait`]. Other processes hold the lock only while they create a socket.
const DEFAULT_LOCK_LIMIT: Duration = Duration::from_secs(10);

/// The pause between two attempts to take the lock.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Only the owner may connect.
const MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A listening socket at a path. Dropping it removes the file.
///
/// Other servers of this toolkit use it as well.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    file: SocketFile,
}

/// The file of a socket that this process created.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and inode, to detect that another socket has replaced the file.
    identity: (u64, u64),
}

impl Socket {
    /// Creates a socket for one client and listens. Replaces a socket without a listener, such as one left by a killed
    /// process.
    pub(crate) fn bind(path: &Path, wait: &LockWait<'_>) -> Result<Self> {
        // A VMM that connects while another is served should fail at once, so the backlog is minimal.
        Self::bind_with_backlog(path, 1, wait)
    }

    /// Creates a socket and listens, with room for `backlog` connections that wait. Replaces a socket without a listener,
    /// such as one left by a killed process. Only the owner of the process may connect.
    ///
    /// # Errors
    /// - [`Error::PathTooLong`]: the path has more than 107 bytes.
    /// - [`Error::NotASocket`]: the path is another kind of file.
    /// - [`Error::InUse`]: another process listens at the socket.
    /// - [`Error::Locked`]: another process holds the lock of the directory.
    /// - [`Error::Cancelled`]: `wait` is cancelled.
    /// - [`Error::Socket`]: the socket cannot be created.
    pub fn bind_with_backlog(path: &Path, backlog: i32, wait: &LockWait<'_>) -> Result<Self> {
        check_socket_path(path)?;
        let failed = |source: io::Error| Error::Socket { path: path.to_owned(), source };
        let _lock = lock_directory(path, wait)?;
        remove_stale(path)?;
        let listener = listen_at(path, backlog).map_err(|error| match error {
            Errno::ADDRINUSE => Error::InUse { path: path.to_owned() },
            error => failed(error.into()),
        })?;
        let identity = fs::symlink_metadata(path).map(|metadata| identity(&metadata)).map_err(failed)?;
        Ok(Self { listener, file: SocketFile { path: path.to_owned(), identity } })
    }

    /// Returns the path of the socket.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Returns the listener.
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

/// Checks the length of a socket's path, without access to the file system.
///
/// # Errors
/// [`Error::PathTooLong`] if the path has more than 107 bytes.
pub fn check_socket_path(path: &Path) -> Result<()> {
    let length = path.as_os_str().len();
    if length > MAX_PATH {
        return Err(Error::PathTooLong { path: path.to_owned(), length });
    }
    Ok(())
}

/// Checks whether a device can have its socket at a path, before the caller opens the root. Nothing is created or
/// removed.
///
/// # Errors
/// - [`Error::PathTooLong`]: the path has more than 107 bytes.
/// - [`Error::Socket`]: the directory does not exist or cannot be read.
/// - [`Error::NotASocket`]: the path is another kind of file.
/// - [`Error::InUse`]: another process listens at the socket.
pub fn check_socket(path: &Path) -> Result<()> {
    check_socket_path(path)?;
    let found = directory_of(path).metadata().map_err(|source| Error::Socket { path: path.to_owned(), source })?;
    if !found.is_dir() {
        let source = io::ErrorKind::NotADirectory.into();
        return Err(Error::Socket { path: path.to_owned(), source });
    }
    is_stale(path).map(drop)
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // If the removal fails, the next device at this path replaces the socket.
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| identity(&metadata) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// The wait for the lock of a socket's directory.
#[derive(Clone, Copy)]
pub struct LockWait<'a> {
    /// The longest wait. 10 seconds by default.
    pub limit: Duration,
    /// Called repeatedly during the wait. `Break` cancels the wait.
    pub check_cancelled: &'a dyn Fn() -> ControlFlow<()>,
}

impl fmt::Debug for LockWait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockWait").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Default for LockWait<'_> {
    fn default() -> Self {
        Self { limit: DEFAULT_LOCK_LIMIT, check_cancelled: &|| ControlFlow::Continue(()) }
    }
}

/// Locks the directory of a socket. The lock is held while a stale socket is checked, removed and replaced, so that no
/// process removes the new socket of another.
///
/// Every user who may read the directory can hold its lock indefinitely, so the wait is limited.
fn lock_directory(path: &Path, wait: &LockWait<'_>) -> Result<File> {
    let failed = |source: io::Error| Error::Socket { path: path.to_owned(), source };
    let parent = directory_of(path);
    let directory = File::open(parent).map_err(failed)?;
    let start = Instant::now();
    loop {
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(directory),
            Err(Errno::WOULDBLOCK | Errno::INTR) => {}
            Err(error) => return Err(failed(error.into())),
        }
        if (wait.check_cancelled)().is_break() {
            return Err(Error::Cancelled);
        }
        if start.elapsed() >= wait.limit {
            return Err(Error::Locked { directory: parent.to_owned(), limit: wait.limit });
        }
        thread::sleep(RETRY_PAUSE.min(wait.limit));
    }
}

fn remove_stale(path: &Path) -> Result<()> {
    if is_stale(path)? {
        fs::remove_file(path).map_err(|source| Error::Socket { path: path.to_owned(), source })?;
    }
    Ok(())
}

/// Returns whether the path is a socket without a listener. Fails for any other file, and for a socket with a listener.
fn is_stale(path: &Path) -> Result<bool> {
    let failed = |source| Error::Socket { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(Error::NotASocket { path: path.to_owned() }),
        Ok(_) => {}
    }
    // Connecting a datagram socket returns `ECONNREFUSED` if the socket has no listener, and `EPROTOTYPE` if it has
    // one. The listener sees no connection, which it would take for its VMM.
    let probe = UnixDatagram::unbound().and_then(|probe| probe.connect(path));
    match probe {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        Err(error) if error.raw_os_error() != Some(Errno::PROTOTYPE.raw_os_error()) => Err(failed(error)),
        _ => Err(Error::InUse { path: path.to_owned() }),
    }
}

fn listen_at(path: &Path, backlog: i32) -> std::result::Result<UnixListener, Errno> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // bind(2) gives the file the mode of the socket, so other users can never connect.
    fchmod(&socket, MODE)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, backlog)?;
    Ok(socket.into())
}
