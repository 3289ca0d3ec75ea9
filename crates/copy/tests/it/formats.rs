//! Destinations that refuse formats, and copies that must not change the image.

use vmroot_compress::Target;
use vmroot_copy::Compression;
use vmroot_model::{ManifestFormat, MediaType};
use vmroot_testkit::image::Format;
use vmroot_transport::LayerForm;

use crate::destination::MemoryDestination;
use crate::image::{add_artifact, image, plain};
use crate::source::MemorySource;
use crate::{copy, message, options};

#[test]
fn the_next_format_is_tried_when_one_is_refused() {
    let source = MemorySource::of_image(&image("amd64"));
    let mut destination = MemoryDestination::new();
    destination.refuses = vec![MediaType::OCI_MANIFEST];
    copy(&source, &destination, options()).unwrap();
    assert_eq!(destination.top().1, MediaType::DOCKER_MANIFEST);
    assert_eq!(destination.state().offered, [MediaType::OCI_MANIFEST, MediaType::DOCKER_MANIFEST]);

    let source = MemorySource::of_image(&plain(Format::Docker));
    let mut destination = MemoryDestination::new();
    destination.refuses = vec![MediaType::DOCKER_MANIFEST];
    copy(&source, &destination, options()).unwrap();
    assert_eq!(destination.top().1, MediaType::OCI_MANIFEST);
    assert_eq!(destination.state().written.len(), 4, "two layers once, and a config for each format");
}

#[test]
fn a_destination_that_refuses_all_formats() {
    let source = MemorySource::of_image(&image("amd64"));
    let mut destination = MemoryDestination::new();
    destination.refuses = vec![MediaType::OCI_MANIFEST, MediaType::DOCKER_MANIFEST, MediaType::DOCKER_SCHEMA1_SIGNED];
    let error = copy(&source, &destination, options()).unwrap_err();
    assert!(message(&error).contains("refusal 1"), "the first refusal is about the image's own format: {error:?}");
    destination.assert_no_image();
}

#[test]
fn a_destination_that_holds_one_format() {
    let source = MemorySource::of_image(&image("amd64"));
    let mut destination = MemoryDestination::new().with_layers(LayerForm::Decompress);
    destination.accepts.documents = vec![MediaType::DOCKER_MANIFEST];
    copy(&source, &destination, options()).unwrap();
    assert_eq!(destination.state().offered, [MediaType::DOCKER_MANIFEST]);

    let mut artifact = MemorySource::default();
    add_artifact(&mut artifact, "part", None);
    let mut destination = MemoryDestination::new();
    destination.accepts.documents = vec![MediaType::DOCKER_MANIFEST];
    let text = message(&copy(&artifact, &destination, options()).unwrap_err());
    assert!(text.contains("only OCI manifests describe artifacts"), "{text}");
    destination.assert_untouched();

    let mut oci = options();
    oci.format = Some(ManifestFormat::Oci);
    let error = copy(&source, &destination, oci).unwrap_err();
    // The remedy is in a field, for the program's hint.
    assert!(format!("{error:?}").contains("leave out --format"), "{error:?}");
    destination.assert_untouched();
}

#[test]
fn an_artifact_has_no_other_format() {
    let mut source = MemorySource::default();
    add_artifact(&mut source, "part", None);
    let mut docker = options();
    docker.format = Some(ManifestFormat::Schema2);
    let destination = MemoryDestination::new();
    let error = copy(&source, &destination, docker).unwrap_err();
    assert!(message(&error).contains("only OCI manifests can hold artifacts"), "{}", message(&error));
    destination.assert_no_image();
}

#[test]
fn zstd_needs_an_oci_manifest() {
    let source = MemorySource::of_image(&plain(Format::Docker));
    let mut zstd = options();
    zstd.compression = Some(Compression { target: Target::Zstd { level: None }, force: false });
    let destination = MemoryDestination::new();
    let report = copy(&source, &destination, zstd.clone()).unwrap();
    assert_eq!(destination.top().1, MediaType::OCI_MANIFEST);
    assert_ne!(report.manifest.digest, report.source);

    zstd.format = Some(ManifestFormat::Schema2);
    let destination = MemoryDestination::new();
    let error = copy(&source, &destination, zstd).unwrap_err();
    assert!(message(&error).contains("zstd"), "{}", message(&error));
    destination.assert_no_image();
}

