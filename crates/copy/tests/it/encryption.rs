//! Layers that are encrypted and decrypted on their way. The keys are those of the crate `encryption`.

use std::sync::Arc;

use serde_json::Value;
use vmroot_compress::Target;
use vmroot_copy::{Compression, CopyOptions, Encryption, Error};
use vmroot_encryption::{DecryptionKeys, Recipients};
use vmroot_model::{Digest, ManifestFormat, MediaType};
use vmroot_testkit::image::Format;

use crate::destination::MemoryDestination;
use crate::image::{image, plain};
use crate::source::MemorySource;
use crate::{copy, message, options};

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ENCRYPTED: &str = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
const ANNOTATIONS: [&str; 2] = ["org.opencontainers.image.enc.keys.jwe", "org.opencontainers.image.enc.pubopts"];

fn key(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../encryption/tests/keys/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn encrypting(layers: &[i64]) -> CopyOptions {
    let mut recipients = Recipients::new();
    recipients.add_jwe(&key("p256.pub.pem")).unwrap();
    let mut options = options();
    options.encryption = Some(Encryption { recipients: Arc::new(recipients), layers: layers.to_vec() });
    options
}

fn decrypting(name: &str) -> CopyOptions {
    let mut keys = DecryptionKeys::new();
    keys.add(&key(name), None).unwrap();
    let mut options = options();
    options.decryption_keys = Some(Arc::new(keys));
    options
}

/// Returns what a destination has, as a source.
fn source_of(destination: &MemoryDestination) -> MemorySource {
    let mut source = MemorySource::default();
    let state = destination.state();
    source.blobs.extend(state.blobs.clone());
    for (_, media_type, _, bytes) in &state.documents {
        source.add_document(bytes, media_type.as_str());
    }
    source
}

fn encrypted(layers: &[i64]) -> (MemorySource, Value) {
    let destination = MemoryDestination::new();
    copy(&MemorySource::of_image(&image("amd64")), &destination, encrypting(layers)).unwrap();
    (source_of(&destination), destination.top().2)
}

fn types(manifest: &Value) -> Vec<&str> {
    manifest["layers"].as_array().unwrap().iter().map(|layer| layer["mediaType"].as_str().unwrap()).collect()
}

#[test]
fn a_decrypted_copy_of_an_encrypted_copy_is_the_image() {
    let original = MemorySource::of_image(&image("amd64"));
    let (source, manifest) = encrypted(&[]);
    assert_eq!(types(&manifest), [ENCRYPTED, ENCRYPTED]);
    for layer in manifest["layers"].as_array().unwrap() {
        let names: Vec<&String> = layer["annotations"].as_object().unwrap().keys().collect();
        assert_eq!(names, ANNOTATIONS);
        let digest = Digest::parse(layer["digest"].as_str().unwrap()).unwrap();
        assert!(!original.blobs.contains_key(&digest));
    }
    let destination = MemoryDestination::new();
    let report = copy(&source, &destination, decrypting("p256.pkcs8.pem")).unwrap();
    assert_eq!(Some(report.manifest.digest), original.top, "members and their order stay");
    assert_eq!(types(&destination.top().2), [GZIP, GZIP]);
}

#[test]
fn layers_are_selected_from_both_ends() {
    for (layers, expected) in
        [(&[-1][..], [GZIP, ENCRYPTED]), (&[0], [ENCRYPTED, GZIP]), (&[-2, 1], [ENCRYPTED, ENCRYPTED])]
    {
        assert_eq!(types(&encrypted(layers).1), expected, "{layers:?}");
    }
    for position in [2, -3, i64::MIN, i64::MAX] {
        let destination = MemoryDestination::new();
        let error = copy(&MemorySource::of_image(&image("amd64")), &destination, encrypting(&[position])).unwrap_err();
        assert!(matches!(error, Error::NoLayer { count: 2, .. }), "{position}: {error:?}");
        destination.assert_untouched();
    }
}

#[test]
fn encrypted_layers_stay_without_a_key_and_with_further_recipients() {
    let (source, _) = encrypted(&[0]);
    let top = source.top;
    let report = copy(&source, &MemoryDestination::new(), options()).unwrap();
    assert_eq!(Some(report.manifest.digest), top);
    let report = copy(&source, &MemoryDestination::new(), encrypting(&[0])).unwrap();
    assert_eq!(Some(report.manifest.digest), top, "no recipient is added");
}

#[test]
fn a_wrong_key_is_an_error() {
    let destination = MemoryDestination::new();
    let error = copy(&encrypted(&[]).0, &destination, decrypting("rsa.pkcs8.pem")).unwrap_err();
    let Error::Encryption { source, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(**source, vmroot_encryption::Error::NotDecryptable { .. }), "{error:?}");
    destination.assert_untouched();
}

#[test]
fn a_forged_layer_does_not_arrive() {
    let (mut source, mut manifest) = encrypted(&[]);
    // The digest is right and the HMAC is wrong.
    let old = Digest::parse(manifest["layers"][1]["digest"].as_str().unwrap()).unwrap();
    let mut bytes = source.blobs[&old].clone();
    bytes[10] ^= 1;
    let forged = source.add_blob(&bytes, ENCRYPTED);
    manifest["layers"][1]["digest"] = forged.digest.to_string().into();
    source.add_document(manifest.to_string().as_bytes(), MediaType::OCI_MANIFEST.as_str());
    let destination = MemoryDestination::new();
    let error = copy(&source, &destination, decrypting("p256.pkcs8.pem")).unwrap_err();
    assert!(message(&error).contains("HMAC differs"), "{}", message(&error));
    destination.assert_no_image();
}

#[test]
fn formats_without_encryption_are_refused() {
    let source = MemorySource::of_image(&image("amd64"));
    let destination = MemoryDestination::new();
    let mut docker = encrypting(&[]);
    docker.format = Some(ManifestFormat::Schema2);
    let error = copy(&source, &destination, docker).unwrap_err();
    assert!(message(&error).contains("only OCI manifests have encrypted layers"), "{}", message(&error));
    let mut fixed = encrypting(&[]);
    fixed.preserve_digests = true;
    let error = copy(&source, &destination, fixed).unwrap_err();
    assert!(message(&error).contains("would be encrypted"), "{}", message(&error));
    let mut docker_only = MemoryDestination::new();
    docker_only.accepts.documents = vec![MediaType::DOCKER_MANIFEST];
    copy(&source, &docker_only, encrypting(&[])).unwrap_err();
    destination.assert_untouched();
    docker_only.assert_untouched();
}

#[test]
fn an_image_of_docker_becomes_an_oci_image() {
    let destination = MemoryDestination::new();
    copy(&MemorySource::of_image(&plain(Format::Docker)), &destination, encrypting(&[])).unwrap();
    let (_, media_type, manifest) = destination.top();
    assert_eq!((media_type, types(&manifest)), (MediaType::OCI_MANIFEST, vec![ENCRYPTED, ENCRYPTED]));
    let back = MemoryDestination::new();
    copy(&source_of(&destination), &back, decrypting("p256.pkcs8.pem")).unwrap();
    assert_eq!(types(&back.top().2), [GZIP, GZIP]);
}

#[test]
fn layers_are_compressed_before_their_encryption() {
    let zstd = Some(Compression { target: Target::ZstdChunked { level: None }, force: false });
    let destination = MemoryDestination::new();
    let mut options = encrypting(&[-1]);
    options.compression = zstd;
    copy(&MemorySource::of_image(&image("amd64")), &destination, options).unwrap();
    let manifest = destination.top().2;
    let encrypted = "application/vnd.oci.image.layer.v1.tar+zstd+encrypted";
    assert_eq!(types(&manifest), ["application/vnd.oci.image.layer.v1.tar+zstd", encrypted]);
    let names: Vec<&String> = manifest["layers"][1]["annotations"].as_object().unwrap().keys().collect();
    assert_eq!(names, ANNOTATIONS, "the table of contents could not be read");

    let back = MemoryDestination::new();
    let gzip = Some(Compression { target: Target::Gzip { level: None }, force: false });
    let mut options = decrypting("p256.pkcs8.pem");
    options.compression = gzip;
    copy(&source_of(&destination), &back, options).unwrap();
    assert_eq!(types(&back.top().2), [GZIP, GZIP], "the diff ids are checked on the way");
}
