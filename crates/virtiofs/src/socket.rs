//! The socket that a VMM connects to.

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

/// The most bytes of a socket's path: `sun_path` without the NUL at its end (unix(7)).
pub(crate) const MAX_PATH: usize = 107;

/// How long the lock of the directory is waited for, if nobody says otherwise. It is held for a moment by those who make a
/// socket.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// How often the lock is tried.
const PAUSE: Duration = Duration::from_millis(20);

/// Only its owner may connect.
const MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A listening socket at a path, which goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    place: Place,
}

/// The path of a socket of ours.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// Device and inode, by which ours is told from another that has its path now.
    identity: (u64, u64),
}

impl Socket {
    /// Makes a socket and listens. One that nobody listens at any more, as a killed process leaves it, is replaced.
    pub(crate) fn bind(path: &Path, wait: &LockWait<'_>) -> Result<Self> {
        check_socket_path(path)?;
        let failed = |source: io::Error| Error::Socket { path: path.to_owned(), source };
        let _alone = lock_directory(path, wait)?;
        remove_stale(path)?;
        let listener = listen_at(path).map_err(|error| match error {
            Errno::ADDRINUSE => Error::InUse { path: path.to_owned() },
            error => failed(error.into()),
        })?;
        let identity = fs::symlink_metadata(path).map(|metadata| identity(&metadata)).map_err(failed)?;
        Ok(Self { listener, place: Place { path: path.to_owned(), identity } })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.place.path
    }

    pub(crate) fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

/// Whether a path can be a socket's; nothing is looked at or made.
///
/// # Errors
/// [`Error::PathTooLong`].
pub fn check_socket_path(path: &Path) -> Result<()> {
    let length = path.as_os_str().len();
    if length > MAX_PATH {
        return Err(Error::PathTooLong { path: path.to_owned(), length });
    }
    Ok(())
}

/// Whether a device can have its socket at a path, for a caller that has yet to get the root. Nothing is made or removed.
///
/// # Errors
/// [`Error::PathTooLong`], [`Error::Socket`] without a directory for it, [`Error::NotASocket`] and [`Error::InUse`].
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

impl Drop for Place {
    fn drop(&mut self) {
        // A socket that stays is replaced by the next to come.
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| identity(&metadata) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// How long to wait for the lock of a socket's directory.
#[derive(Clone, Copy)]
pub struct LockWait<'a> {
    /// The longest wait.
    pub limit: Duration,
    /// Asked again and again; a break ends the wait.
    pub going_on: &'a dyn Fn() -> ControlFlow<()>,
}

impl Default for LockWait<'_> {
    fn default() -> Self {
        Self { limit: LOCK_PATIENCE, going_on: &|| ControlFlow::Continue(()) }
    }
}

/// Held while a stale socket is looked at, removed and replaced, so that nobody removes the new socket of another.
///
/// Anybody who may read the directory may hold its lock, for ever. So the wait has an end.
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
        if (wait.going_on)().is_break() {
            return Err(Error::Cancelled);
        }
        if start.elapsed() >= wait.limit {
            return Err(Error::Locked { directory: parent.to_owned(), limit: wait.limit });
        }
        thread::sleep(PAUSE.min(wait.limit));
    }
}

fn remove_stale(path: &Path) -> Result<()> {
    if is_stale(path)? {
        fs::remove_file(path).map_err(|source| Error::Socket { path: path.to_owned(), source })?;
    }
    Ok(())
}

/// Whether a socket without a listener is there; an error for any other file.
fn is_stale(path: &Path) -> Result<bool> {
    let failed = |source| Error::Socket { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(Error::NotASocket { path: path.to_owned() }),
        Ok(_) => {}
    }
    // A datagram is refused by a socket that is no more, and is of the wrong type for one that listens: so we learn
    // which it is and the listener hears nothing, which would take a connection for its VMM.
    let probe = UnixDatagram::unbound().and_then(|probe| probe.connect(path));
    match probe {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        Err(error) if error.raw_os_error() != Some(Errno::PROTOTYPE.raw_os_error()) => Err(failed(error)),
        _ => Err(Error::InUse { path: path.to_owned() }),
    }
}

fn listen_at(path: &Path) -> std::result::Result<UnixListener, Errno> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // bind(2) gives the file the mode of the socket, so there is no moment at which others may connect.
    fchmod(&socket, MODE)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    // A VMM that comes while another is served shall hear that at once, so none waits in line.
    listen(&socket, 1)?;
    Ok(socket.into())
}
