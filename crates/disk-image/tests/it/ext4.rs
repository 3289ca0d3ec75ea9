//! ext4 images.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use vmroot_disk_image::{Ext4Options, Ext4Report, write_ext4};
use vmroot_testkit::layer::{Entry, Layer};

use crate::roots::Root;

struct Image {
    path: PathBuf,
    report: Ext4Report,
    _directory: TempDir,
}

impl Image {
    fn of(layers: &[Layer], options: &Ext4Options<'_>) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path = directory.path().join("image");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let report = write_ext4(&Root::of(layers).fs, &file, options).unwrap();
        Self { path, report, _directory: directory }
    }

    fn check(&self) {
        check(&self.path);
    }
}

fn check(path: &Path) {
    let output = Command::new("e2fsck").arg("-fn").arg(path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
}

#[test]
fn a_simple_tree() {
    let layers = [Layer::new([
        Entry::file("a", "hello"),
        Entry::directory("d"),
        Entry::file("d/e", vec![7; 100_000]),
        Entry::symlink("l", "d/e"),
    ])];
    let image = Image::of(&layers, &Ext4Options::default());
    image.check();
    println!("{:?}", image.report);
}
