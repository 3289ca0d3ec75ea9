//! The listing of a device is that of the naive model, for layers of every kind.

use proptest::prelude::*;
use vmroot_testkit::arbitrary;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::model::Tree;
use vmroot_virtiofs::VirtioFsOptions;

use crate::fixture::{Fixture, access_list};
use crate::front_end::Guest;
use crate::tree::listing;

fn assert_same_as_model(layers: &[Layer]) {
    let fixture = Fixture::of_layers(layers);
    let serving = fixture.serve(&VirtioFsOptions::default());
    let mut guest = Guest::connect(&serving.socket);
    let expected = Listing::of_tree(&Tree::of_layers(layers).unwrap());
    expected.assert_same(&listing(&mut guest));
    drop(guest);
    serving.end().unwrap();
}

#[test]
fn everything_a_layer_can_hold() {
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
        Entry::file("large xattr", "x").xattr("user.large", [7; 64 << 10]),
        Entry::directory("acl").mode(0o750).xattr("system.posix_acl_access", access_list(1000)),
        Entry::file(b"not \xff utf-8\tor\nlines", "x"),
        Entry::file("n".repeat(255), "x"),
        Entry::sparse_file("sparse", 5 << 20, vec![(1 << 20, vec![7; 5000]), (4 << 20, vec![8; 1])]),
        Entry::file("gone", "x"),
        Entry::file("hidden/below", "x"),
    ]);
    let upper = Layer::new([
        Entry::whiteout("gone"),
        Entry::opaque("hidden"),
        Entry::file("hidden/above", "y"),
        Entry::hard_link("third name", "bin/su"),
    ]);
    assert_same_as_model(&[lower, upper]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stacks_of_layers(layers in arbitrary::stack()) {
        assert_same_as_model(&layers);
    }
}
