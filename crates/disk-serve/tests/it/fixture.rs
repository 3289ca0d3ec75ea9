//! Roots with disks, and servers on threads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tempfile::TempDir;
use vmroot_disk_serve::{Device, NbdServer, Result, Stopper, VhostUserOptions, VhostUserServer};
use vmroot_erofs::{ErofsMetaOptions, export_erofs_meta};
use vmroot_test_roots::Root;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::sample::noise;
use vmroot_virtiofs::LockWait;

/// A root, its disk, and the bytes that the disk must have.
pub(crate) struct Fixture {
    root: Root,
    pub(crate) device: Arc<Device>,
    pub(crate) expected: Vec<u8>,
    directory: TempDir,
}

/// A server on a thread of its own.
pub(crate) struct Serving {
    pub(crate) socket: PathBuf,
    pub(crate) stopper: Stopper,
    thread: JoinHandle<Result<()>>,
}

impl Fixture {
    /// Makes the disk of a root with two layers with contents, one without, and holes.
    pub(crate) fn new() -> Self {
        let sparse = Entry::sparse_file("sparse", 3 << 20, vec![(1 << 20, noise(5, 5000)), (2 << 20, noise(6, 10))]);
        Self::of_layers(&[
            Layer::new([Entry::file("lower", noise(1, 700_000)), Entry::file("small", "a few bytes"), sparse]),
            Layer::new([Entry::directory("without contents"), Entry::symlink("link", "x".repeat(4095))]),
            Layer::new([Entry::file("upper", noise(2, 4096)), Entry::file("upper2", noise(3, 5000))]),
        ])
    }

    /// Makes the disk of layers, lowest first.
    pub(crate) fn of_layers(layers: &[Layer]) -> Self {
        let root = Root::of(layers);
        let directory = TempDir::new().unwrap();
        let expected = joined(&root, &directory.path().join("meta"));
        let device = Arc::new(Device::of_root(&root.fs).unwrap());
        Self { root, device, expected, directory }
    }

    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes the expected bytes to a file, for programs that compare.
    pub(crate) fn expected_file(&self) -> PathBuf {
        let path = self.directory().join("expected");
        fs::write(&path, &self.expected).unwrap();
        path
    }

    pub(crate) fn serve_nbd(&self) -> Serving {
        let socket = self.directory().join("nbd");
        let server = NbdServer::bind(Arc::clone(&self.device), &socket, &LockWait::default()).unwrap();
        Serving { socket, stopper: server.stopper(), thread: thread::spawn(|| server.serve()) }
    }

    pub(crate) fn serve_vhost_user(&self, queues: usize) -> Serving {
        let socket = self.directory().join("vhost-user");
        let options = VhostUserOptions { queues };
        let device = Arc::clone(&self.device);
        let server = VhostUserServer::bind(device, &socket, &options, &LockWait::default()).unwrap();
        Serving { socket, stopper: server.stopper(), thread: thread::spawn(|| server.serve()) }
    }
}

impl Serving {
    /// Ends the server.
    pub(crate) fn end(self) {
        self.stopper.stop();
        self.thread.join().unwrap().unwrap();
        assert!(!self.socket.exists());
    }

    /// The address of the default export for NBD clients.
    pub(crate) fn uri(&self) -> String {
        format!("nbd+unix:///?socket={}", self.socket.display())
    }
}

/// Exports the root as `erofs-meta`, and joins the start of the disk and the devices.
fn joined(root: &Root, path: &Path) -> Vec<u8> {
    export_erofs_meta(&root.fs, path, &ErofsMetaOptions::default()).unwrap();
    let mut bytes = fs::read(path.with_extension("head")).unwrap();
    for device in fs::read_to_string(path.with_extension("devices")).unwrap().lines() {
        bytes.extend(fs::read(device).unwrap());
    }
    bytes
}

/// Runs a program, which must succeed. Returns its standard output.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = Command::new(program).args(arguments).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{program} {arguments:?}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

/// Returns the number of random inputs of a test: `default`, or that of `VMROOT_TEST_RANDOM_INPUTS`.
pub(crate) fn runs(default: u32) -> u32 {
    std::env::var("VMROOT_TEST_RANDOM_INPUTS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(default)
}
