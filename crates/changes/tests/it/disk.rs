//! Disks that a guest wrote, as layers: histories are played on a mount of the kernel, and the layer on top of the base
//! must list as the kernel listed the mount.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;
use vmroot_changes::{Disk, Error, LayerOptions, write_disk_layer};
use vmroot_export::{DirectoryOptions, TarOptions, export_directory, write_tar};
use vmroot_ext4::{Ext4Options, export_ext4};
use vmroot_test_roots::{Root, remove};
use vmroot_testkit::history::History;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::mounted::{Mounted, run};
use vmroot_testkit::skip;

const OPTIONS: LayerOptions<'_> = LayerOptions {
    with_root: true,
    whiteout_files: false,
    marks: vmroot_changes::Marks::Upper,
    sparse: true,
    compression: None,
    strict: true,
    hook: None,
};

fn base() -> Root {
    let many = (0..40).map(|number| Entry::file(format!("many/{number}/file"), number.to_string()));
    Root::in_memory(&[Layer::new(many.chain([
        Entry::directory("usr/lib").mode(0o1755).owner(70_000, 8).mtime(1_234_567_890, 987_654_321),
        Entry::file("usr/lib/a", "a").mode(0o4755).xattr("user.kept", b"kept"),
        Entry::hard_link("usr/lib/b", "usr/lib/a"),
        Entry::hard_link("usr/c", "usr/lib/a"),
        Entry::symlink("lib", "usr/lib"),
        Entry::file("tree/deep/deeper/file", "deep"),
        Entry::file("large", vec![7; 150_000]),
        Entry::sparse_file("sparse", 10 << 20, vec![(4096, b"middle".to_vec())]),
        Entry::char_device("null", 1, 3),
        Entry::fifo("pipe"),
    ]))])
}

fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Returns the paths of a directory, for a history to change.
fn known(directory: &Path) -> Vec<PathBuf> {
    let paths = Listing::of_directory(directory).unwrap().rows.into_keys();
    paths.map(|path| std::ffi::OsStr::from_bytes(&path).into()).collect()
}

/// Returns the layer of a disk.
fn layer_of(disk: &Path, base: Option<&Root>) -> Result<Vec<u8>, Error> {
    let mut tar = Vec::new();
    write_disk_layer(&Disk::open(disk)?, base.map(|base| &base.fs), &mut tar, &OPTIONS)?;
    Ok(tar)
}

/// Returns the listing of the base with a layer on top.
fn with_layer(base: &Root, layer: Vec<u8>) -> Listing {
    let mut lower = Vec::new();
    write_tar(&base.fs, &mut lower, &TarOptions::default()).unwrap();
    let root = Root::of_tars(&[lower, layer]);
    let place = scratch();
    let directory = place.path().join("root");
    export_directory(&root.fs, &directory, &DirectoryOptions::default()).unwrap();
    let listing = Listing::of_directory(&directory).unwrap();
    remove(&directory);
    listing
}

/// An overlay whose upper directory is on a disk.
struct Upper {
    disk: PathBuf,
    mounted: Option<Mounted>,
    directory: TempDir,
    options: String,
}

impl Upper {
    fn new(base: &Root, mke2fs: &[&str], options: &str) -> Self {
        let directory = scratch();
        let disk = directory.path().join("disk");
        File::create(&disk).unwrap().set_len(128 << 20).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).args(mke2fs).arg(&disk));
        let lower = directory.path().join("lower");
        export_directory(&base.fs, &lower, &DirectoryOptions::default()).unwrap();
        let mounted = Mounted::new(&disk, "ext4", "");
        for name in ["upper", "work"] {
            fs::create_dir(mounted.path().join(name)).unwrap();
        }
        fs::create_dir(directory.path().join("merged")).unwrap();
        let upper = Self { disk, mounted: Some(mounted), directory, options: options.to_owned() };
        upper.mount_overlay();
        upper
    }

    fn mount_overlay(&self) {
        let options = &self.options;
        let on_disk = |name| self.mounted.as_ref().unwrap().path().join(name).display().to_string();
        let lower = self.directory.path().join("lower").display().to_string();
        let options = format!("lowerdir={lower},upperdir={},workdir={},{options}", on_disk("upper"), on_disk("work"));
        let options = CString::new(options).unwrap();
        mount("overlay", self.merged(), "overlay", MountFlags::empty(), Some(options.as_c_str())).unwrap();
    }

    fn merged(&self) -> PathBuf {
        self.directory.path().join("merged")
    }

    /// Returns the kernel's view, and unmounts both. The overlay is mounted again for the view: until then, a file that
    /// was copied up can have the inode number of its lower file under one name, and a new one under another.
    fn close(&mut self) -> Listing {
        unmount(self.merged(), UnmountFlags::empty()).unwrap();
        self.mount_overlay();
        let listing = Listing::of_directory(self.merged()).unwrap();
        unmount(self.merged(), UnmountFlags::empty()).unwrap();
        self.mounted = None;
        listing
    }
}

