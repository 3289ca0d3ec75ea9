//! Xattrs in inodes, in shared blocks, and in inodes of their own; access control lists.

use std::collections::BTreeSet;
use std::process::Command;

use vmroot_ext4::{Error, Ext4Options};
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::mounted::run;
use vmroot_testkit::skip;

use super::image::{Image, expected, needs_e2fsprogs, root_of};

/// Checks an image of the layers with e2fsck, and compares the tree that the kernel reads with the model.
fn assert_same_as_model(layers: &[Layer]) -> Option<Image> {
    if needs_e2fsprogs() {
        return None;
    }
    let image = Image::of(layers, &Ext4Options::default());
    image.check();
    if !skip::needs_root() {
        expected(layers).assert_same(&Listing::of_directory(image.mount("ro").path()).unwrap());
    }
    Some(image)
}

#[test]
fn values_of_all_sizes() {
    let sizes = [0, 1, 3, 4, 50, 68, 69, 72, 73, 200, 4000, 4028, 4029, 4096, 4097, 10_000, 65_535, 65_536];
    let files = sizes.into_iter().flat_map(|size| {
        let name = |kind: &str| format!("{kind}-{size}");
        [
            Entry::file(name("file"), "x").xattr("user.v", vec![7; size]),
            Entry::directory(name("directory")).xattr("security.testkit", vec![8; size]),
            Entry::symlink(name("link"), "target").xattr("trusted.v", vec![9; size]),
            Entry::fifo(name("fifo")).xattr("trusted.v", vec![9; size]),
        ]
    });
    assert_same_as_model(&[Layer::new(files)]);
}

#[test]
fn several_values_share_the_room() {
    let names = ["user.a", "user.bb", "user.\u{fc}", "trusted.long name with blanks", "security.testkit", "user.A"];
    let files = (0..60).map(|number| {
        let file = Entry::file(number.to_string(), "");
        (0..number % 7)
            .fold(file, |file, which| file.xattr(names[which % 6], vec![b'v'; number * 37 * (which + 1) % 3000]))
    });
    assert_same_as_model(&[Layer::new(files)]);
}

#[test]
fn equal_sets_share_blocks_up_to_the_limit_of_the_kernel() {
    let large = vec![5; 1000];
    let files = (0..3000).map(|number| Entry::file(number.to_string(), "").xattr("user.same", &large));
    let Some(image) = assert_same_as_model(&[Layer::new(files)]) else { return };
    let blocks: BTreeSet<String> =
        (0..3000).step_by(10).map(|number| xattr_block(&image, &format!("/{number}"))).collect();
    assert_eq!(blocks.len(), 3);
}

/// Returns the xattr block of a path.
fn xattr_block(image: &Image, path: &str) -> String {
    let stat = image.debugfs(&format!("stat {path}"));
    stat.split("File ACL: ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
}

#[test]
fn large_values_of_shared_sets_count_for_each_inode() {
    let large = vec![6; 20_000];
    let files = (0..20).map(|number| Entry::file(number.to_string(), "x").xattr("user.large", &large));
    assert_same_as_model(&[Layer::new(files)]);
}

#[test]
fn names_that_do_not_fit_a_block_are_left_out_and_reported() {
    if needs_e2fsprogs() {
        return;
    }
    let many = |count: usize| {
        let file = Entry::file("d/many", "");
        [Layer::new([(0..count).fold(file, |file, which| file.xattr(format!("user.{which:0>40}"), vec![1; 100]))])]
    };
    // 56 bytes each, after a header of 32.
    assert_same_as_model(&many(72));
    let image = Image::of(&many(73), &Ext4Options::default());
    image.check();
    let omissions = &image.report.omissions;
    assert_eq!((omissions.total, omissions.listed[0].path.to_str()), (1, Some("d/many")));
    assert_eq!(image.debugfs("ea_list /d/many").lines().count(), 1 + 72);
    let strict = Ext4Options { strict: true, ..Ext4Options::default() };
    let error = Image::of_root(&root_of(&many(73)).fs, &strict).err().unwrap();
    assert!(matches!(&error, Error::Incomplete(_)) && error.full_message().contains("d/many"), "{error}");
}

#[test]
fn unknown_xattrs_are_left_out_and_reported() {
    if needs_e2fsprogs() {
        return;
    }
    let layers = [Layer::new([Entry::file("d/file", "")
        .xattr("user.known", "1")
        .xattr("user.", "no name")
        .xattr("com.example", "2")
        .xattr("system.posix_acl_access", "no list")])];
    let image = Image::of(&layers, &Ext4Options::default());
    image.check();
    let omitted: Vec<_> = image.report.omissions.listed.iter().map(ToString::to_string).collect();
    let no_name = "ext4 has only user.*, trusted.*, security.* and access control lists";
    let expected = [
        format!("d/file: xattr \"com.example\" ({no_name})"),
        "d/file: xattr \"system.posix_acl_access\" (it is not a valid access control list)".to_owned(),
        format!("d/file: xattr \"user.\" ({no_name})"),
    ];
    assert_eq!(omitted, expected);
    let kept = image.debugfs("ea_list /d/file");
    assert!(kept.contains("user.known") && kept.lines().count() == 2, "{kept}");
}

#[test]
fn access_control_lists() {
    if needs_e2fsprogs() || skip::needs_root() || skip::needs_program("getfacl") {
        return;
    }
    let entry = |tag: u8, permissions: u8, id: u32| [&[tag, 0, permissions, 0][..], &id.to_le_bytes()].concat();
    let none = u32::MAX;
    let list = |middle: &[Vec<u8>]| {
        let ends = [entry(1, 6, none), entry(4, 4, none), entry(16, 6, none), entry(32, 0, none)];
        let (owner, rest) = ends.split_first().unwrap();
        [&[2, 0, 0, 0][..], owner, &middle.concat(), &rest.concat()].concat()
    };
    let access = list(&[entry(2, 6, 1000), entry(2, 4, 70_000)]);
    let layers = [Layer::new([
        Entry::file("file", "x").mode(0o660).xattr("system.posix_acl_access", &access),
        Entry::directory("directory")
            .mode(0o760)
            .xattr("system.posix_acl_access", &access)
            .xattr("system.posix_acl_default", &access),
        // Too long for the inode.
        Entry::file("long", "x")
            .mode(0o660)
            .xattr("system.posix_acl_access", list(&(0..100).map(|user| entry(2, 4, 2000 + user)).collect::<Vec<_>>())),
    ])];
    let image = Image::of(&layers, &Ext4Options::default());
    image.check();
    assert_eq!(image.report.omissions.total, 0);
    let mounted = image.mount("ro");
    expected(&layers).assert_same(&Listing::of_directory(mounted.path()).unwrap());
    let shown = run(Command::new("getfacl").args(["-nc", "--"]).arg(mounted.path().join("directory")));
    let lines = ["user::rw-", "user:1000:rw-", "user:70000:r--", "group::r--", "mask::rw-", "other::---"];
    assert!(
        lines.iter().all(|line| shown.contains(&format!("{line}\n")) && shown.contains(&format!("default:{line}"))),
        "{shown}"
    );
}
