//! A device has the same listing as the naive model, for layers of every kind.

use proptest::prelude::*;
use vmroot_testkit::arbitrary;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::model::Tree;
use vmroot_testkit::sample;
use vmroot_virtiofs::VirtioFsOptions;

use crate::fixture::Fixture;
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
    let [lower, upper] = sample::everything();
    let large = Layer::new([Entry::file("large xattr", "x").xattr("user.large", [7; 64 << 10])]);
    assert_same_as_model(&[lower, large, upper]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stacks_of_layers(layers in arbitrary::stack()) {
        assert_same_as_model(&layers);
    }
}
