//! Writes images of roots and checks them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use vmroot_container_fs::ContainerFs;
use vmroot_ext4::{CreateOptions, Ext4Options, Result, create_ext4, write_ext4};
use vmroot_output::Report;
use vmroot_test_roots::Root;
use vmroot_testkit::layer::Layer;
use vmroot_testkit::listing::Listing;
use vmroot_testkit::model::Tree;
use vmroot_testkit::mounted::{Mounted, run};

/// Returns the root of the layers, in memory if possible: published indexes are synced, and a property test creates a
/// thousand.
pub(super) fn root_of(layers: &[Layer]) -> Root {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { Root::beneath(memory, layers) } else { Root::of(layers) }
}

/// Returns the tree that the model builds from the layers.
pub(super) fn expected(layers: &[Layer]) -> Listing {
    Listing::of_tree(&Tree::of_layers(layers).unwrap())
}

/// An image in its own directory.
pub(super) struct Image {
    pub(super) path: PathBuf,
    pub(super) report: Report,
    _directory: TempDir,
}

impl Image {
    pub(super) fn of(layers: &[Layer], options: &Ext4Options<'_>) -> Self {
        Self::of_root(&root_of(layers).fs, options).unwrap()
    }

    /// Creates an empty file system.
    pub(super) fn empty(size: u64, options: &CreateOptions<'_>) -> Result<Self> {
        Self::made(|file| create_ext4(file, size, options).map(|()| Report::default()))
    }

    /// Creates an image in a new file.
    pub(super) fn made(make: impl FnOnce(&File) -> Result<Report>) -> Result<Self> {
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path = directory.path().join("image");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let report = make(&file)?;
        Ok(Self { path, report, _directory: directory })
    }

    /// Creates an image of this size with mke2fs.
    pub(super) fn of_mke2fs(size: u64, arguments: &[&str]) -> Self {
        let image = Self::made(|file| {
            file.set_len(size).unwrap();
            Ok(Report::default())
        });
        let image = image.unwrap();
        run(Command::new("mke2fs").arg("-q").args(arguments).arg(&image.path));
        image
    }

    pub(super) fn of_root(fs: &ContainerFs, options: &Ext4Options<'_>) -> Result<Self> {
        Self::made(|file| write_ext4(fs, file, options))
    }

    /// Asserts that e2fsck finds no problem and prints no other message.
    pub(super) fn check(&self) {
        let printed = run(Command::new("e2fsck").arg("-fn").arg(&self.path));
        let expected = |line: &str| line.starts_with("Pass ") || line.contains(" files (") || line.is_empty();
        assert!(printed.lines().all(expected), "{printed}");
    }

    /// Returns the answer of debugfs to a request.
    pub(super) fn debugfs(&self, request: &str) -> String {
        run(Command::new("debugfs").args(["-R", request]).arg(&self.path))
    }

    /// Returns the text that dumpe2fs prints after `field:`.
    pub(super) fn superblock(&self, field: &str) -> String {
        let printed = run(Command::new("dumpe2fs").arg("-h").arg(&self.path));
        let line = printed.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("{printed}: no {field}")).trim().to_owned()
    }

    /// Returns the number that dumpe2fs prints after `field:`.
    pub(super) fn number(&self, field: &str) -> u64 {
        self.superblock(field).parse().unwrap()
    }

    /// Mounts the image with the kernel.
    pub(super) fn mount(&self, options: &str) -> Mounted {
        Mounted::new(&self.path, "ext4", options)
    }

    /// Returns the bytes of disk that the image takes.
    pub(super) fn allocated(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(&self.path).unwrap().blocks() * 512
    }
}

/// Returns whether the programs that check ext4 are missing.
#[track_caller]
pub(super) fn needs_e2fsprogs() -> bool {
    ["e2fsck", "debugfs", "dumpe2fs", "resize2fs"].into_iter().any(vmroot_testkit::skip::needs_program)
}
