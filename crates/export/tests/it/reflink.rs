//! On file systems that share blocks, a copy takes no space.

use vmroot_export::{DirectoryOptions, export_directory};
use vmroot_test_roots::{Root, expected};
use vmroot_testkit::disk::Disk;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::sample::noise;
use vmroot_testkit::skip;

/// The size of the copied file in bytes, not a multiple of the block size.
const FILE: usize = (48 << 20) + 123;

#[test]
fn xfs_shares_blocks() {
    check_sharing("mkfs.xfs", &["-q", "-m", "reflink=1"]);
}

#[test]
fn btrfs_shares_blocks() {
    check_sharing("mkfs.btrfs", &["-q"]);
}

fn check_sharing(mkfs: &str, options: &[&str]) {
    if skip::needs_root() || skip::needs_program(mkfs) {
        return;
    }
    let disk = Disk::made_by(mkfs, options);
    let layers = [Layer::new([Entry::file("large", noise(1, FILE)), Entry::file("small", "a few bytes")])];
    let root = Root::beneath(disk.path(), &layers);
    let before = disk.used();
    let target = disk.path().join("out");
    export_directory(&root.fs, &target, &DirectoryOptions::default()).unwrap();
    let taken = disk.used() - before;
    assert!(taken < FILE as u64 / 4, "{taken} bytes more are in use");
    assert_eq!(Listing::of_directory(&target).unwrap(), expected(&layers));
}
