//! Tests of pushing to Debian's `docker-registry`, with skopeo as the judge.

use std::process::Command;

use tempfile::TempDir;
use vmroot_model::{Descriptor, MediaType, Reference};
use vmroot_registry::Client;

use crate::debian::{DockerRegistry, is_missing_one_of};
use crate::fixture::{client, client_with, password, pattern, read};
use crate::uploaded::Blob;

/// Pushes an image with blobs of each kind. Returns its reference.
fn push(client: &Client, host: &str, name: &str) -> Reference {
    let reference = Reference::parse(&format!("{host}/{name}:v1")).unwrap();
    let config = br#"{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#;
    let large = pattern(5_000_000);
    let larger = pattern(6_000_001);
    let blobs: [(&[u8], Blob); 4] = [
        (config, Blob::known(config)),
        (&large, Blob::known(&large)),
        (&larger, Blob::unknown(&larger)),
        (b"", Blob::unknown(b"")),
    ];
    let mut descriptors = Vec::new();
    for (bytes, mut blob) in blobs {
        let descriptor = Descriptor::of(MediaType::OCI_LAYER, bytes);
        assert_eq!(client.has_blob(&reference, &descriptor.digest).unwrap(), None);
        client.upload_blob(&reference, &mut blob).unwrap();
        assert_eq!(client.has_blob(&reference, &descriptor.digest).unwrap(), Some(bytes.len() as u64));
        assert!(read(client.resuming_blob(&reference, &descriptor, 0)).unwrap() == bytes);
        descriptors.push(descriptor);
    }
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":{}}}"#,
        MediaType::OCI_MANIFEST,
        serde_json::to_string(&Descriptor { media_type: MediaType::OCI_CONFIG, ..descriptors[0].clone() }).unwrap(),
        serde_json::to_string(&descriptors[1..]).unwrap()
    );
    let pushed = client.put_manifest(&reference, "v1", manifest.as_bytes(), &MediaType::OCI_MANIFEST).unwrap();
    assert_eq!(client.manifest(&reference).unwrap().bytes, manifest.as_bytes());
    assert_eq!(client.manifest_by_digest(&reference, &pushed.digest).unwrap().bytes, manifest.as_bytes());
    reference
}

fn inspect(reference: &Reference, arguments: &[&str]) -> serde_json::Value {
    let output = Command::new("skopeo")
        .args(["inspect", "--tls-verify=false"])
        .args(arguments)
        .arg(format!("docker://{reference}"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn over_plain_http() {
    if is_missing_one_of(&["docker-registry", "skopeo"]) {
        return;
    }
    let registry = DockerRegistry::start(TempDir::new().unwrap(), "", "");
    let client = client();
    let reference = push(&client, &registry.host, "team/app");
    assert_eq!(inspect(&reference, &[])["Layers"].as_array().unwrap().len(), 3);
    assert_eq!(client.tags(&reference).unwrap().tags, ["v1"]);
    assert_eq!(client.repositories(&registry.host).unwrap(), ["team/app"]);

    // A mount, and a manifest with the same blobs.
    let other = Reference::parse(&format!("{}/team/copy:v2", registry.host)).unwrap();
    let layer = Descriptor::of(MediaType::OCI_LAYER, &pattern(5_000_000));
    assert!(client.mount_blob(&other, &layer.digest, &reference).unwrap());
    assert_eq!(client.has_blob(&other, &layer.digest).unwrap(), Some(layer.size));
    let missing = Descriptor::of(MediaType::OCI_LAYER, b"not there");
    assert!(!client.mount_blob(&other, &missing.digest, &reference).unwrap());
}

#[test]
fn with_passwords() {
    if is_missing_one_of(&["docker-registry", "skopeo", "htpasswd"]) {
        return;
    }
    let registry = DockerRegistry::with_password();
    let reference = push(&client_with(password("ann", "pass:word")), &registry.host, "team/app");
    inspect(&reference, &["--creds=ann:pass:word"]);
}
