//! Checks of images with the programs of erofs-utils.

use std::fs;
use std::process::Command;

use proptest::prelude::*;
use vmroot_test_roots::Root;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::sample::noise;
use vmroot_testkit::{arbitrary, skip};

use super::fixture::{Mounted, cannot_mount, image, meta, run};

fn layers() -> [Layer; 2] {
    let file = |number: u64| {
        let length = usize::try_from(number * 131 % 9000).unwrap();
        Entry::file(format!("dir{}/{number}", number % 13), noise(number, length)).mtime(1_600_000_000, 0)
    };
    [
        Layer::new((0..700).map(file).chain([Entry::symlink("link", "target"), Entry::hard_link("again", "dir1/1")])),
        Layer::new((700..800).map(|number| file(number).xattr("user.same", "value").mtime(number as i64, 5))),
    ]
}

fn check(root: &Root) {
    run(Command::new("fsck.erofs").arg(image(root)));
    let (path, meta) = meta(root);
    let device = |device: &vmroot_erofs::ErofsDevice| format!("--device={}", device.path.display());
    run(Command::new("fsck.erofs").args(meta.devices.iter().map(device)).arg(path));
}

#[test]
fn fsck_reports_no_errors() {
    if skip::needs_program("fsck.erofs") {
        return;
    }
    check(&Root::of(&layers()));
}

/// fsck.erofs reads everything and checks the superblock's checksum.
#[test]
fn fsck_extracts_the_same_contents() {
    if skip::needs_program("fsck.erofs") {
        return;
    }
    let root = Root::of_entries((0..50).map(|number| Entry::file(format!("{number}"), noise(number, 3000))));
    let out = root.files().join("out");
    run(Command::new("fsck.erofs").arg(format!("--extract={}", out.display())).arg(image(&root)));
    for number in 0..50 {
        assert_eq!(fs::read(out.join(format!("{number}"))).unwrap(), noise(number, 3000));
    }
}

#[test]
fn dump_reports_the_same_values() {
    if skip::needs_program("dump.erofs") {
        return;
    }
    let root = Root::of(&layers());
    let text = run(Command::new("dump.erofs").arg("-s").arg(image(&root)));
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_once(':').unwrap().1.trim().to_owned()
    };
    assert_eq!(value("Filesystem inode count"), root.fs.inode_count().to_string());
    assert_eq!(value("Filesystem features"), "sb_csum mtime");
    assert_eq!(value("Filesystem blocks"), (fs::metadata(image(&root)).unwrap().len() / 4096).to_string());
}

/// Returns how many bytes an image may be larger than that of mkfs.erofs. An image without data ends in an empty block
/// because fsck.erofs continues to read after the last inode.
fn allowance(root: &Root) -> u64 {
    if fs::read(image(root)).unwrap().ends_with(&[0; 4096]) { 4096 } else { 0 }
}

/// Returns the size of the image that mkfs.erofs makes from the mounted image. `None` if mkfs.erofs fails, as it does
/// for paths of a few hundred bytes.
fn size_by_mkfs(root: &Root) -> Option<u64> {
    let mounted = Mounted::new(&image(root), &[]);
    let out = root.files().join("by-mkfs");
    let output = Command::new("mkfs.erofs").arg(&out).arg(mounted.path()).output().unwrap();
    output.status.success().then(|| fs::metadata(out).unwrap().len())
}

#[test]
fn images_are_no_larger_than_those_of_mkfs() {
    if cannot_mount() || skip::needs_program("mkfs.erofs") {
        return;
    }
    let root = Root::of(&layers());
    let (ours, theirs) = (fs::metadata(image(&root)).unwrap().len(), size_by_mkfs(&root).unwrap());
    assert!(ours <= theirs, "{ours} bytes, {theirs} by mkfs.erofs");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fsck_reports_no_errors_for_any_root(layers in arbitrary::stack()) {
        if !skip::needs_program("fsck.erofs") {
            check(&Root::of(&layers));
        }
    }

    #[test]
    fn images_of_any_root_are_no_larger_than_those_of_mkfs(layers in arbitrary::stack()) {
        if !cannot_mount() && !skip::needs_program("mkfs.erofs") {
            let root = Root::of(&layers);
            let ours = fs::metadata(image(&root)).unwrap().len();
            if let Some(theirs) = size_by_mkfs(&root) {
                prop_assert!(ours <= theirs + allowance(&root), "{} bytes, {} by mkfs.erofs", ours, theirs);
            }
        }
    }
}
