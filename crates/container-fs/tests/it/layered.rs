//! Tests of roots with extra layers: they equal the root of all layers.

use std::sync::Arc;

use proptest::prelude::*;
use vmroot_container_fs::LayeredContainerFs;
use vmroot_testkit::arbitrary;
use vmroot_testkit::layer::{Entry, Layer};

use crate::listing::listing;
use crate::stack::Stack;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_split_of_layers_makes_no_difference(layers in arbitrary::stack(), cut in any::<prop::sample::Index>()) {
        let stack = Stack::new();
        let cut = cut.index(layers.len() + 1);
        let whole = stack.root(&layers);
        let (expected, chain_id) = (listing(&whole), *whole.chain_id());
        let base = Arc::new(stack.root(&layers[..cut]));
        let extra: Vec<_> = layers[cut..].iter().map(|layer| stack.layer(layer)).collect();
        let layered = LayeredContainerFs::new(base, &extra).unwrap();
        prop_assert!(expected.difference(&listing(&layered)).is_none());
        if cut > 0 {
            prop_assert_eq!(layered.chain_id(), &chain_id);
        }
    }
}

#[test]
fn the_base_is_unchanged() {
    let stack = Stack::new();
    let base = Arc::new(stack.root(&[Layer::new([Entry::file("a", "old"), Entry::file("b", "b")])]));
    let upper = stack.layer(&Layer::new([Entry::file("a", "new"), Entry::whiteout("b")]));
    let layered = LayeredContainerFs::new(base, &[upper]).unwrap();
    let a = layered.resolve_path(b"/a").unwrap().ino;
    let mut bytes = [0; 3];
    layered.read_at(a, 0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"new");
    assert!(layered.resolve_path(b"/b").is_err());
    assert!(layered.base().resolve_path(b"/b").is_ok());
}
