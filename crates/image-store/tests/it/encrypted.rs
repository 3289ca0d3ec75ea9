//! Images with encrypted layers. The keys are those of the crate `encryption`.

use std::io::Read as _;
use std::sync::Arc;

use serde_json::Value;
use vmroot_encryption::{DecryptionKeys, Encrypting, Recipients};
use vmroot_errors::ErrorKind;
use vmroot_image_store::{Error, PullPolicy, SaveFormat, SaveOptions, Store, StoreOptions};
use vmroot_model::{Digest, Platform, Reference};
use vmroot_testkit::image::{Image as BuiltImage, ImageBuilder, IndexBuilder};

use crate::fixture::{Fixture, amd64, builder, name_in, no_progress, request, with_layers};

/// Returns the keys of a file of the crate `encryption`.
fn keys(name: &str) -> Arc<DecryptionKeys> {
    let mut keys = DecryptionKeys::new();
    keys.add(&key(name), None).unwrap();
    Arc::new(keys)
}

fn key(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../encryption/tests/keys/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn with_key(name: &str) -> Fixture {
    Fixture::with(|options| options.decryption_keys = keys(name))
}

/// Returns an image whose layers are encrypted. `change` changes the ciphertexts.
fn encrypted(change: impl Fn(&mut Vec<u8>)) -> BuiltImage {
    encrypt(builder("secret").build(), "p256.pub.pem", change)
}

/// Encrypts the layers of an image for the public key in a file.
fn encrypt(mut image: BuiltImage, recipient: &str, change: impl Fn(&mut Vec<u8>)) -> BuiltImage {
    let mut recipients = Recipients::new();
    recipients.add_jwe(&key(recipient)).unwrap();
    let mut manifest: Value = serde_json::from_slice(&image.manifest.bytes).unwrap();
    for (number, layer) in image.layers.iter_mut().enumerate() {
        let mut encrypting = Encrypting::new(&layer.bytes[..]);
        let mut ciphertext = Vec::new();
        encrypting.read_to_end(&mut ciphertext).unwrap();
        let annotations = encrypting.finish(&recipients).unwrap().annotations;
        change(&mut ciphertext);
        layer.media_type = format!("{}+encrypted", layer.media_type);
        layer.digest = Digest::of(&ciphertext);
        layer.bytes = ciphertext;
        manifest["layers"][number] = serde_json::json!({
            "mediaType": layer.media_type,
            "digest": layer.digest.to_string(),
            "size": layer.bytes.len(),
            "annotations": annotations,
        });
    }
    image.manifest.bytes = serde_json::to_vec(&manifest).unwrap();
    image.manifest.digest = Digest::of(&image.manifest.bytes);
    image
}

fn serve(fixture: &Fixture) -> (BuiltImage, Reference) {
    let image = encrypted(|_| {});
    let reference = fixture.serve(&image, "v1");
    (image, reference)
}

#[test]
fn a_pull_decrypts_and_keeps_the_ciphertext() {
    let fixture = with_key("p256.pkcs8.pem");
    let (built, reference) = serve(&fixture);
    let image = fixture.pull(&reference).unwrap();
    assert!(image.record().is_encrypted());
    assert_eq!(name_in(&fixture.store, &image), "secret");
    for layer in &built.layers {
        assert_eq!(std::fs::read(fixture.blob(&layer.digest)).unwrap(), layer.bytes);
    }
    // No blob has the plain bytes.
    let plain = builder("secret").build();
    for layer in &plain.layers {
        assert!(!fixture.blob(&layer.digest).exists() && !fixture.blob(&layer.diff_id).exists());
    }
    assert_eq!(fixture.verify(), []);
}

#[test]
fn a_pull_without_a_key_fails_before_it_fetches_a_layer() {
    for (fixture, is_wrong) in [(Fixture::new(), false), (with_key("rsa.pkcs8.pem"), true)] {
        let (built, reference) = serve(&fixture);
        let error = fixture.pull(&reference).unwrap_err();
        let source = match error {
            Error::Encrypted { source, .. } => *source,
            other => panic!("{other:?}"),
        };
        match is_wrong {
            true => assert!(matches!(source, vmroot_encryption::Error::NotDecryptable { .. }), "{source:?}"),
            false => assert!(matches!(source, vmroot_encryption::Error::NoKey { .. }), "{source:?}"),
        }
        assert!(built.layers.iter().all(|layer| !fixture.blob(&layer.digest).exists()));
        assert!(fixture.store.images().unwrap().is_empty());
    }
}

/// The digest of the ciphertext is right, and its HMAC is wrong.
#[test]
fn a_forged_layer_is_not_decoded() {
    let fixture = with_key("p256.pkcs8.pem");
    for at in [0, 1000] {
        let image = encrypted(|bytes| bytes[at] ^= 1);
        let reference = fixture.serve(&image, "forged");
        let error = fixture.pull(&reference).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity);
        let Error::Encrypted { source, .. } = error else { panic!("{error:?}") };
        assert!(matches!(*source, vmroot_encryption::Error::WrongHmac));
        assert!(fixture.store.images().unwrap().is_empty());
        assert!(image.layers.iter().all(|layer| !fixture.layer(&layer.diff_id, "contents").exists()));
    }
}