/// As skopeo 1.18: the compression decides the format, even where layers are kept.
#[test]
fn zstd_decides_the_format_of_each_destination() {
    let source = MemorySource::of_image(&plain(Format::Docker));
    let mut zstd = options();
    zstd.compression = Some(Compression { target: Target::Zstd { level: None }, force: false });
    let keeping = MemoryDestination::new().with_layers(LayerForm::Keep);
    copy(&source, &keeping, zstd.clone()).unwrap();
    assert_eq!(keeping.top().1, MediaType::OCI_MANIFEST);
    assert_eq!(keeping.top().2["layers"][0]["mediaType"], MediaType::OCI_LAYER.as_str());

    let mut docker = MemoryDestination::new().with_layers(LayerForm::Decompress);
    docker.accepts.documents = vec![MediaType::DOCKER_MANIFEST];
    let error = copy(&source, &docker, zstd.clone()).unwrap_err();
    assert!(message(&error).contains("only OCI manifests have layers with zstd"), "{}", message(&error));
    docker.assert_no_image();

    zstd.format = Some(ManifestFormat::Schema2);
    let keeping = MemoryDestination::new().with_layers(LayerForm::Keep);
    let error = copy(&source, &keeping, zstd).unwrap_err();
    assert!(message(&error).contains("only OCI manifests have layers with zstd"), "{}", message(&error));
    keeping.assert_no_image();
}

/// As in skopeo, a digest that must stay is more important than a compression.
#[test]
fn a_preserved_image_is_not_compressed() {
    for format in [Format::Oci, Format::Docker] {
        let image = plain(format);
        let source = MemorySource::of_image(&image);
        let mut preserving = options();
        preserving.preserve_digests = true;
        preserving.compression = Some(Compression { target: Target::Zstd { level: None }, force: false });
        let destination = MemoryDestination::new();
        let report = copy(&source, &destination, preserving).unwrap();
        assert_eq!(destination.top().0, image.manifest.digest);
        assert!(report.losses.iter().any(|loss| loss.contains("digests are preserved")), "{:?}", report.losses);
    }
}

#[test]
fn a_preserved_image_is_not_changed() {
    // Plain layers stay plain, although the destination would compress them.
    for format in [Format::Oci, Format::Docker] {
        let image = plain(format);
        let source = MemorySource::of_image(&image);
        let mut preserving = options();
        preserving.preserve_digests = true;
        let destination = MemoryDestination::new();
        copy(&source, &destination, preserving).unwrap();
        assert_eq!(destination.top().0, image.manifest.digest);

        let mut fixed = MemoryDestination::new();
        fixed.accepts.digest = Some(image.manifest.digest);
        copy(&source, &fixed, options()).unwrap();
        assert_eq!(fixed.top().0, image.manifest.digest);
    }
}

#[test]
fn a_preserved_image_is_offered_in_its_format_only() {
    let image = image("amd64");
    let source = MemorySource::of_image(&image);
    let mut fixed = MemoryDestination::new();
    fixed.accepts.digest = Some(image.manifest.digest);
    fixed.refuses = vec![MediaType::OCI_MANIFEST];
    let error = copy(&source, &fixed, options()).unwrap_err();
    assert!(message(&error).contains("refusal 1"), "{error:?}");
    assert_eq!(fixed.state().offered, [MediaType::OCI_MANIFEST]);
}

#[test]
fn preserving_matters_more_than_plain_layers() {
    let image = image("amd64");
    let mut options = options();
    options.preserve_digests = true;
    let destination = MemoryDestination::new().with_layers(LayerForm::Decompress);
    copy(&MemorySource::of_image(&image), &destination, options).unwrap();
    assert_eq!(destination.top().0, image.manifest.digest);
    for layer in &image.layers {
        assert_eq!(destination.state().blobs[&layer.digest][..2], [0x1f, 0x8b]);
    }
}
