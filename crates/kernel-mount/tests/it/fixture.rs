//! Builds roots of layers and mounts them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::mount::{UnmountFlags, unmount};
use tempfile::TempDir;
use vmroot_container_fs::ContainerFs;
use vmroot_kernel_mount::{MountOptions, Mounted, mount_erofs};
use vmroot_layer_index::{BuildOptions, Index, build, merge};
use vmroot_model::{Digest, chain_ids};
use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::skip;

/// Returns whether a test must be skipped because this user or this kernel cannot mount EROFS from files.
pub(crate) fn cannot_mount() -> bool {
    static MOUNTS: OnceLock<bool> = OnceLock::new();
    let mounts = || {
        let fixture = Fixture::new([]);
        fixture.try_mount("probe").is_ok()
    };
    skip::needs_root()
        || !MOUNTS.get_or_init(mounts) && skip::because("needs EROFS mounts of files, from Linux 6.12 on")
}

/// The files of a root in a temporary directory, which also holds mountpoints.
pub(crate) struct Fixture {
    directory: TempDir,
    /// The directory for unnamed files.
    scratch: PathBuf,
    pub(crate) root: ContainerFs,
}

impl Fixture {
    /// Builds a root of one layer.
    pub(crate) fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        Self::of_layers(&[Layer::new(entries)])
    }

    /// Builds a root of layers, lowest first.
    pub(crate) fn of_layers(layers: &[Layer]) -> Self {
        // The name contains every byte with a meaning in mount options.
        let directory = tempfile::Builder::new().prefix("a,b:c\\d e").tempdir().unwrap();
        let indexes: Vec<Index> = layers
            .iter()
            .map(|layer| {
                let tar = layer.to_tar(&Encoding::default());
                let built = build(tar.as_slice(), directory.path(), &BuildOptions::default()).unwrap();
                Index::open(&built.publish().unwrap()).unwrap()
            })
            .collect();
        let diff_ids: Vec<Digest> = indexes.iter().map(|index| *index.identity()).collect();
        let root_idx = directory.path().join("root.idx");
        let chain_id = *chain_ids(&diff_ids).last().unwrap();
        merge(None, &indexes.iter().collect::<Vec<_>>(), &chain_id, File::create(&root_idx).unwrap()).unwrap();
        let contents = |diff_id: &Digest| directory.path().join(format!("{}.contents", diff_id.hex()));
        let root = ContainerFs::open_files(&root_idx, &contents).unwrap();
        let scratch = directory.path().join("scratch");
        fs::create_dir(&scratch).unwrap();
        Self { directory, scratch, root }
    }

    /// Creates a directory.
    pub(crate) fn new_directory(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    }

    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    fn try_mount(&self, name: &str) -> vmroot_kernel_mount::Result<TestMount> {
        mount_erofs(&self.root, &self.scratch, &self.new_directory(name), &MountOptions::default()).map(TestMount)
    }

    /// Mounts the root on a new directory.
    pub(crate) fn mount(&self, name: &str) -> TestMount {
        self.try_mount(name).unwrap()
    }

    /// Returns the number of files that are left in the scratch directory.
    pub(crate) fn leftover_files(&self) -> usize {
        fs::read_dir(&self.scratch).unwrap().count()
    }
}

/// A mount that is unmounted at the end of a test.
pub(crate) struct TestMount(pub(crate) Mounted);

impl TestMount {
    pub(crate) fn path(&self) -> &Path {
        self.0.mountpoint()
    }
}

impl Drop for TestMount {
    fn drop(&mut self) {
        // Open files of a failing test must not prevent the removal of the directory.
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}

/// Returns the lines of the table of mounts that contain a path.
pub(crate) fn mounts(text: &Path) -> Vec<String> {
    // The table escapes spaces, tabs, line breaks and backslashes in octal.
    let text = text.to_str().unwrap().replace('\\', "\\134").replace(' ', "\\040");
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains(&text)).map(str::to_owned).collect()
}