/// The ciphertext has its HMAC, and is another layer than the config says.
#[test]
fn a_layer_with_another_diff_id_is_an_error() {
    let fixture = with_key("p256.pkcs8.pem");
    let mut image = encrypted(|_| {});
    let mut manifest: Value = serde_json::from_slice(&image.manifest.bytes).unwrap();
    manifest["layers"].as_array_mut().unwrap().swap(0, 1);
    image.manifest.bytes = serde_json::to_vec(&manifest).unwrap();
    image.manifest.digest = Digest::of(&image.manifest.bytes);
    let error = fixture.pull(&fixture.serve(&image, "swapped")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error:?}");
    assert!(fixture.store.images().unwrap().is_empty());
}

/// The key must fit the image that is used, not any image of the list (CVE-2022-24778).
#[test]
fn the_key_of_one_platform_is_not_that_of_another() {
    let fixture = with_key("p256.pkcs8.pem");
    let arm64 = with_layers(ImageBuilder::new().platform("linux/arm64"), "arm64").build();
    let images = [encrypt(arm64, "p256.pub.pem", |_| {}), encrypt(builder("amd64").build(), "rsa.pub.pem", |_| {})];
    let index = images.into_iter().fold(IndexBuilder::new(), |index, image| index.image(image)).build();
    let reference = fixture.serve_index(&index, "list");
    assert!(matches!(fixture.pull(&reference), Err(Error::Encrypted { .. })));
    let mut other = request(&reference, PullPolicy::Always);
    other.platform = Platform::parse("linux/arm64").unwrap();
    let image = fixture.pull_as(&other).unwrap();
    assert_eq!(name_in(&fixture.store, &image), "arm64");
    assert!(matches!(fixture.pull(&reference), Err(Error::Encrypted { .. })));
}

#[test]
fn later_uses_need_no_key_and_repairs_do() {
    let fixture = with_key("p256.pkcs8.pem");
    let (built, reference) = serve(&fixture);
    fixture.pull(&reference).unwrap();
    let other = fixture.another();
    let missing = request(&reference, PullPolicy::Missing);
    let image = other.pull(&fixture.source(&reference), &missing, &no_progress()).unwrap();
    assert_eq!(name_in(&other, &image), "secret");

    let contents = fixture.layer(&built.layers[1].diff_id, "contents");
    std::fs::remove_file(&contents).unwrap();
    let findings = other.repair(&fixture, &no_progress()).unwrap().findings;
    assert!(!contents.exists(), "{findings:?}");
    fixture.repair();
    assert!(contents.exists());
    assert_eq!(fixture.verify(), []);
}

#[test]
fn archives_have_the_ciphertext() {
    let fixture = with_key("p256.pkcs8.pem");
    let (built, reference) = serve(&fixture);
    fixture.pull(&reference).unwrap();
    let save = |format| {
        let mut archive = Vec::new();
        let options = SaveOptions { format, ..SaveOptions::default() };
        fixture.store.save(&[reference.to_string()], &options, &mut archive, &no_progress()).map(|()| archive)
    };
    let plain = builder("secret").build();
    let contains = |archive: &[u8], bytes: &[u8]| archive.windows(64).any(|window| window == &bytes[100..164]);
    for format in [SaveFormat::OciArchive, SaveFormat::DockerArchive] {
        let archive = save(format).unwrap();
        assert!(contains(&archive, &built.layers[1].bytes) && !contains(&archive, &plain.layers[1].bytes));
    }
    assert!(matches!(save(SaveFormat::DockerArchiveV24), Err(Error::SaveEncrypted { .. })));
}

#[test]
fn others_do_not_use_what_a_shared_cache_has_decrypted() {
    let theirs = with_key("p256.pkcs8.pem");
    let (_, reference) = serve(&theirs);
    theirs.pull(&reference).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut options = StoreOptions::new(directory.path());
    options.shared = vec![theirs.cache().to_owned()];
    let own = Store::open(options.clone()).unwrap();
    assert!(own.images().unwrap().is_empty());
    let pull = |store: &Store| {
        store.pull(&theirs.source(&reference), &request(&reference, PullPolicy::Missing), &no_progress())
    };
    assert!(matches!(pull(&own), Err(Error::Encrypted { .. })));
    // With a key, the ciphertext of the shared cache is used.
    options.decryption_keys = keys("p256.pkcs8.pem");
    let own = Store::open(options).unwrap();
    let image = pull(&own).unwrap();
    assert_eq!(name_in(&own, &image), "secret");
    assert_eq!(image.record().platform, amd64());
}
