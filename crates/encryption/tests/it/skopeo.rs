//! skopeo decrypts what this crate encrypts, and this crate decrypts what skopeo encrypts.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sha2_of_keys::{Digest as _, Sha256};
use vmroot_encryption::DecryptionKeys;
use vmroot_testkit::skip;

use crate::{Annotations, decrypt, encrypt, file, path, recipients};

/// The recipients in the notation of skopeo, and the files that decrypt for each.
const FORMS: [(&str, &[&str]); 9] = [
    ("jwe:rsa.pub.pem", &["rsa.pkcs8.pem"]),
    ("jwe:rsa.oaep256.jwk", &["rsa.private.jwk"]),
    ("jwe:p256.pub.pem", &["p256.pkcs8.pem"]),
    ("jwe:p384.pub.pem", &["p384.pkcs8.pem"]),
    ("jwe:p521.pub.pem", &["p521.pkcs8.pem"]),
    ("jwe:p256.a128kw.jwk", &["p256.private.jwk"]),
    ("jwe:p256.a192kw.jwk", &["p256.private.jwk"]),
    ("pkcs7:rsa.crt.pem", &["rsa.pkcs8.pem", "rsa.crt.pem"]),
    ("pgp:ann@example.org", &["ann.secret.pgp"]),
];

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ENCRYPTED: &str = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";

fn blob(layout: &Path, digest: &str) -> std::path::PathBuf {
    layout.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
}

fn put(layout: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    std::fs::write(blob(layout, &digest), bytes).unwrap();
    json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len() })
}

/// Writes an OCI layout with one image of one layer.
fn write_layout(layout: &Path, media_type: &str, bytes: &[u8], annotations: &Annotations) {
    let diff_id = format!("sha256:{}", "0".repeat(64));
    let config = json!({"architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]}});
    let config = put(layout, "application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let mut layer = put(layout, media_type, bytes);
    if !annotations.is_empty() {
        layer["annotations"] = json!(annotations);
    }
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let document = json!({"schemaVersion": 2, "mediaType": manifest, "config": config, "layers": [layer]});
    let mut entry = put(layout, manifest, document.to_string().as_bytes());
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
    std::fs::write(layout.join("index.json"), json!({"schemaVersion": 2, "manifests": [entry]}).to_string()).unwrap();
    std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

/// Returns the layer of a layout's image: its descriptor and its bytes.
fn read_layout(layout: &Path) -> (Value, Vec<u8>) {
    let index: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let manifest = std::fs::read(blob(layout, index["manifests"][0]["digest"].as_str().unwrap())).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let layer = manifest["layers"][0].clone();
    let bytes = std::fs::read(blob(layout, layer["digest"].as_str().unwrap())).unwrap();
    (layer, bytes)
}

/// A directory with the keyring that skopeo asks gpg for. Debian 12's skopeo does not read one with Ed25519 keys.
fn gnupg_home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let mut import = Command::new("gpg");
    import.env("GNUPGHOME", home.path()).args(["--batch", "-q", "--import"]).arg(path("ann.asc"));
    let status = import.stderr(std::process::Stdio::null()).status().unwrap();
    assert!(status.success());
    home
}

fn skopeo(home: &Path, arguments: &[String], from: &Path, to: &Path) {
    let mut command = Command::new("skopeo");
    command.env("GNUPGHOME", home).args(["copy", "-q", "--insecure-policy"]).args(arguments);
    command.args([format!("oci:{}:v1", from.display()), format!("oci:{}:v1", to.display())]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn is_missing() -> bool {
    skip::needs_program("skopeo") || skip::needs_program("gpg")
}

#[test]
fn skopeo_encrypts() {
    if is_missing() {
        return;
    }
    let (home, plain) = (gnupg_home(), gzipped(b"a layer that skopeo encrypts"));
    // Encryption for a JWK of an elliptic curve needs a newer version than Debian 12 has.
    let supported = || FORMS.iter().map(|(recipient, _)| *recipient).filter(|it| !it.starts_with("jwe:p256.a1"));
    let mut all: Vec<Vec<&str>> = supported().map(|recipient| vec![recipient]).collect();
    all.push(supported().collect());
    for recipients in &all {
        let directory = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| directory.path().join(name));
        write_layout(&from, LAYER, &plain, &Annotations::new());
        let options = recipients.iter().map(|recipient| match recipient.split_once(':') {
            Some(("pgp", _)) | None => format!("--encryption-key={recipient}"),
            Some((scheme, file)) => format!("--encryption-key={scheme}:{}", path(file).display()),
        });
        skopeo(home.path(), &options.collect::<Vec<_>>(), &from, &to);
        let (layer, ciphertext) = read_layout(&to);
        assert_eq!(layer["mediaType"], ENCRYPTED);
        assert_ne!(ciphertext, plain);
        let annotations: Annotations = serde_json::from_value(layer["annotations"].clone()).unwrap();
        for (_, files) in FORMS.iter().filter(|(recipient, _)| recipients.contains(recipient)) {
            let mut keys = DecryptionKeys::new();
            for name in *files {
                keys.add(&file(name), None).unwrap();
            }
            assert_eq!(decrypt(&ciphertext, &annotations, &keys).unwrap(), plain, "{recipients:?} {files:?}");
        }
    }
}

#[test]
fn skopeo_decrypts() {
    if is_missing() {
        return;
    }
    let (home, plain) = (gnupg_home(), gzipped(b"a layer that skopeo decrypts"));
    let all: Vec<&str> = FORMS.iter().map(|(recipient, _)| *recipient).collect();
    for (recipient, files) in FORMS {
        for recipients in [recipients(&[recipient]), recipients(&all)] {
            let directory = tempfile::tempdir().unwrap();
            let [from, to] = ["from", "to"].map(|name| directory.path().join(name));
            let (ciphertext, mut annotations) = encrypt(&plain, &recipients);
            annotations.insert("other".to_owned(), "kept".to_owned());
            write_layout(&from, ENCRYPTED, &ciphertext, &annotations);
            let options: Vec<_> = files.iter().map(|it| format!("--decryption-key={}", path(it).display())).collect();
            skopeo(home.path(), &options, &from, &to);
            let (layer, decrypted) = read_layout(&to);
            assert_eq!((&layer["mediaType"], &decrypted), (&json!(LAYER), &plain), "{recipient}");
        }
    }
}

/// Returns a gzip stream, which skopeo does not compress again.
fn gzipped(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
