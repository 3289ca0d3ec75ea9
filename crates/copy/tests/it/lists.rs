//! Lists: chosen images, nested lists, and lists that lie.

use serde_json::{Value, json};
use vmroot_copy::{CopyOptions, Error, ListForm, Selection};
use vmroot_errors::ErrorKind;
use vmroot_model::{Algorithm, Digest, Hasher, ManifestFormat, MediaType, Platform};
use vmroot_testkit::image::{Format, Index, IndexBuilder};
use vmroot_transport::ManifestPlace;

use crate::destination::MemoryDestination;
use crate::image::image;
use crate::source::MemorySource;
use crate::{copy, message, options};

fn platform(text: &str) -> Platform {
    Platform::parse(text).unwrap()
}

fn choosing(platforms: &[&str], list: ListForm) -> CopyOptions {
    let mut options = options();
    options.selection = Selection::Platforms { platforms: platforms.iter().map(|it| platform(it)).collect(), list };
    options
}

/// Returns a list of three images, each with an attestation.
fn attested() -> Index {
    let list = IndexBuilder::new();
    let list = list.image(image("amd64")).attestation().image(image("arm64")).attestation();
    list.image(image("s390x")).attestation().build()
}

fn entries(list: &Value) -> Vec<Digest> {
    let digest = |entry: &Value| Digest::parse(entry["digest"].as_str().unwrap()).unwrap();
    list["manifests"].as_array().unwrap().iter().map(digest).collect()
}

#[test]
fn a_whole_list_stays_as_it_is() {
    for format in [Format::Oci, Format::Docker] {
        let list = IndexBuilder::new().format(format).image(image("amd64")).image(image("arm64")).build();
        let (source, destination) = (MemorySource::of_index(&list), MemoryDestination::new());
        let report = copy(&source, &destination, options()).unwrap();
        assert_eq!((report.manifest.digest, destination.top().0), (list.document.digest, list.document.digest));
        let state = destination.state();
        let places: Vec<ManifestPlace> = state.documents.iter().map(|document| document.2).collect();
        assert_eq!(places, [ManifestPlace::Instance, ManifestPlace::Instance, ManifestPlace::Top]);
    }
}

#[test]
fn a_stripped_list_keeps_the_attestations_of_its_images() {
    let list = attested();
    let source = MemorySource::of_index(&list);
    let all = entries(&serde_json::from_slice(&list.document.bytes).unwrap());
    for (platforms, kept) in
        [(&["linux/amd64", "linux/s390x"][..], &[0, 1, 4, 5][..]), (&["linux/arm64", "linux/arm64"][..], &[2, 3][..])]
    {
        let destination = MemoryDestination::new();
        let report = copy(&source, &destination, choosing(platforms, ListForm::Stripped)).unwrap();
        assert_eq!(report.losses, [""; 0]);
        let kept: Vec<Digest> = kept.iter().map(|&number| all[number]).collect();
        assert_eq!(entries(&destination.top().2), kept, "{platforms:?}");
        assert_eq!(destination.state().documents.len(), kept.len() + 1);

        let destination = MemoryDestination::new();
        copy(&source, &destination, choosing(platforms, ListForm::Sparse)).unwrap();
        assert_eq!(destination.top().0, list.document.digest);
        assert_eq!(destination.state().documents.len(), kept.len() + 1);
    }
}

