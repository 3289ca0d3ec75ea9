//! Tests of images that pass a limit or contradict themselves, and of the cache after them.

use vmroot_image_store::{Error, StoreOptions};
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::image::{Image, ImageBuilder};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::sample::noise;

use crate::fixture::{Fixture, image};

/// Pulls an image with changed store options and returns the name of the limit that it passes.
fn limit(change: impl FnOnce(&mut StoreOptions)) -> Option<&'static str> {
    let fixture = Fixture::with(change);
    let name = |number: u64| format!("file-{number}-{}", "x".repeat(150));
    let layer = Layer::new((0..50).map(|number| Entry::file(name(number), noise(number, 2000))));
    let reference = fixture.serve(&ImageBuilder::new().layer(&layer).build(), "v1");
    let result = fixture.pull(&reference);
    assert!(result.is_ok() || fixture.store.images().unwrap().is_empty(), "an unusable image has no name");
    assert!(
        result.is_ok() || !fixture.files().iter().any(|path| path.starts_with("layers")),
        "an unusable image has no layers"
    );
    result.err().map(|error| error.limit().unwrap_or_else(|| panic!("{error}")).name())
}

#[test]
fn the_error_for_a_passed_limit_names_it() {
    assert_eq!(limit(|_| {}), None);
    assert_eq!(limit(|options| options.limits.max_output = 100_000), Some("max_output"));
    assert_eq!(limit(|options| options.build.max_entries = 49), Some("max_entries"));
    assert_eq!(limit(|options| options.build.max_contents = 99_999), Some("max_contents"));
    assert_eq!(limit(|options| options.build.max_metadata = 100), Some("max_metadata"));
    assert_eq!(limit(|options| options.build.max_names = 100), Some("max_names"));
}

/// Names of wrong registry contents, and the changes that produce them.
type Change = (&'static str, fn(&mut Image));

const CHANGES: [Change; 4] = [
    ("another config", |made| made.config.push(b' ')),
    ("another layer", |made| made.layers[1].bytes[30] ^= 1),
    ("a longer layer", |made| made.layers[0].bytes.push(0)),
    ("a shorter layer", |made| made.layers[0].bytes.truncate(1000)),
];

/// A registry's contents need not match their descriptors.
#[test]
fn blobs_that_contradict_their_descriptors_are_refused() {
    for (what, change) in CHANGES {
        let fixture = Fixture::new();
        let mut made = image("v1");
        change(&mut made);
        let reference = fixture.serve(&made, "v1");
        let error = fixture.pull(&reference).unwrap_err();
        assert!(!matches!(error, Error::NoSuchImage(_)), "{what}: {error}");
        assert!(fixture.store.images().unwrap().is_empty(), "{what}");
        assert_eq!(fixture.verify(), [], "{what}: the remaining files are valid");
        // Now the registry serves the right contents.
        let reference = fixture.serve(&image("v1"), "v1");
        fixture.pull(&reference).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

/// A layer with the right digest may still contradict the diff id in the config.
#[test]
fn a_layer_with_another_diff_id_is_refused() {
    let fixture = Fixture::new();
    let wrong = vmroot_model::Digest::of(b"another tar").to_string();
    let made = crate::fixture::builder("v1");
    let right = made.clone().build();
    let diff_ids = [right.layers[0].diff_id.to_string(), wrong.clone()];
    let rootfs = serde_json::json!({ "type": "layers", "diff_ids": diff_ids });
    let reference = fixture.serve(&made.config_member("rootfs", rootfs).build(), "v1");
    let error = fixture.pull(&reference).unwrap_err().full_message();
    assert!(error.contains(&right.layers[1].digest.to_string()), "{error}");
    assert!(!fixture.layer(&wrong.parse().unwrap(), "idx").exists());
}
