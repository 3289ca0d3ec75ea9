//! Blobs that are damaged, fail midway, are foreign, or are recompressed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use vmroot_compress::Target;
use vmroot_copy::{Compression, Copier, CopyOptions, CopyProgress, Error};
use vmroot_errors::ErrorKind;
use vmroot_model::{Digest, MediaType};
use vmroot_testkit::image::{Compression as Packing, Format};
use vmroot_transport::{LayerForm, ManifestPlace};

use crate::destination::MemoryDestination;
use crate::image::{add_artifact, builder, image, plain};
use crate::source::{Fault, MemorySource};
use crate::{copy, layer, message, options};

fn zstd() -> CopyOptions {
    let mut options = options();
    options.compression = Some(Compression { target: Target::Zstd { level: None }, force: false });
    options
}

#[test]
fn an_image_stays_as_it_is() {
    let image = image("amd64");
    let (source, destination) = (MemorySource::of_image(&image), MemoryDestination::new());
    let report = copy(&source, &destination, options()).unwrap();
    assert_eq!((report.manifest.digest, report.source), (image.manifest.digest, image.manifest.digest));
    assert_eq!((report.written, report.reused, report.was_present), (2, 0, false));
    assert_eq!(report.bytes, image.layers.iter().map(|layer| layer.bytes.len() as u64).sum::<u64>());
    assert!(report.losses.is_empty() && report.referrers.is_empty(), "{report:?}");
    let (digest, _, _) = destination.top();
    assert_eq!(digest, image.manifest.digest);
    for (digest, bytes) in image.blobs() {
        assert_eq!(destination.state().blobs[&digest], bytes);
    }
}

#[test]
fn an_artifact_stays_as_it_is() {
    let mut source = MemorySource::default();
    let artifact = add_artifact(&mut source, "part", None);
    let destination = MemoryDestination::new();
    let report = copy(&source, &destination, zstd()).unwrap();
    assert_eq!(report.manifest.digest, artifact.digest);
    assert_eq!(destination.top().0, artifact.digest);
    assert!(destination.state().blobs.values().any(|bytes| bytes == b"part"));
}