#[test]
fn a_list_without_one_of_the_platforms_is_an_error() {
    let source = MemorySource::of_index(&attested());
    for form in [ListForm::Stripped, ListForm::Sparse] {
        for platforms in [&["linux/mips", "linux/ppc64le"][..], &["linux/amd64", "linux/ppc64le"]] {
            let destination = MemoryDestination::new();
            let error = copy(&source, &destination, choosing(platforms, form)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{form:?}: {error:?}");
            destination.assert_untouched();
        }
    }
}

/// A store may have some of a list's images only.
#[test]
fn absent_images_of_a_list_are_omitted_with_a_note() {
    let list = IndexBuilder::new().image(image("amd64")).image(image("arm64")).build();
    let source = MemorySource::of_index(&list).without_instance(image("amd64").manifest.digest);
    let destination = MemoryDestination::new();
    let report = copy(&source, &destination, options()).unwrap();
    assert_eq!(entries(&destination.top().2), [image("arm64").manifest.digest]);
    assert!(report.losses.iter().any(|loss| loss.contains("has 1 of the 2 images")), "{:?}", report.losses);
    let error = copy(&source, &destination, choosing(&["linux/amd64"], ListForm::Stripped)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
}

#[test]
fn an_image_for_another_platform_than_the_chosen_one_is_noted() {
    let source = MemorySource::of_image(&image("arm64"));
    for (wanted, noted) in [("linux/s390x", true), ("linux/arm64", false), ("linux/arm64/v8", false)] {
        let mut options = options();
        options.selection = Selection::Platform(platform(wanted));
        let report = copy(&source, &MemoryDestination::new(), options).unwrap();
        assert_eq!(report.losses.iter().any(|loss| loss.contains("is for linux/arm64")), noted, "{:?}", report.losses);
    }
}

#[test]
fn a_stripped_list_must_not_be_preserved() {
    let source = MemorySource::of_index(&attested());
    let mut options = choosing(&["linux/amd64", "linux/s390x"], ListForm::Stripped);
    options.preserve_digests = true;
    let destination = MemoryDestination::new();
    let error = copy(&source, &destination, options).unwrap_err();
    assert!(matches!(error, Error::MustNotChange { .. }), "{error:?}");
    assert_eq!(destination.state().commits, 0);
}

#[test]
fn the_list_alone() {
    let list = attested();
    let (source, destination) = (MemorySource::of_index(&list), MemoryDestination::new());
    let mut options = options();
    options.selection = Selection::IndexOnly;
    copy(&source, &destination, options).unwrap();
    assert_eq!(destination.top().0, list.document.digest);
    let state = destination.state();
    assert_eq!((state.documents.len(), state.written.len()), (1, 0));
}

#[test]
fn one_platform_gives_no_list() {
    let nested = IndexBuilder::new().image(image("s390x")).build();
    let list = IndexBuilder::new().image(image("amd64")).image(image("arm64")).index(nested).build();
    let source = MemorySource::of_index(&list);
    for (wanted, expected) in [("linux/amd64", image("amd64")), ("linux/s390x", image("s390x"))] {
        let mut options = options();
        options.selection = Selection::Platform(platform(wanted));
        let destination = MemoryDestination::new();
        copy(&source, &destination, options).unwrap();
        assert_eq!(destination.top().0, expected.manifest.digest, "{wanted}");
        assert_eq!(destination.state().documents.len(), 1);
    }
    let mut options = options();
    options.selection = Selection::Platform(platform("linux/mips"));
    let destination = MemoryDestination::new();
    let error = copy(&source, &destination, options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    destination.assert_untouched();
}

#[test]
fn an_instance_that_the_destination_has_is_not_read() {
    let list = IndexBuilder::new().image(image("amd64")).image(image("arm64")).build();
    let source = MemorySource::of_index(&list);
    let destination = MemoryDestination::new();
    let known = &list.images[0].manifest;
    let media_type = MediaType::new(&known.media_type);
    destination.state().documents.push((known.digest, media_type, ManifestPlace::Instance, known.bytes.clone()));
    copy(&source, &destination, options()).unwrap();
    assert_eq!(destination.top().0, list.document.digest);
    assert_eq!(source.opened(&list.images[0].config_digest), 0);
    assert_eq!(destination.state().documents.len(), 3);
}

#[test]
fn a_list_that_pretends_to_contain_itself() {
    let mut source = MemorySource::default();
    let (list, _) = attested_source(&mut source);
    // The source answers the digest of an instance with the list.
    let instance = list.images[0].manifest.digest;
    let bytes = list.document.bytes.clone();
    source.documents.insert(instance, (bytes, list.document.media_type.clone()));
    let destination = MemoryDestination::new();
    let error = copy(&source, &destination, options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error:?}");
    assert!(message(&error).contains(&instance.to_string()), "{}", message(&error));
    destination.assert_no_image();
}

fn attested_source(source: &mut MemorySource) -> (Index, Digest) {
    let list = attested();
    *source = MemorySource::of_index(&list);
    let digest = list.document.digest;
    (list, digest)
}

#[test]
fn deeply_nested_lists_are_an_error() {
    let nest = |depth: usize| {
        let mut list = IndexBuilder::new().image(image("amd64")).build();
        for _ in 1..depth {
            list = IndexBuilder::new().index(list).build();
        }
        list
    };
    let list = nest(8);
    let destination = MemoryDestination::new();
    copy(&MemorySource::of_index(&list), &destination, options()).unwrap();
    assert_eq!(destination.top().0, list.document.digest);
    assert_eq!(destination.state().documents.len(), 9);

    let destination = MemoryDestination::new();
    let error = copy(&MemorySource::of_index(&nest(9)), &destination, options()).unwrap_err();
    assert!(matches!(error, Error::TooDeep { limit: 8, .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert_eq!(destination.state().commits, 0);
}

#[test]
fn an_instance_may_be_named_by_sha512() {
    let image = image("amd64");
    let mut source = MemorySource::of_image(&image);
    let mut hasher = Hasher::new(Algorithm::Sha512);
    hasher.update(&image.manifest.bytes);
    let sha512 = hasher.finish();
    source.documents.insert(sha512, (image.manifest.bytes.clone(), image.manifest.media_type.clone()));
    let entry = json!({
        "mediaType": image.manifest.media_type, "digest": sha512, "size": image.manifest.bytes.len(),
        "platform": {"os": "linux", "architecture": "amd64"},
    });
    let list = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX.as_str(), "manifests": [entry]});
    let list = source.add_document(&serde_json::to_vec(&list).unwrap(), MediaType::OCI_INDEX.as_str());
    let destination = MemoryDestination::new();
    copy(&source, &destination, options()).unwrap();
    assert_eq!(destination.top().0, list.digest);
}

#[test]
fn a_list_that_the_destination_has_without_its_images() {
    let list = attested();
    let source = MemorySource::of_index(&list);
    let mut destination = MemoryDestination::new();
    destination.current = Some(list.document.digest);
    let report = copy(&source, &destination, options()).unwrap();
    assert!(!report.was_present);
    assert_eq!(destination.state().documents.len(), 7);
}

#[test]
fn a_docker_list_has_no_attestations() {
    let source = MemorySource::of_index(&attested());
    let destination = MemoryDestination::new();
    let mut options = options();
    options.format = Some(ManifestFormat::Schema2);
    let report = copy(&source, &destination, options.clone()).unwrap();
    let (.., list) = destination.top();
    assert_eq!(entries(&list).len(), 3);
    let architecture = |entry: &Value| entry["platform"]["architecture"].as_str().unwrap().to_owned();
    let architectures: Vec<String> = list["manifests"].as_array().unwrap().iter().map(architecture).collect();
    assert_eq!(architectures, ["amd64", "arm64", "s390x"]);
    assert!(report.losses.iter().any(|loss| loss.contains("3 attestations are omitted")), "{:?}", report.losses);
    // An image whose digest must stay is not converted.
    options.preserve_digests = true;
    let report = copy(&source, &MemoryDestination::new(), options).unwrap();
    assert_eq!(report.manifest.digest, report.source);
}
