//! The socket: who may connect, and what happens to what is there before.

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

struct Place {
    fixture: Fixture,
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { fixture: Fixture::new([Entry::file("file", "content")]), directory: TempDir::new().unwrap() }
    }

    fn bind(&self, name: impl AsRef<Path>) -> Result<VirtioFs> {
        let socket = self.directory.path().join(name);
        VirtioFs::bind(self.fixture.root(), &socket, &VirtioFsOptions::default())
    }
}

#[test]
fn only_its_owner_may_connect() {
    let place = Place::new();
    let device = place.bind("socket").unwrap();
    assert_eq!(fs::metadata(device.socket()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn it_goes_with_the_device() {
    let place = Place::new();
    let device = place.bind("socket").unwrap();
    let socket = device.socket().to_owned();
    assert!(socket.exists());
    drop(device);
    assert!(!socket.exists());
}

#[test]
fn it_goes_when_the_vmm_is_there() {
    let place = Place::new();
    let serving = place.fixture.serve(&VirtioFsOptions::default());
    let _guest = Guest::connect(&serving.socket);
    assert!(!serving.socket.exists());
    let other = place.fixture.serve(&VirtioFsOptions::default());
    let _other = Guest::connect(&other.socket);
}

#[test]
fn one_that_was_left_behind_is_replaced() {
    let place = Place::new();
    let socket = place.directory.path().join("socket");
    drop(UnixListener::bind(&socket).unwrap());
    let stale = fs::metadata(&socket).unwrap();
    let device = place.bind("socket").unwrap();
    UnixStream::connect(&socket).unwrap();
    drop(device);
    assert!(!socket.exists(), "{} was left behind", stale.ino());
}

#[test]
fn one_that_is_listened_at_stays_and_its_listener_hears_nothing() {
    let place = Place::new();
    let device = place.bind("socket").unwrap();
    assert!(matches!(place.bind("socket"), Err(Error::InUse { .. })));
    let foreign = UnixListener::bind(place.directory.path().join("foreign")).unwrap();
    foreign.set_nonblocking(true).unwrap();
    assert!(matches!(place.bind("foreign"), Err(Error::InUse { .. })));
    assert!(foreign.accept().is_err(), "nobody has connected");
    let _datagrams = UnixDatagram::bind(place.directory.path().join("datagrams")).unwrap();
    assert!(matches!(place.bind("datagrams"), Err(Error::InUse { .. })));
    assert!(device.socket().exists());
}

#[test]
fn what_is_no_socket_stays() {
    let place = Place::new();
    let path = |name| place.directory.path().join(name);
    fs::write(path("file"), "precious").unwrap();
    fs::create_dir(path("directory")).unwrap();
    symlink("nowhere", path("link")).unwrap();
    for name in ["file", "directory", "link"] {
        assert!(matches!(place.bind(name), Err(Error::NotASocket { .. })), "{name}");
    }
    assert_eq!(fs::read(path("file")).unwrap(), b"precious");
    assert!(path("directory").exists() && fs::symlink_metadata(path("link")).is_ok());
}

#[test]
fn a_path_that_no_address_holds_is_an_error() {
    let place = Place::new();
    let length = 107 - place.directory.path().as_os_str().len() - 1;
    drop(place.bind("s".repeat(length)).unwrap());
    let error = place.bind("s".repeat(length + 1)).unwrap_err();
    assert!(matches!(error, Error::PathTooLong { length: 108, .. }));
    assert!(error.full_message().contains("107 bytes, this one has 108"), "{error}");
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let place = Place::new();
    assert!(matches!(place.bind("missing/socket"), Err(Error::Socket { .. })));
}

#[test]
fn the_socket_of_another_is_not_removed() {
    let place = Place::new();
    let device = place.bind("socket").unwrap();
    let socket = device.socket().to_owned();
    fs::remove_file(&socket).unwrap();
    let _other = UnixListener::bind(&socket).unwrap();
    drop(device);
    assert!(socket.exists());
}

#[test]
fn many_at_once_make_one_socket() {
    let place = Place::new();
    drop(UnixListener::bind(place.directory.path().join("socket")).unwrap());
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| place.bind("socket"))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(File::open(place.directory.path()).is_ok() && place.directory.path().join("socket").exists());
}