#[test]
fn a_damaged_blob_is_an_error() {
    for (fault, reason) in [
        (Fault::Flip(5), "should have digest"),
        (Fault::Short(20), "has 20 bytes, its descriptor says"),
        (Fault::Short(0), "has 0 bytes, its descriptor says"),
        (Fault::Long, "more than the"),
    ] {
        let image = image("amd64");
        let (source, destination) = (MemorySource::of_image(&image), MemoryDestination::new());
        let damaged = image.layers[1].digest;
        source.fail(damaged, [fault]);
        let error = copy(&source, &destination, options()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{error:?}");
        let text = message(&error);
        assert!(text.contains(reason) && text.contains(&damaged.to_string()), "{fault:?}: {text}");
        assert!(text.contains("memory:source"), "{text}");
        assert_eq!(source.opened(&damaged), 1, "wrong bytes are no failure of a connection");
        destination.assert_no_image();
        assert!(!destination.state().blobs.contains_key(&damaged));
    }
}

#[test]
fn a_damaged_blob_is_an_error_when_it_is_recompressed() {
    for fault in [Fault::Flip(700), Fault::Short(20), Fault::Long] {
        let image = plain(Format::Oci);
        let (source, destination) = (MemorySource::of_image(&image), MemoryDestination::new());
        source.fail(image.layers[0].digest, [fault]);
        let error = copy(&source, &destination, zstd()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{error:?}");
        assert!(message(&error).contains(&image.layers[0].digest.to_string()), "{}", message(&error));
        destination.assert_no_image();
    }
}

#[test]
fn a_config_that_is_damaged_is_an_error() {
    let image = image("amd64");
    let (source, destination) = (MemorySource::of_image(&image), MemoryDestination::new());
    source.fail(image.config_digest, [Fault::Flip(3)]);
    let error = copy(&source, &destination, options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error:?}");
    destination.assert_untouched();
}

#[test]
fn a_broken_connection_is_tried_again() {
    for zstd_or_not in [options(), zstd()] {
        let image = image("amd64");
        let (source, destination) = (MemorySource::of_image(&image), MemoryDestination::new());
        let broken = image.layers[0].digest;
        source.fail(broken, [Fault::Cut(0), Fault::Cut(50), Fault::Cut(30)]);
        copy(&source, &destination, zstd_or_not).unwrap();
        assert_eq!(source.opened(&broken), 4);
        destination.top();
    }
}

#[test]
fn a_delay_of_the_options_does_not_grow() {
    let image = image("amd64");
    let (source, destination) = (MemorySource::of_image(&image), MemoryDestination::new());
    source.fail(image.layers[0].digest, [Fault::Cut(7); 3]);
    let mut options = options();
    options.retry_delay = Some(Duration::from_millis(1));
    let messages = Arc::new(Messages::default());
    Copier::new(options).with_progress(messages.clone()).copy(&source, &destination).unwrap();
    let messages = messages.0.lock().unwrap();
    let pauses: Vec<&str> =
        messages.iter().filter_map(|text| text.rsplit_once("trying again in ")).map(|it| it.1).collect();
    assert_eq!(pauses, ["0.001 s"; 3]);
}

/// The messages of a copy.
#[derive(Default)]
struct Messages(Mutex<Vec<String>>);

impl CopyProgress for Messages {
    fn message(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

#[test]
fn retries_end() {
    let image = image("amd64");
    let (source, destination) = (MemorySource::of_image(&image), MemoryDestination::new());
    let broken = image.layers[0].digest;
    source.fail(broken, [Fault::Cut(7); 10]);
    let mut options = options();
    options.retries = 2;
    let error = copy(&source, &destination, options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
    assert_eq!(source.opened(&broken), 3);
    destination.assert_no_image();
}

#[test]
fn a_blob_that_is_missing_is_an_error() {
    let image = image("amd64");
    let mut source = MemorySource::of_image(&image);
    source.blobs.remove(&image.layers[0].digest);
    let destination = MemoryDestination::new();
    let error = copy(&source, &destination, options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(message(&error).contains(&image.layers[0].digest.to_string()));
    destination.assert_no_image();
}

#[test]
fn layers_get_the_compression_of_the_destination() {
    let image = plain(Format::Oci);
    let source = MemorySource::of_image(&image);
    let destination = MemoryDestination::new();
    copy(&source, &destination, options()).unwrap();
    let layers = destination.top().2["layers"].clone();
    for layer in layers.as_array().unwrap() {
        assert_eq!(layer["mediaType"], MediaType::OCI_LAYER_GZIP.as_str());
        let digest = Digest::parse(layer["digest"].as_str().unwrap()).unwrap();
        assert_eq!(destination.state().blobs[&digest][..2], [0x1f, 0x8b]);
    }

    let keeping = MemoryDestination::new().with_layers(LayerForm::Keep);
    let report = copy(&source, &keeping, zstd()).unwrap();
    assert_eq!(keeping.top().0, image.manifest.digest);
    assert!(report.losses.iter().any(|loss| loss.contains("does not compress layers")), "{:?}", report.losses);

    let source = MemorySource::of_image(&self::image("amd64"));
    let plain = MemoryDestination::new().with_layers(LayerForm::Decompress);
    copy(&source, &plain, options()).unwrap();
    for (layer, expected) in plain.top().2["layers"].as_array().unwrap().iter().zip(&self::image("amd64").layers) {
        assert_eq!(layer["digest"], expected.diff_id.to_string());
        assert_eq!(layer["mediaType"], MediaType::OCI_LAYER.as_str());
    }
}

#[test]
fn a_recompressed_layer_has_the_same_content() {
    let image = image("amd64");
    let (source, destination) = (MemorySource::of_image(&image), MemoryDestination::new());
    copy(&source, &destination, zstd()).unwrap();
    let manifest = destination.top().2;
    assert_eq!(manifest["config"]["digest"], image.config_digest.to_string());
    for (layer, old) in manifest["layers"].as_array().unwrap().iter().zip(&image.layers) {
        assert_eq!(layer["mediaType"], MediaType::OCI_LAYER_ZSTD.as_str());
        let digest = Digest::parse(layer["digest"].as_str().unwrap()).unwrap();
        let bytes = destination.state().blobs[&digest].clone();
        assert_eq!(layer["size"], bytes.len());
        assert!(zstd::decode_all(&bytes[..]).unwrap() == old.tar);
    }
}

#[test]
fn a_recompressed_layer_must_have_its_diff_id() {
    let layers = [layer("base"), layer("top")];
    let right = builder("amd64").layers(&layers).build();
    let wrong: Vec<String> = right.layers.iter().rev().map(|layer| layer.diff_id.to_string()).collect();
    let image =
        builder("amd64").layers(&layers).config_member("rootfs", json!({"type": "layers", "diff_ids": wrong})).build();
    let (source, destination) = (MemorySource::of_image(&image), MemoryDestination::new());
    let error = copy(&source, &destination, zstd()).unwrap_err();
    assert!(matches!(error, Error::DiffId { .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Integrity);
    destination.assert_no_image();
}

#[test]
fn a_repeated_layer_is_written_once() {
    let (base, top) = (layer("base"), layer("top"));
    let image = builder("amd64").layer(&base).layer(&top).layer(&base).layer(&base).build();
    for zstd_or_not in [options(), zstd()] {
        let (source, destination) = (MemorySource::of_image(&image), MemoryDestination::new());
        let report = copy(&source, &destination, zstd_or_not).unwrap();
        assert_eq!((report.written, report.reused), (2, 2));
        assert_eq!(source.opened(&image.layers[0].digest), 1);
        let layers = destination.top().2["layers"].as_array().unwrap().clone();
        assert_eq!((layers.len(), &layers[0], &layers[0]), (4, &layers[2], &layers[3]));
    }
}

#[test]
fn an_image_without_layers() {
    let image = builder("amd64").build();
    for zstd_or_not in [options(), zstd()] {
        let (source, destination) = (MemorySource::of_image(&image), MemoryDestination::new());
        copy(&source, &destination, zstd_or_not).unwrap();
        assert_eq!(destination.top().0, image.manifest.digest);
    }
}

#[test]
fn blobs_of_the_destination_are_not_read() {
    let image = image("amd64");
    let (source, destination) = (MemorySource::of_image(&image), MemoryDestination::new());
    destination.state().blobs.extend(image.blobs());
    let report = copy(&source, &destination, options()).unwrap();
    assert_eq!((report.written, report.reused, report.bytes), (0, 2, 0));
    assert!(destination.state().written.is_empty());
    assert!(image.layers.iter().all(|layer| source.opened(&layer.digest) == 0));
    assert_eq!(destination.top().0, image.manifest.digest);
}

#[test]
fn a_destination_with_the_image_is_left_alone() {
    let image = image("amd64");
    let source = MemorySource::of_image(&image);
    let mut destination = MemoryDestination::new();
    destination.current = Some(image.manifest.digest);
    let report = copy(&source, &destination, options()).unwrap();
    assert!(report.was_present);
    assert_eq!(report.manifest.digest, image.manifest.digest);
    destination.assert_untouched();
    assert_eq!(source.opened(&image.config_digest), 0);
}

/// Adds an image whose first layer is foreign. Returns the descriptor's digest of that layer.
fn foreign(source: &mut MemorySource) -> (Digest, Digest) {
    let image = builder("amd64").format(Format::Docker).layer(&layer("base")).layer(&layer("top")).build();
    let mut manifest: serde_json::Value = serde_json::from_slice(&image.manifest.bytes).unwrap();
    manifest["layers"][0]["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    manifest["layers"][0]["urls"] = json!(["https://127.0.0.1:1/layer"]);
    source.blobs.extend(image.blobs());
    let top = source.add_document(&serde_json::to_vec(&manifest).unwrap(), &image.manifest.media_type);
    (image.layers[0].digest, top.digest)
}

#[test]
fn foreign_layers_stay_at_their_urls() {
    let mut source = MemorySource::default();
    let (layer, top) = foreign(&mut source);
    source.blobs.remove(&layer);
    let destination = MemoryDestination::new();
    copy(&source, &destination, options()).unwrap();
    assert_eq!(destination.top().0, top);

    // A recompressed layer would not have the bytes at its URL.
    let destination = MemoryDestination::new();
    copy(&source, &destination, zstd()).unwrap();
    let layers = destination.top().2["layers"].clone();
    assert_eq!(layers[0]["digest"], layer.to_string());
    assert_eq!(layers[0]["urls"], json!(["https://127.0.0.1:1/layer"]));
    assert_eq!(layers[1]["mediaType"], MediaType::OCI_LAYER_ZSTD.as_str());

    // Another destination needs the bytes.
    let mut destination = MemoryDestination::new();
    destination.accepts.foreign_layers = false;
    let error = copy(&source, &destination, options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    foreign(&mut source);
    copy(&source, &destination, options()).unwrap();
    assert_eq!(destination.top().0, top);
    assert!(destination.state().blobs.contains_key(&layer));
}

#[test]
fn a_destination_that_does_not_read_a_blob() {
    let image = image("amd64");
    let source = MemorySource::of_image(&image);
    let mut destination = MemoryDestination::new();
    destination.is_lazy = true;
    let error = copy(&source, &destination, zstd()).unwrap_err();
    assert!(message(&error).contains("was not read to its end"), "{}", message(&error));
}

#[test]
fn a_dry_run_writes_nothing() {
    let mut with_gaps = image("amd64");
    let source = MemorySource::of_image(&with_gaps);
    with_gaps.layers.clear();
    for mut dry in [options(), zstd()] {
        dry.dry_run = true;
        let destination = MemoryDestination::new();
        let report = copy(&source, &destination, dry).unwrap();
        assert_eq!((report.source, report.written, report.bytes), (with_gaps.manifest.digest, 0, 0));
        destination.assert_untouched();
    }
    // A dry run says what a copy would say.
    let mut dry = options();
    dry.dry_run = true;
    dry.preserve_digests = true;
    let mut destination = MemoryDestination::new();
    destination.accepts.documents = vec![MediaType::DOCKER_MANIFEST];
    let error = copy(&source, &destination, dry).unwrap_err();
    assert!(message(&error).contains("the image would have to change"), "{error:?}");
}

#[test]
fn an_old_layer_of_an_unknown_type_stays() {
    let image = builder("amd64").compression(Packing::Xz).layer(&layer("base")).build();
    let (source, destination) = (MemorySource::of_image(&image), MemoryDestination::new());
    copy(&source, &destination, options()).unwrap();
    assert_eq!(destination.top().0, image.manifest.digest);
    assert_eq!(destination.state().documents[0].2, ManifestPlace::Top);
}
