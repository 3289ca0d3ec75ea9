//! When a source is asked, and for what.

use vmroot_errors::ErrorKind;
use vmroot_image_store::{Error, PullPolicy};
use vmroot_model::Reference;

use crate::fixture::{Fixture, image, name_in, request};

#[test]
fn always_asks_what_a_tag_means_and_fetches_only_what_is_new() {
    let fixture = Fixture::new();
    let (old, new) = (image("old"), image("new"));
    let reference = fixture.serve(&old, "v1");
    assert_eq!(name_in(&fixture.store, &fixture.pull(&reference).unwrap()), "old");
    fixture.serve(&new, "v1");
    fixture.registry.clear_requests();
    assert_eq!(name_in(&fixture.store, &fixture.pull(&reference).unwrap()), "new");
    assert_eq!(fixture.registry.count(&new.layers[0].digest.to_string()), 0, "both have this layer");
    assert_eq!(fixture.registry.count(&new.layers[1].digest.to_string()), 1);
}

#[test]
fn missing_asks_only_for_what_is_not_here() {
    let fixture = Fixture::new();
    let reference = fixture.serve(&image("old"), "v1");
    let missing = request(&reference, PullPolicy::Missing);
    fixture.pull_as(&missing).unwrap();
    fixture.serve(&image("new"), "v1");
    fixture.registry.clear_requests();
    assert_eq!(name_in(&fixture.store, &fixture.pull_as(&missing).unwrap()), "old");
    assert_eq!(fixture.registry.requests().len(), 0);
}

#[test]
fn never_asks_for_nothing() {
    let fixture = Fixture::new();
    let made = image("v1");
    let reference = fixture.serve(&made, "v1");
    let never = request(&reference, PullPolicy::Never);
    let error = fixture.pull_as(&never).unwrap_err();
    assert!(matches!(&error, Error::NoSuchImage(name) if name.contains(&reference.to_string())), "{error}");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    fixture.pull(&reference).unwrap();
    fixture.registry.clear_requests();
    assert_eq!(*fixture.pull_as(&never).unwrap().id(), made.config_digest);
    // A root that is gone is merged from what is here, and a layer made from its blob.
    std::fs::remove_dir_all(fixture.cache().join("roots/v1")).unwrap();
    std::fs::create_dir(fixture.cache().join("roots/v1")).unwrap();
    std::fs::remove_file(fixture.layer(&made.layers[0].diff_id, "idx")).unwrap();
    assert_eq!(name_in(&fixture.store, &fixture.pull_as(&never).unwrap()), "v1");
    assert_eq!(fixture.registry.requests().len(), 0);
    // What it is made from is gone as well: no other policy would fail.
    for layer in &made.layers {
        std::fs::remove_file(fixture.layer(&layer.diff_id, "idx")).unwrap();
        std::fs::remove_file(fixture.blob(&layer.digest)).unwrap();
    }
    std::fs::remove_dir_all(fixture.cache().join("roots/v1")).unwrap();
    std::fs::create_dir(fixture.cache().join("roots/v1")).unwrap();
    assert!(matches!(fixture.pull_as(&never).unwrap_err(), Error::Damaged { .. }));
    assert_eq!(name_in(&fixture.store, &fixture.pull_as(&request(&reference, PullPolicy::Missing)).unwrap()), "v1");
}

/// A digest means the same for ever, whatever tag stands beside it and under whichever name the image came.
#[test]
fn a_digest_is_asked_for_once_however_the_name_is_written() {
    let fixture = Fixture::new();
    let made = image("v1");
    let reference = fixture.serve(&made, "v1");
    fixture.pull(&reference).unwrap();
    fixture.registry.clear_requests();
    let name = reference.name();
    let digest = made.manifest.digest;
    for text in [format!("{name}@{digest}"), format!("{name}:v1@{digest}"), format!("{name}:other@{digest}")] {
        let reference = Reference::parse(&text).unwrap();
        for policy in [PullPolicy::Never, PullPolicy::Missing, PullPolicy::Always] {
            let image = fixture.pull_as(&request(&reference, policy)).unwrap();
            assert_eq!((image.id(), image.record().reference.as_ref()), (&made.config_digest, Some(&reference)));
        }
        assert_eq!(*fixture.store.find(&text, None).unwrap().id(), made.config_digest, "{text}");
    }
    assert_eq!(fixture.registry.requests().len(), 0);
}
