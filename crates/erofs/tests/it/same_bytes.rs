//! The bytes of an image depend on the root alone.

use std::fs::{self, File};

use proptest::prelude::*;
use vmroot_erofs::{ErofsMetaOptions, write_erofs_meta};
use vmroot_test_roots::Root;
use vmroot_testkit::arbitrary;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::sample::noise;

use super::fixture::image_bytes;

fn assert_same(layers: &[Layer]) {
    let (one, other) = (Root::of(layers), Root::of(layers));
    let bytes = image_bytes(&one, 1);
    assert!(bytes == image_bytes(&one, 4), "the bytes depend on the number of threads");
    assert!(bytes == image_bytes(&other, 3), "the bytes depend on the path of the root");
    let meta = |root: &Root| {
        let path = root.files().join("meta");
        let meta = write_erofs_meta(&root.fs, &File::create(&path).unwrap(), &ErofsMetaOptions::default()).unwrap();
        (fs::read(path).unwrap(), meta.head)
    };
    assert!(meta(&one) == meta(&other), "the bytes depend on the path of the contents");
}

#[test]
fn same_bytes_for_a_root_of_many_writes() {
    let files = (0..3000).map(|number| Entry::file(format!("d{}/{number}", number % 70), noise(number, 5000)));
    let layer = Layer::new(files.chain([Entry::file("large", noise(1, 9 << 20))]));
    assert_same(&[layer]);
}

#[test]
fn another_root_has_another_uuid() {
    let uuid = |content: &str| {
        let root = Root::of_entries([Entry::file("file", content)]);
        image_bytes(&root, 1)[1024 + 48..][..16].to_vec()
    };
    assert_eq!(uuid("x"), uuid("x"));
    assert_ne!(uuid("x"), uuid("y"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn same_bytes_for_any_root(layers in arbitrary::stack()) {
        assert_same(&layers);
    }
}
