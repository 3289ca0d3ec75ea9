//! A root of layers, and mounts of it.

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

/// Whether a test has to be skipped because this kernel does not mount EROFS from files, or not for this user.
pub(crate) fn cannot_mount() -> bool {
    static MOUNTS: OnceLock<bool> = OnceLock::new();
    let mounts = || {
        let fixture = Fixture::new([]);
        fixture.try_mount("probe").is_ok()
    };
    skip::needs_root()
        || !MOUNTS.get_or_init(mounts) && skip::because("needs EROFS mounts of files, from Linux 6.12 on")
}

/// The files of a root in a directory of their own, with directories to mount on.
pub(crate) struct Fixture {
    directory: TempDir,
    /// Where files without names go.
    scratch: PathBuf,
    pub(crate) root: ContainerFs,
}

impl Fixture {
    /// A root of one layer.
    pub(crate) fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        Self::of_layers(&[Layer::new(entries)])
    }

    /// A root of layers, lowest first.
    pub(crate) fn of_layers(layers: &[Layer]) -> Self {
        // All that could be taken for something else in options of a mount.
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
        let root = ContainerFs::open(&root_idx, &contents).unwrap();
        let scratch = directory.path().join("scratch");
        fs::create_dir(&scratch).unwrap();
        Self { directory, scratch, root }
    }

    /// A new directory.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        let place = self.directory.path().join(name);
        fs::create_dir(&place).unwrap();
        place
    }

    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    fn try_mount(&self, name: &str) -> vmroot_kernel_mount::Result<Taken> {
        mount_erofs(&self.root, &self.scratch, &self.place(name), &MountOptions::default()).map(Taken)
    }

    /// Mounts the root on a new directory.
    pub(crate) fn mount(&self, name: &str) -> Taken {
        self.try_mount(name).unwrap()
    }

    /// What files without names have left.
    pub(crate) fn left_over(&self) -> usize {
        fs::read_dir(&self.scratch).unwrap().count()
    }
}

/// A mount that goes with the test.
pub(crate) struct Taken(pub(crate) Mounted);

impl Taken {
    pub(crate) fn path(&self) -> &Path {
        self.0.mountpoint()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // Open files of a failing test must not keep the directory from being removed.
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}

/// The lines of the table of mounts that have this text.
pub(crate) fn mounts(text: &Path) -> Vec<String> {
    // Blanks, tabs, line breaks and backslashes are written in octal there.
    let text = text.to_str().unwrap().replace('\\', "\\134").replace(' ', "\\040");
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains(&text)).map(str::to_owned).collect()
}
