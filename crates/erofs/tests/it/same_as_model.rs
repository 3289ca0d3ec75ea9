//! The kernel reads the same tree from an image as the naive model, for layers of every kind.

use proptest::prelude::*;
use vmroot_test_roots::Root;
use vmroot_testkit::arbitrary;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::sample::{self, noise};

use super::fixture::{assert_same_as_model, cannot_mount};

#[test]
fn everything_a_layer_can_hold() {
    if cannot_mount() {
        return;
    }
    assert_same_as_model(&Root::of(&sample::everything()));
}

#[test]
fn names_that_sort_around_the_dots_are_found() {
    if cannot_mount() {
        return;
    }
    // These bytes sort around the dot, so `.` and `..` have their places among the names.
    let names = [&b"!"[..], b"+", b"-", b".!", b".-a", b"..!", b"..a", b".a", b"/", b"0", b"\x01", b"\xff", b"..."];
    let names = names.into_iter().filter(|name| *name != b"/");
    assert_same_as_model(&Root::of_entries(names.map(|name| Entry::file([b"d/", name].concat(), name))));
}

#[test]
fn empty_roots_and_layers() {
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
