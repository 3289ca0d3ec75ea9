//! Creates images of roots and mounts them.

use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, unmount,
};
use tempfile::TempDir;
use vmroot_erofs::{ErofsMeta, ErofsMetaOptions, ErofsOptions, Result, write_erofs, write_erofs_meta};
use vmroot_test_roots::Root;
use vmroot_testkit::layer::Entry;
use vmroot_testkit::listing::Listing;
use vmroot_testkit::sample::noise;
use vmroot_testkit::skip;

/// Returns whether a test must be skipped because images cannot be mounted from files here.
pub(super) fn cannot_mount() -> bool {
    static MOUNTS: OnceLock<bool> = OnceLock::new();
    let mounts = || {
        let root = Root::of_entries([]);
        let image = File::create_new(root.files().join("probe")).unwrap();
        write_erofs(&root.fs, &image, &ErofsOptions::default()).unwrap();
        Mounted::try_new(&root.files().join("probe"), &[]).is_ok()
    };
    skip::needs_root()
        || !MOUNTS.get_or_init(mounts) && skip::because("needs EROFS mounts of files, from Linux 6.12 on")
}

/// Writes the one-file image of a root.
pub(super) fn image(root: &Root) -> PathBuf {
    try_image(root).unwrap()
}

pub(super) fn try_image(root: &Root) -> Result<PathBuf> {
    let path = root.files().join("image");
    write_erofs(&root.fs, &File::create(&path).unwrap(), &ErofsOptions::default())?;
    Ok(path)
}

/// Writes the metadata-only image of a root.
pub(super) fn meta(root: &Root) -> (PathBuf, ErofsMeta) {
    let path = root.files().join("meta");
    let meta = write_erofs_meta(&root.fs, &File::create(&path).unwrap(), &ErofsMetaOptions::default()).unwrap();
    (path, meta)
}

/// Returns the paths of the devices.
pub(super) fn devices(meta: &ErofsMeta) -> Vec<&Path> {
    meta.devices.iter().map(|device| device.path.as_path()).collect()
}

/// Mounts both kinds of image and compares them with the model.
pub(super) fn assert_same_as_model(root: &Root) {
    let expected = root.expected();
    expected.assert_same(&listing(&image(root), &[]));
    let (path, meta) = meta(root);
    expected.assert_same(&listing(&path, &devices(&meta)));
}

/// Returns the tree that the kernel reads from an image.
pub(super) fn listing(image: &Path, devices: &[&Path]) -> Listing {
    Listing::of_directory(Mounted::new(image, devices).path()).unwrap()
}

/// An image that is mounted from its file.
pub(super) struct Mounted(TempDir);

impl Mounted {
    pub(super) fn new(image: &Path, devices: &[&Path]) -> Self {
        Self::try_new(image, devices).unwrap()
    }

    fn try_new(image: &Path, devices: &[&Path]) -> rustix::io::Result<Self> {
        let place = tempfile::tempdir().unwrap();
        let context = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_flag(&context, "ro")?;
        fsconfig_set_string(&context, "source", image)?;
        for device in devices {
            fsconfig_set_string(&context, "device", *device)?;
        }
        fsconfig_create(&context)?;
        let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
        move_mount(&mount, "", CWD, place.path(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        Ok(Self(place))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Open files of a failing test must not prevent the removal of the directory.
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}

/// Runs a program, asserts that it succeeds, and returns its output.
pub(super) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// Returns the bytes of the image that `threads` threads write.
pub(super) fn image_bytes(root: &Root, threads: usize) -> Vec<u8> {
    let path = root.files().join(format!("image-{threads}"));
    let options = ErofsOptions { threads: NonZeroUsize::new(threads), ..ErofsOptions::default() };
    write_erofs(&root.fs, &File::create(&path).unwrap(), &options).unwrap();
    fs::read(path).unwrap()
}

/// The length of the file of [`above_4_gib`].
pub(super) const ABOVE_4_GIB: u64 = (5 << 30) + 123;

/// Returns a large file that consists mostly of holes.
pub(super) fn above_4_gib() -> Entry {
    let data = vec![(0, vec![1; 10]), (4 << 30, noise(7, 9000)), (ABOVE_4_GIB - 5, vec![2; 5])];
    Entry::sparse_file("large", ABOVE_4_GIB, data)
}

/// Checks the data and the holes of [`above_4_gib`].
#[track_caller]
pub(super) fn assert_above_4_gib(mounted: &Mounted) {
    let file = File::open(mounted.path().join("large")).unwrap();
    assert_eq!(file.metadata().unwrap().len(), ABOVE_4_GIB);
    let read = |offset, length| {
        let mut bytes = vec![9; length];
        file.read_exact_at(&mut bytes, offset).unwrap();
        bytes
    };
    assert_eq!(read(0, 12), [[1; 10].as_slice(), &[0; 2]].concat());
    assert_eq!(read(4 << 30, 9000), noise(7, 9000));
    assert_eq!(read(ABOVE_4_GIB - 7, 7), [0, 0, 2, 2, 2, 2, 2]);
    assert_eq!(read(3 << 30, 100), [0; 100]);
}
