//! Tests of the requests that each pull policy makes.

use vmroot_errors::ErrorKind;
use vmroot_image_store::{Error, PullPolicy};
use vmroot_model::Reference;

use crate::fixture::{Fixture, image, name_in, request};

#[test]
fn the_always_policy_resolves_tags_and_fetches_only_new_blobs() {
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
fn the_missing_policy_requests_only_absent_images() {
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
fn the_never_policy_makes_no_requests() {
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
    // A missing root is merged from the cached layers, and a missing layer is built from its blob.
    std::fs::remove_dir_all(fixture.cache().join("roots/v1")).unwrap();
    std::fs::create_dir(fixture.cache().join("roots/v1")).unwrap();
    std::fs::remove_file(fixture.layer(&made.layers[0].diff_id, "idx")).unwrap();
    assert_eq!(name_in(&fixture.store, &fixture.pull_as(&never).unwrap()), "v1");
    assert_eq!(fixture.registry.requests().len(), 0);
    // The blob is missing as well. Only this policy fails then.
    for layer in &made.layers {
        std::fs::remove_file(fixture.layer(&layer.diff_id, "idx")).unwrap();
        std::fs::remove_file(fixture.blob(&layer.digest)).unwrap();
    }
    std::fs::remove_dir_all(fixture.cache().join("roots/v1")).unwrap();
    std::fs::create_dir(fixture.cache().join("roots/v1")).unwrap();
    assert!(matches!(fixture.pull_as(&never).unwrap_err(), Error::Damaged { .. }));
    assert_eq!(name_in(&fixture.store, &fixture.pull_as(&request(&reference, PullPolicy::Missing)).unwrap()), "v1");
}

/// A digest always means the same, with any tag beside it and under any name of the image.
#[test]
fn a_digest_is_resolved_once_under_any_name() {
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
