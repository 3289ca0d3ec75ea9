//! Builds roots of layers and mounts them.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use vmroot_container_fs::ContainerFs;
use vmroot_fuse_mount::{Mount, MountOptions};
use vmroot_layer_index::{BuildOptions, Index, build, merge};
use vmroot_model::{Digest, chain_ids};
use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::skip;

/// Returns whether a test must be skipped because FUSE mounts do not work here.
pub(crate) fn cannot_mount() -> bool {
    if File::options().read(true).write(true).open("/dev/fuse").is_err() {
        return skip::because("needs /dev/fuse, open to this user");
    }
    if rustix::process::geteuid().is_root() { skip::needs_root() } else { skip::needs_program("fusermount3") }
}

/// The files of a root in a temporary directory, which also holds mountpoints.
pub(crate) struct Fixture {
    directory: TempDir,
}

impl Fixture {
    /// Builds a root of one layer.
    pub(crate) fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        Self::of_layers(&[Layer::new(entries)])
    }

    /// Builds a root of layers, lowest first.
    pub(crate) fn of_layers(layers: &[Layer]) -> Self {
        let directory = TempDir::new().unwrap();
        // Tests as another user need access.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
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
        open_root(self.directory())
    }

    /// Creates a directory to mount on.
    pub(crate) fn mountpoint(&self, name: &str) -> PathBuf {
        let mountpoint = self.directory().join(name);
        fs::create_dir(&mountpoint).unwrap();
        mountpoint
    }

    /// Mounts the root for this user on a new directory.
    pub(crate) fn mount(&self) -> Mount {
        self.mount_with(&MountOptions::default())
    }

    pub(crate) fn mount_with(&self, options: &MountOptions) -> Mount {
        Mount::new(self.root(), &self.mountpoint("mount"), options).unwrap()
    }
}

/// Opens the root whose files are in a directory.
pub(crate) fn open_root(directory: &Path) -> Arc<ContainerFs> {
    let contents = |diff_id: &Digest| directory.join(format!("{}.contents", diff_id.hex()));
    Arc::new(ContainerFs::open_files(&directory.join("root.idx"), &contents).unwrap())
}

/// Returns bytes of which each differs from its neighbours and from the same position of another seed.
pub(crate) fn test_bytes(seed: u32, length: usize) -> Vec<u8> {
    let word = |position: u32| position.wrapping_mul(0x9e37_79b1).wrapping_add(seed).to_le_bytes();
    (0..).flat_map(word).take(length).collect()
}
