//! A mount has the same listing as the naive model, for layers of every kind.

use proptest::prelude::*;
use vmroot_testkit::layer::Layer;
use vmroot_testkit::listing::Listing;
use vmroot_testkit::model::Tree;
use vmroot_testkit::sample;
use vmroot_testkit::{arbitrary, skip};

use crate::fixture::{Fixture, cannot_mount};

fn assert_same_as_model(layers: &[Layer]) {
    let fixture = Fixture::of_layers(layers);
    let mount = fixture.mount();
    let expected = Listing::of_tree(&Tree::of_layers(layers).unwrap());
    expected.assert_same(&Listing::of_directory(mount.mountpoint()).unwrap());
}

#[test]
fn everything_a_layer_can_hold() {
    if cannot_mount() || skip::needs_root() {
        return;
    }
    assert_same_as_model(&sample::everything());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stacks_of_layers(layers in arbitrary::stack()) {
        if !cannot_mount() && !skip::needs_root() {
            assert_same_as_model(&layers);
        }
    }
}
