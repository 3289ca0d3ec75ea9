//! What the kernel reads is what the naive model says, for layers of every kind.

use proptest::prelude::*;
use vmroot_testkit::arbitrary;
use vmroot_testkit::layer::{Entry, Layer};

use super::fixture::{assert_same_as_model, cannot_mount};
use crate::roots::{Root, noise};

/// An access list as getxattr(2) gives it (acl(5), `linux/posix_acl_xattr.h`).
fn access_list(user: u32) -> Vec<u8> {
    const UNDEFINED: u32 = u32::MAX;
    let entries: [(u16, u16, u32); 5] =
        [(0x01, 7, UNDEFINED), (0x02, 5, user), (0x04, 5, UNDEFINED), (0x10, 5, UNDEFINED), (0x20, 0, UNDEFINED)];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

#[test]
fn everything_a_layer_can_hold() {
    if cannot_mount() {
        return;
    }
    let lower = Layer::new([
        Entry::directory("bin").mode(0o1777).owner(1, 2).mtime(1_700_000_000, 123_456_789),
        Entry::file("bin/su", "#!/bin/sh\n").mode(0o4755).owner(70_000, 4_000_000_000).mtime(-2, 999_999_999),
        Entry::file("empty", "").mode(0),
        Entry::hard_link("second name", "bin/su"),
        Entry::symlink("to/nowhere", "../../../etc/passwd"),
        Entry::symlink("long link", "x".repeat(4095)),
        Entry::char_device("null", 1, 3),
        Entry::block_device("disk", 259, 0x12345),
        Entry::fifo("pipe").mode(0o600),
        Entry::file("caps", "x")
            .xattr("security.capability", [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        Entry::file("user", "x").xattr("user.empty", "").xattr("user.nul", b"a\0b").xattr("trusted.x", [0xff; 100]),
        Entry::directory("acl")
            .mode(0o750)
            .xattr("system.posix_acl_access", access_list(1000))
            .xattr("system.posix_acl_default", access_list(2000)),
        Entry::file(b"not \xff utf-8\tor\nlines", "x"),
        Entry::file("n".repeat(255), "x"),
        Entry::sparse_file("sparse", 5 << 20, vec![(1 << 20, vec![7; 5000]), (4 << 20, vec![8; 1])]),
        Entry::file("one block", noise(1, 4096)),
        Entry::file("a block and a tail", noise(2, 4097)),
        Entry::file("a tail that fits nowhere", noise(3, 2 * 4096 - 1)),
        Entry::file("blocks", noise(4, 300_000)),
        Entry::file("gone", noise(5, 20_000)),
        Entry::file("hidden/below", "x"),
    ]);
    let upper = Layer::new([
        Entry::whiteout("gone"),
        Entry::opaque("hidden"),
        Entry::file("hidden/above", "y"),
        Entry::hard_link("third name", "bin/su"),
        Entry::file("upper blocks", noise(6, 70_001)),
    ]);
    assert_same_as_model(&Root::of(&[lower, upper]));
}

#[test]
fn names_around_the_dots_are_found() {
    if cannot_mount() {
        return;
    }
    // Bytes below and above the dot, and names that begin with it: `.` and `..` have their places among them.
    let names = [&b"!"[..], b"+", b"-", b".!", b".-a", b"..!", b"..a", b".a", b"/", b"0", b"\x01", b"\xff", b"..."];
    let names = names.into_iter().filter(|name| *name != b"/");
    assert_same_as_model(&Root::of_entries(names.map(|name| Entry::file([b"d/", name].concat(), name))));
}

#[test]
fn a_root_without_anything() {
    if cannot_mount() {
        return;
    }
    assert_same_as_model(&Root::of_entries([]));
    assert_same_as_model(&Root::of(&[Layer::new([]), Layer::new([Entry::file("only", noise(9, 5000))])]));
}

#[test]
fn the_same_layer_twice() {
    if cannot_mount() {
        return;
    }
    let layer = Layer::new([Entry::file("file", noise(1, 10_000))]);
    assert_same_as_model(&Root::of(&[layer.clone(), Layer::new([Entry::whiteout("file")]), layer]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stacks_of_layers(layers in arbitrary::stack()) {
        if !cannot_mount() {
            assert_same_as_model(&Root::of(&layers));
        }
    }
}
