//! File systems that share blocks: a copy there costs no room.

use std::fs::File;
use std::process::{Command, Stdio};

use rustix::mount::{UnmountFlags, unmount};
use tempfile::TempDir;
use vmroot_export::{DirectoryOptions, export_directory};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::sample::noise;
use vmroot_testkit::skip;

use crate::roots::{Root, expected};

/// The size of the disk; mkfs.xfs makes none under 300 MiB.
const DISK: u64 = 400 << 20;
/// The bytes of the file that is copied, and no multiple of a block.
const FILE: usize = (48 << 20) + 123;

#[test]
fn xfs_shares_blocks() {
    shares("mkfs.xfs", &["-q", "-m", "reflink=1"]);
}

#[test]
fn btrfs_shares_blocks() {
    shares("mkfs.btrfs", &["-q"]);
}

fn shares(mkfs: &str, options: &[&str]) {
    if skip::needs_root() || skip::needs_program(mkfs) {
        return;
    }
    let disk = Disk::new(mkfs, options);
    let layers = [Layer::new([Entry::file("large", noise(1, FILE)), Entry::file("small", "a few bytes")])];
    let root = Root::beneath(disk.place.path(), &layers);
    let before = disk.used();
    let target = disk.place.path().join("out");
    export_directory(&root.fs, &target, &DirectoryOptions::default()).unwrap();
    let taken = disk.used() - before;
    assert!(taken < FILE as u64 / 4, "{taken} bytes more are in use");
    assert_eq!(Listing::of_directory(&target).unwrap(), expected(&layers));
}

/// A file system in a file, mounted.
struct Disk {
    place: TempDir,
    _image: TempDir,
}

impl Disk {
    fn new(mkfs: &str, options: &[&str]) -> Self {
        let (place, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let image = directory.path().join("image");
        File::create(&image).unwrap().set_len(DISK).unwrap();
        run(Command::new(mkfs).args(options).arg(&image));
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(place.path()));
        Self { place, _image: directory }
    }

    fn used(&self) -> u64 {
        let root = File::open(self.place.path()).unwrap();
        rustix::fs::syncfs(&root).unwrap();
        let statvfs = rustix::fs::fstatvfs(&root).unwrap();
        (statvfs.f_blocks - statvfs.f_bfree) * statvfs.f_frsize
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Open files of a failing test must not keep the directory from being removed.
        let _ = unmount(self.place.path(), UnmountFlags::DETACH);
    }
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
