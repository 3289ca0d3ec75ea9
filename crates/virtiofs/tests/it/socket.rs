//! The socket: its permissions, and other files at its path.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use tempfile::TempDir;
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::layer::Entry;
use vmroot_virtiofs::{Error, Result, VirtioFs, VirtioFsOptions};

use crate::fixture::Fixture;
use crate::front_end::Guest;

struct SocketDirectory {
    fixture: Fixture,
    directory: TempDir,
}

impl SocketDirectory {
    fn new() -> Self {
        Self { fixture: Fixture::new([Entry::file("file", "content")]), directory: TempDir::new().unwrap() }
    }

    fn bind(&self, name: impl AsRef<Path>) -> Result<VirtioFs> {
        let socket = self.directory.path().join(name);
        VirtioFs::bind(self.fixture.root(), &socket, &VirtioFsOptions::default())
    }
}

#[test]
fn only_the_owner_may_connect() {
    let sockets = SocketDirectory::new();
    let device = sockets.bind("socket").unwrap();
    assert_eq!(fs::metadata(device.socket()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_socket_is_removed_with_the_device() {
    let sockets = SocketDirectory::new();
    let device = sockets.bind("socket").unwrap();
    let socket = device.socket().to_owned();
    assert!(socket.exists());
    drop(device);
    assert!(!socket.exists());
}

#[test]
fn the_socket_is_removed_when_a_vmm_connects() {
    let sockets = SocketDirectory::new();
    let serving = sockets.fixture.serve(&VirtioFsOptions::default());
    let _guest = Guest::connect(&serving.socket);
    assert!(!serving.socket.exists());
    let other = sockets.fixture.serve(&VirtioFsOptions::default());
    let _other = Guest::connect(&other.socket);
}

#[test]
fn a_stale_socket_is_replaced() {
    let sockets = SocketDirectory::new();
    let socket = sockets.directory.path().join("socket");
    drop(UnixListener::bind(&socket).unwrap());
    let stale = fs::metadata(&socket).unwrap();
    let device = sockets.bind("socket").unwrap();
    UnixStream::connect(&socket).unwrap();
    drop(device);
    assert!(!socket.exists(), "{} was left behind", stale.ino());
}

#[test]
fn a_socket_in_use_is_kept_and_not_connected_to() {
    let sockets = SocketDirectory::new();
    let device = sockets.bind("socket").unwrap();
    assert!(matches!(sockets.bind("socket"), Err(Error::InUse { .. })));
    let foreign = UnixListener::bind(sockets.directory.path().join("foreign")).unwrap();
    foreign.set_nonblocking(true).unwrap();
    assert!(matches!(sockets.bind("foreign"), Err(Error::InUse { .. })));
    assert!(foreign.accept().is_err(), "no client has connected");
    let _datagrams = UnixDatagram::bind(sockets.directory.path().join("datagrams")).unwrap();
    assert!(matches!(sockets.bind("datagrams"), Err(Error::InUse { .. })));
    assert!(device.socket().exists());
}

#[test]
fn other_files_are_kept() {
    let sockets = SocketDirectory::new();
    let path = |name| sockets.directory.path().join(name);
    fs::write(path("file"), "precious").unwrap();
    fs::create_dir(path("directory")).unwrap();
    symlink("nowhere", path("link")).unwrap();
    for name in ["file", "directory", "link"] {
        assert!(matches!(sockets.bind(name), Err(Error::NotASocket { .. })), "{name}");
    }
    assert_eq!(fs::read(path("file")).unwrap(), b"precious");
    assert!(path("directory").exists() && fs::symlink_metadata(path("link")).is_ok());
}

#[test]
fn a_path_that_is_too_long_is_an_error() {
    let sockets = SocketDirectory::new();
    let length = 107 - sockets.directory.path().as_os_str().len() - 1;
    drop(sockets.bind("s".repeat(length)).unwrap());
    let error = sockets.bind("s".repeat(length + 1)).unwrap_err();
    assert!(matches!(error, Error::PathTooLong { length: 108, .. }));
    assert!(error.full_message().contains("107 bytes, this one has 108"), "{error}");
}

#[test]
fn a_missing_directory_is_an_error() {
    let sockets = SocketDirectory::new();
    assert!(matches!(sockets.bind("missing/socket"), Err(Error::Socket { .. })));
}

#[test]
fn the_socket_of_another_process_is_not_removed() {
    let sockets = SocketDirectory::new();
    let device = sockets.bind("socket").unwrap();
    let socket = device.socket().to_owned();
    fs::remove_file(&socket).unwrap();
    let _other = UnixListener::bind(&socket).unwrap();
    drop(device);
    assert!(socket.exists());
}

#[test]
fn concurrent_devices_create_one_socket() {
    let sockets = SocketDirectory::new();
    drop(UnixListener::bind(sockets.directory.path().join("socket")).unwrap());
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| sockets.bind("socket"))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(File::open(sockets.directory.path()).is_ok() && sockets.directory.path().join("socket").exists());
}
