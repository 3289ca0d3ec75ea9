//! Tests of the selection among images for several platforms.

use serde_json::json;
use vmroot_image_store::{Error, Fallback, PullPolicy, PullRequest};
use vmroot_model::Platform;
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::image::IndexBuilder;

use crate::fixture::{Fixture, builder, name_in, request};

fn image(platform: &str) -> vmroot_testkit::image::Image {
    builder(platform).platform(platform).build()
}

fn with(fallback: Fallback, request: PullRequest) -> PullRequest {
    PullRequest { fallback, ..request }
}

/// An index of a tool that adds an EROFS variant of an image: the variant comes first and has an `os.features` entry.
#[test]
fn an_entry_with_features_is_passed_over() {
    let fixture = Fixture::new();
    let erofs = json!({"os": "linux", "architecture": "amd64", "os.features": ["erofs"]});
    let plain = image("linux/amd64");
    let foreign = builder("not a layer that can be read").build();
    let index = IndexBuilder::new()
        .image(foreign.clone())
        .entry_member("platform", erofs.clone())
        .image(plain)
        .image(image("linux/arm64"))
        .build();
    let reference = fixture.serve_index(&index, "v1");
    assert_eq!(name_in(&fixture.store, &fixture.pull(&reference).unwrap()), "linux/amd64");
    let alone = IndexBuilder::new().image(foreign).entry_member("platform", erofs).build();
    let reference = fixture.serve_index(&alone, "v2");
    for fallback in [Fallback::Refuse, Fallback::Single, Fallback::Only] {
        let error = fixture.pull_as(&with(fallback, request(&reference, PullPolicy::Always))).unwrap_err();
        assert!(error.full_message().contains("os.features erofs"), "{error}");
    }
}

/// skopeo and buildah ignore features of a single image, and most such images can be read.
#[test]
fn a_single_image_may_have_features_and_a_version() {
    let fixture = Fixture::new();
    let made = builder("alone").config_member("os.features", json!([null, "x"])).config_member("os.version", "24.04");
    let reference = fixture.serve(&made.clone().build(), "v1");
    assert_eq!(name_in(&fixture.store, &fixture.pull(&reference).unwrap()), "alone");
    let reference = fixture.serve(&made.platform("linux/arm64").build(), "v2");
    let error = fixture.pull(&reference).unwrap_err().full_message();
    assert!(error.contains("expected amd64") && error.contains("arm64"), "{error}");
    let only = with(Fallback::Only, request(&reference, PullPolicy::Always));
    assert_eq!(fixture.pull_as(&only).unwrap().record().platform.to_string(), "linux/arm64");
}

#[test]
fn a_fallback_allows_an_image_for_another_platform() {
    let fixture = Fixture::new();
    let arm = image("linux/arm64");
    let single = fixture.serve(&arm, "single");
    let index = fixture.serve_index(&IndexBuilder::new().image(arm.clone()).attestation().build(), "index");
    let nested = IndexBuilder::new().image_without_platform(arm).build();
    let nested = fixture.serve_index(&IndexBuilder::new().index(nested).build(), "nested");
    let two = IndexBuilder::new().image(image("linux/arm64")).image(image("linux/s390x")).build();
    let two = fixture.serve_index(&two, "two");
    for (reference, allowed_by) in [
        (&single, &[Fallback::Single, Fallback::Only][..]),
        (&index, &[Fallback::Only]),
        (&nested, &[Fallback::Only]),
        (&two, &[]),
    ] {
        for fallback in [Fallback::Refuse, Fallback::Single, Fallback::Only] {
            let pulled = fixture.pull_as(&with(fallback, request(reference, PullPolicy::Always)));
            if allowed_by.contains(&fallback) {
                let image = pulled.unwrap();
                assert_eq!(name_in(&fixture.store, &image), "linux/arm64");
                assert_eq!(
                    image.record().platform.to_string(),
                    "linux/arm64",
                    "the record has the image's own platform"
                );
            } else {
                let error = pulled.unwrap_err().full_message();
                assert!(error.contains("arm64") && error.contains("expected amd64"), "{reference}: {error}");
            }
        }
    }
}

#[test]
fn a_name_is_found_for_the_stored_platforms() {
    let fixture = Fixture::new();
    let host = Platform::host();
    let others: Vec<&str> =
        ["linux/s390x", "linux/riscv64", "linux/ppc64le"].into_iter().filter(|it| *it != host.to_string()).collect();
    let images = [&host.to_string(), others[0], others[1]].map(image);
    let index = images.iter().cloned().fold(IndexBuilder::new(), IndexBuilder::image).build();
    let reference = fixture.serve_index(&index, "v1");
    let name = reference.to_string();
    let pull = |platform: &str| {
        let platform = Platform::parse(platform).unwrap();
        fixture.pull_as(&PullRequest { platform, ..request(&reference, PullPolicy::Always) }).unwrap()
    };
    let find = |platform: Option<&str>| {
        let platform = platform.map(|platform| Platform::parse(platform).unwrap());
        fixture.store.find(&name, platform.as_ref()).map(|image| image.record().platform.to_string())
    };
    let other = pull(others[0]);
    let id = other.id().to_string();
    match find(None) {
        Err(Error::OtherPlatforms { wanted, available, .. }) => {
            assert_eq!((wanted, available.as_str()), (host.to_string(), others[0]));
        }
        found => panic!("{found:?}"),
    }
    let accepted = fixture.store.find_or(&name, None, Fallback::Only).unwrap();
    assert_eq!(accepted.record().platform.to_string(), others[0], "the only one");
    for name in [&id, &format!("{name}@{}", other.record().manifest.digest)] {
        assert_eq!(fixture.store.find(name, None).unwrap().id(), other.id(), "{name} names one image");
    }
    for name in [&name, &id] {
        let wanted = Platform::parse(others[1]).unwrap();
        match fixture.store.find(name, Some(&wanted)) {
            Err(Error::OtherPlatforms { wanted, available, .. }) => {
                assert_eq!((wanted.as_str(), available.as_str()), (others[1], others[0]));
            }
            found => panic!("{found:?}"),
        }
    }
    pull(others[1]);
    match find(None) {
        Err(Error::OtherPlatforms { wanted, available, .. }) => {
            let mut listed = [others[0], others[1]];
            listed.sort_unstable();
            assert_eq!((wanted, available), (host.to_string(), listed.join(", ")));
        }
        found => panic!("{found:?}"),
    }
    pull(&host.to_string());
    assert_eq!(find(None).unwrap(), host.to_string());
    assert_eq!(find(Some(others[1])).unwrap(), others[1]);
}
