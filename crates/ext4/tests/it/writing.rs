//! Changes made by a guest: the kernel writes to an image, and e2fsck finds no problem afterwards.

use std::fs;
use std::os::unix::fs::symlink;

use vmroot_ext4::Ext4Options;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::skip;

use super::image::{Image, needs_e2fsprogs};

fn layers() -> [Layer; 1] {
    let many = (0..2000).map(|number| Entry::file(format!("many/{number:0>30}"), vec![1; 5000]));
    let others = [
        Entry::file("log", "begun\n").xattr("user.kept", "x").xattr("user.large", vec![b'y'; 3000]),
        Entry::file("other", "").xattr("user.kept", "x").xattr("user.large", vec![b'y'; 3000]),
        Entry::sparse_file("sparse", 64 << 20, (0..100).map(|run| (run << 19, vec![2; 5000])).collect()),
        Entry::symlink("link", "x".repeat(200)),
        Entry::file("huge-xattr", "").xattr("user.huge", vec![b'z'; 60_000]),
    ];
    [Layer::new(many.chain(others))]
}

#[test]
fn changes_by_a_guest_keep_the_image_valid() {
    if needs_e2fsprogs() || skip::needs_root() {
        return;
    }
    for journal in [false, true] {
        for options in [
            Ext4Options { free: 300 << 20, journal, ..Ext4Options::default() },
            Ext4Options { size: Some(2 << 30), journal, ..Ext4Options::default() },
        ] {
            let image = Image::of(&layers(), &options);
            let mounted = image.mount("rw");
            change(mounted.path());
            drop(mounted);
            image.check();
            let mounted = image.mount("rw");
            assert_eq!(fs::read_dir(mounted.path().join("many")).unwrap().count(), 1000 + 3000);
            assert_eq!(fs::read_to_string(mounted.path().join("log")).unwrap(), "begun\nmore\n");
            fs::remove_dir_all(mounted.path().join("many")).unwrap();
            drop(mounted);
            image.check();
        }
    }
}

fn change(root: &std::path::Path) {
    use std::io::Write;
    let many = root.join("many");
    // Index blocks are split and emptied.
    for number in 0..3000 {
        fs::write(many.join(format!("new {number}")), vec![3; number]).unwrap();
    }
    for number in (0..2000).step_by(2) {
        fs::remove_file(many.join(format!("{number:0>30}"))).unwrap();
    }
    fs::File::options().append(true).open(root.join("log")).unwrap().write_all(b"more\n").unwrap();
    // The inode gets its own xattr block instead of the shared one. External values are removed with their inode.
    rustix::fs::setxattr(root.join("log"), "user.kept", b"changed", rustix::fs::XattrFlags::empty()).unwrap();
    fs::remove_file(root.join("huge-xattr")).unwrap();
    fs::remove_file(root.join("link")).unwrap();
    symlink("y".repeat(300), root.join("link")).unwrap();
    fs::write(root.join("sparse"), vec![4; 80 << 20]).unwrap();
    for number in 0..500 {
        fs::create_dir_all(root.join(format!("tree/{number}/{}", number % 10))).unwrap();
    }
}

#[test]
fn a_full_image_can_be_mounted_and_emptied() {
    if needs_e2fsprogs() || skip::needs_root() {
        return;
    }
    let image = Image::of(&layers(), &Ext4Options::default());
    let mounted = image.mount("rw");
    assert!(fs::write(mounted.path().join("too much"), vec![1; 1 << 20]).is_err());
    fs::remove_dir_all(mounted.path().join("many")).unwrap();
    fs::write(mounted.path().join("now"), vec![1; 1 << 20]).unwrap();
    drop(mounted);
    image.check();
}