impl Drop for Upper {
    fn drop(&mut self) {
        // Errors are ignored: it is mounted only if a test failed.
        let _ = unmount(self.merged(), UnmountFlags::DETACH);
    }
}

const PINNED: &str = "index=off,metacopy=off,redirect_dir=nofollow,xino=off";

fn rounds() -> u64 {
    std::env::var("VMROOT_TEST_HISTORIES").map_or(3, |count| count.parse().unwrap())
}

fn cannot_mount() -> bool {
    skip::needs_root() || skip::needs_program("mkfs.ext4")
}

#[test]
fn upper_directories_of_disks_are_the_layers_of_their_histories() {
    if cannot_mount() {
        return;
    }
    let base = base();
    let formats: [&[&str]; 4] = [&[], &["-b", "1024"], &["-O", "inline_data,ea_inode"], &["-O", "bigalloc"]];
    for seed in 0..rounds() {
        let format = formats[seed as usize % formats.len()];
        let userxattr = if seed % 3 == 2 { "userxattr," } else { "" };
        let mut upper = Upper::new(&base, format, &format!("{userxattr}{PINNED}"));
        let mut history = History::new(seed, known(&upper.merged()));
        history.play(&upper.merged(), 200);
        let expected = upper.close();
        let layer = layer_of(&upper.disk, None).unwrap();
        if let Some(difference) = expected.difference(&with_layer(&base, layer)) {
            panic!("seed {seed}: {difference}");
        }
    }
}

#[test]
fn whole_roots_are_layers_with_their_differences() {
    if cannot_mount() {
        return;
    }
    let base = base();
    for seed in 0..rounds() {
        let directory = scratch();
        let disk = directory.path().join("disk");
        export_ext4(&base.fs, &disk, &Ext4Options { free: 96 << 20, journal: true, ..Ext4Options::default() }).unwrap();
        let nothing = layer_of(&disk, Some(&base)).unwrap();
        assert_eq!(nothing, [0; 1024], "an unchanged disk has changes");
        let mounted = Mounted::new(&disk, "ext4", "");
        let mut history = History::new(1000 + seed, known(mounted.path()));
        history.play(mounted.path(), 150);
        let expected = Listing::of_directory(mounted.path()).unwrap();
        drop(mounted);
        let layer = layer_of(&disk, Some(&base)).unwrap();
        if let Some(difference) = expected.difference(&with_layer(&base, layer)) {
            panic!("seed {seed}: {difference}");
        }
        assert!(matches!(layer_of(&disk, None), Err(Error::NoBase(_))));
    }
}

#[test]
fn parts_in_lower_layers_and_other_disks_are_refused() {
    if cannot_mount() {
        return;
    }
    let base = base();
    for (option, script) in [
        ("redirect_dir=on", "mv tree tree2"),
        ("metacopy=on,redirect_dir=on", "chmod 600 large"),
        ("index=on", "echo more >> usr/lib/a"),
    ] {
        let mut upper = Upper::new(&base, &[], option);
        run(Command::new("sh").args(["-euc", script]).current_dir(upper.merged()));
        upper.close();
        let error = layer_of(&upper.disk, None).unwrap_err();
        assert!(matches!(error, Error::Unportable { .. }), "{option}: {error}");
        assert!(error.to_string().contains("disk:/upper/"), "{error}");
    }
    let place = scratch();
    let file = place.path().join("file");
    fs::write(&file, vec![1; 4096]).unwrap();
    assert!(layer_of(&file, None).unwrap_err().to_string().ends_with("file"));
    assert!(matches!(layer_of(&place.path().join("missing"), None), Err(Error::Io(_))));
}

#[test]
fn the_root_of_an_upper_directory_gives_the_attributes_of_the_root() {
    if cannot_mount() {
        return;
    }
    let base = base();
    let mut upper = Upper::new(&base, &[], PINNED);
    fs::set_permissions(upper.merged(), fs::Permissions::from_mode(0o711)).unwrap();
    chown(upper.merged(), Some(12), Some(13)).unwrap();
    upper.close();
    let root = Root::of_tars(&[layer_of(&upper.disk, None).unwrap()]);
    let stat = root.fs.stat(vmroot_container_fs::InodeId::ROOT);
    assert_eq!((stat.mode & 0o7777, stat.uid, stat.gid), (0o711, 12, 13));
}
