//! Builds roots of layers and serves them with devices.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tempfile::TempDir;
use vmroot_container_fs::ContainerFs;
use vmroot_layer_index::{BuildOptions, Index, build, merge};
use vmroot_model::{Digest, chain_ids};
use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_virtiofs::{Result, Stopper, VirtioFs, VirtioFsOptions};

/// The files of a root in a temporary directory, which also holds the sockets of devices.
pub(crate) struct Fixture {
    directory: TempDir,
}

/// A device that is served on its own thread.
pub(crate) struct Serving {
    pub(crate) socket: PathBuf,
    pub(crate) stopper: Stopper,
    thread: JoinHandle<Result<()>>,
}

impl Fixture {
    /// Builds a root of one layer.
    pub(crate) fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        Self::of_layers(&[Layer::new(entries)])
    }

    /// Builds a root of layers, lowest first.
    pub(crate) fn of_layers(layers: &[Layer]) -> Self {
        let directory = TempDir::new().unwrap();
        let indexes: Vec<Index> = layers
            .iter()
            .map(|layer| {
                let tar = layer.to_tar(&Encoding::default());
                let built = build(tar.as_slice(), directory.path(), &BuildOptions::default()).unwrap();
                Index::open(&built.publish().unwrap()).unwrap()
            })
            .collect();
        let diff_ids: Vec<Digest> = indexes.iter().map(|index| *index.identity()).collect();
        let chain_id = *chain_ids(&diff_ids).last().unwrap();
        let out = File::create(directory.path().join("root.idx")).unwrap();
        merge(None, &indexes.iter().collect::<Vec<_>>(), &chain_id, out).unwrap();
        Self { directory }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn root(&self) -> Arc<ContainerFs> {
        let contents = |diff_id: &Digest| self.directory().join(format!("{}.contents", diff_id.hex()));
        Arc::new(ContainerFs::open_files(&self.directory().join("root.idx"), &contents).unwrap())
    }

    /// Serves the root at a new socket.
    pub(crate) fn serve(&self, options: &VirtioFsOptions) -> Serving {
        let socket = self.directory().join("socket");
        let device = VirtioFs::bind(self.root(), &socket, options).unwrap();
        let stopper = device.stopper();
        Serving { socket, stopper, thread: thread::spawn(|| device.serve()) }
    }
}

impl Serving {
    /// Waits until the device ends.
    pub(crate) fn end(self) -> Result<()> {
        self.thread.join().unwrap()
    }
}

/// Returns bytes of which each differs from its neighbours and from the same position of another seed.
pub(crate) fn test_bytes(seed: u32, length: usize) -> Vec<u8> {
    let word = |position: u32| position.wrapping_mul(0x9e37_79b1).wrapping_add(seed).to_le_bytes();
    (0..).flat_map(word).take(length).collect()
}
