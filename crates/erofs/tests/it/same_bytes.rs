//! An image is a function of the root.

use std::fs::{self, File};

use proptest::prelude::*;
use vmroot_erofs::write_erofs_meta;
use vmroot_test_roots::Root;
use vmroot_testkit::arbitrary;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::sample::noise;

use super::fixture::bytes_with;

fn assert_same(layers: &[Layer]) {
    let (one, other) = (Root::of(layers), Root::of(layers));
    let bytes = bytes_with(&one, 1);
    assert!(bytes == bytes_with(&one, 4), "the number of threads shows");
    assert!(bytes == bytes_with(&other, 3), "the place of the root shows");
    let meta = |root: &Root| {
        let path = root.files().join("meta");
        let meta = write_erofs_meta(&root.fs, &File::create(&path).unwrap()).unwrap();
        (fs::read(path).unwrap(), meta.head)
    };
    assert!(meta(&one) == meta(&other), "the place of the contents shows");
}

#[test]
fn of_a_root_that_takes_many_writes() {
    let files = (0..3000).map(|number| Entry::file(format!("d{}/{number}", number % 70), noise(number, 5000)));
    let layer = Layer::new(files.chain([Entry::file("large", noise(1, 9 << 20))]));
    assert_same(&[layer]);
}

#[test]
fn another_root_has_another_identity() {
    let uuid = |content: &str| {
        let root = Root::of_entries([Entry::file("file", content)]);
        bytes_with(&root, 1)[1024 + 48..][..16].to_vec()
    };
    assert_eq!(uuid("x"), uuid("x"));
    assert_ne!(uuid("x"), uuid("y"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_any_root(layers in arbitrary::stack()) {
        assert_same(&layers);
    }
}
