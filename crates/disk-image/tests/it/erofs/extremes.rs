//! What is right up to the limit of the format, and named beyond it.

use std::fs;
use std::os::unix::fs::MetadataExt;

use vmroot_disk_image::Error;
use vmroot_testkit::layer::Entry;
use vmroot_testkit::sample::noise;

use super::fixture::{
    Mounted, above_4_gib, assert_above_4_gib, assert_same_as_model, cannot_mount, devices, image, listing, meta,
    try_image,
};
use crate::roots::Root;

#[test]
fn a_directory_of_100_000_entries() {
    if cannot_mount() {
        return;
    }
    let entries = (0..100_000).map(|number| Entry::file(format!("large/{number:06}-{}", "n".repeat(number % 90)), ""));
    let root = Root::of_entries(entries);
    // Both forms write directories alike.
    let (path, meta) = meta(&root);
    root.expected().assert_same(&listing(&path, &devices(&meta)));
}

#[test]
fn a_file_above_4_gib() {
    if cannot_mount() {
        return;
    }
    let root = Root::of_entries([above_4_gib()]);
    let (meta_path, meta) = meta(&root);
    let image = image(&root);
    let metadata = fs::metadata(&image).unwrap();
    assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks: holes are not holes", metadata.blocks());
    for mounted in [Mounted::new(&image, &[]), Mounted::new(&meta_path, &devices(&meta))] {
        assert_above_4_gib(&mounted);
    }
}

#[test]
fn more_hard_links_than_16_bits_count() {
    if cannot_mount() {
        return;
    }
    for links in [65_535, 65_537] {
        let names = (1..links).map(|number| Entry::hard_link(format!("links/{number}"), "first"));
        let root = Root::of_entries(std::iter::once(Entry::file("first", noise(1, 5000))).chain(names));
        let (path, meta) = meta(&root);
        for mounted in [Mounted::new(&image(&root), &[]), Mounted::new(&path, &devices(&meta))] {
            let first = fs::metadata(mounted.path().join("first")).unwrap();
            assert_eq!(first.nlink(), links);
            let last = fs::metadata(mounted.path().join(format!("links/{}", links - 1))).unwrap();
            assert_eq!(last.ino(), first.ino());
            assert_eq!(fs::read_dir(mounted.path().join("links")).unwrap().count() as u64, links - 1);
        }
    }
}

#[test]
fn links_of_every_length_around_a_block() {
    if cannot_mount() {
        return;
    }
    let lengths = [1, 59, 60, 300, 1000, 3968, 4000, 4031, 4032, 4033, 4063, 4064, 4065, 4094, 4095];
    let links = lengths.into_iter().flat_map(|length| {
        // The long and the short form, and with xattrs behind the inode.
        let link = |name: &str| Entry::symlink(format!("{name}-{length}"), "x".repeat(length));
        [link("short"), link("long").owner(100_000, 0), link("labelled").xattr("security.testkit", noise(2, 60))]
    });
    assert_same_as_model(&Root::of_entries(links));
}

#[test]
fn long_xattrs_and_many() {
    if cannot_mount() {
        return;
    }
    let mut many = Entry::file("many", "x");
    for number in 0..700 {
        many = many.xattr(format!("user.{number}"), noise(number, 30));
    }
    let mut large = Entry::directory("large");
    for number in 0..14 {
        large = large.xattr(format!("trusted.{number}"), noise(number, 65_535));
    }
    let mut middling = Entry::file("middling", noise(4, 6000));
    for number in 0..250 {
        middling = middling.xattr(format!("user.{number}"), noise(number + 1000, 1000));
    }
    let shared = |number: u64| {
        let file = Entry::file(format!("shared/{number}"), noise(number, 100));
        (0..number % 40).fold(file, |file, one| file.xattr(format!("user.shared{one}"), noise(one, 200)))
    };
    let entries = [many, large, middling].into_iter().chain((0..400).map(shared));
    assert_same_as_model(&Root::of_entries(entries));
}

#[test]
fn one_directory_below_the_other_up_to_the_limit() {
    if cannot_mount() {
        return;
    }
    let path = vec!["d"; 1000].join("/");
    assert_same_as_model(&Root::of_entries([Entry::file(format!("{path}/file"), "deep")]));
}

fn refused(entry: Entry) -> String {
    let root = Root::of_entries([Entry::file("fine", "x"), entry]);
    match try_image(&root) {
        Err(error @ Error::Unrepresentable { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_xattr_that_there_is_no_room_for_is_named() {
    let message = refused(Entry::file("dir/file", "x").xattr("user.large", vec![1; 65_536]));
    assert!(message.contains("dir/file") && message.contains("user.large") && message.contains("65535"), "{message}");
    let crowded = (0..400).fold(Entry::file("dir/crowded", "x"), |file, number| {
        file.xattr(format!("user.{number}"), noise(number, 2400))
    });
    assert!(refused(crowded.clone()).contains("dir/crowded"));
}

#[test]
fn an_xattr_of_an_unknown_kind_is_named() {
    for name in ["system.nfs4_acl", "com.apple.quarantine", "user.", "system.posix_acl_access2"] {
        let message = refused(Entry::file("dir/file", "x").xattr(name, "value"));
        assert!(message.contains("dir/file") && message.contains(name), "{message}");
    }
}
