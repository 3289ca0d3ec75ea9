//! Tests of pushing to Debian's `docker-registry`, with skopeo as the judge.

use std::io::{self, Read as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tempfile::TempDir;
use vmroot_model::{Descriptor, Digest, MediaType, Reference};
use vmroot_registry::{Client, Error, ReferrerChange};

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
fn lists_in_pages_and_deletion() {
    if is_missing_one_of(&["docker-registry"]) {
        return;
    }
    // Docker's registry lists 100 repositories on a page.
    let registry = DockerRegistry::with_deletion();
    let client = client();
    let index = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let mut expected = vec!["team/app0".to_owned()];
    let first = Reference::parse(&format!("{}/team/app0", registry.host)).unwrap();
    client.upload_blob(&first, &mut Blob::known(b"blob")).unwrap();
    for number in 100..230 {
        let name = format!("team/app{number}");
        let reference = Reference::parse(&format!("{}/{name}", registry.host)).unwrap();
        // A repository without blobs is not listed.
        assert!(client.mount_blob(&reference, &Digest::of(b"blob"), &first).unwrap());
        client.put_manifest(&reference, "v1", index, &MediaType::OCI_INDEX).unwrap();
        expected.push(name);
    }
    assert_eq!(client.repositories(&registry.host).unwrap(), expected);

    let reference = Reference::parse(&format!("{}/team/app100:v1", registry.host)).unwrap();
    let tags = ["v2", "v3"];
    let pushed = client.put_manifest_with_tags(&reference, &tags, index, &MediaType::OCI_INDEX).unwrap();
    assert_eq!(client.tags(&reference).unwrap().tags, ["v1", "v2", "v3"]);
    assert_eq!(client.digest(&reference).unwrap(), pushed.digest);
    assert_eq!(client.referrers(&reference, &pushed.digest, None).unwrap(), []);
    client.delete_manifest(&reference, &pushed.digest).unwrap();
    let error = client.manifest(&reference).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");

    let fixed = DockerRegistry::start(TempDir::new().unwrap(), "", "");
    let reference = Reference::parse(&format!("{}/team/app:v1", fixed.host)).unwrap();
    let pushed = client.put_manifest(&reference, "v1", index, &MediaType::OCI_INDEX).unwrap();
    let error = client.delete_manifest(&reference, &pushed.digest).unwrap_err();
    assert!(matches!(error, Error::DeleteUnsupported { .. }), "{error:?}");
    let error = client.put_manifest(&reference, "v1", b"{}", &MediaType::DOCKER_MANIFEST).unwrap_err();
    assert!(error.is_manifest_refused(), "{error:?}");
}

#[test]
fn the_referrers_of_a_registry_without_their_list() {
    if is_missing_one_of(&["docker-registry"]) {
        return;
    }
    let registry = DockerRegistry::start(TempDir::new().unwrap(), "", "");
    let client = client();
    let reference = push(&client, &registry.host, "team/app");
    let subject = client.digest(&reference).unwrap();
    let config = Descriptor::of(MediaType::OCI_EMPTY, b"{}");
    client.upload_blob(&reference, &mut Blob::known(b"{}")).unwrap();
    let artifact = serde_json::json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST.as_str(), "artifactType": "application/x-sbom",
        "config": config, "layers": [config], "subject": Descriptor::new(MediaType::OCI_MANIFEST, subject, 1),
    });
    let artifact = artifact.to_string().into_bytes();
    let name = Descriptor::of(MediaType::OCI_MANIFEST, &artifact).digest;
    let pushed = client.put_manifest(&reference, &name.to_string(), &artifact, &MediaType::OCI_MANIFEST).unwrap();
    assert_eq!(pushed.subject, None, "this registry does not know subjects");
    let change = ReferrerChange::Add { manifest: &artifact, media_type: &MediaType::OCI_MANIFEST };
    client.update_referrers_fallback(&reference, &subject, change).unwrap();
    let found = client.referrers(&reference, &subject, Some("application/x-sbom")).unwrap();
    assert_eq!(found.iter().map(|it| it.digest).collect::<Vec<_>>(), [name]);
    assert_eq!(client.referrers(&reference, &subject, Some("application/x-other")).unwrap(), []);
}

/// Docker's registry refuses to continue an upload after its connection broke, so the caller restarts it.
#[test]
fn a_broken_upload_can_be_restarted() {
    if is_missing_one_of(&["docker-registry"]) {
        return;
    }
    let registry = DockerRegistry::start(TempDir::new().unwrap(), "", "");
    let proxy = CuttingProxy::start(&registry.host, 2_000_000);
    let reference = Reference::parse(&format!("{}/team/app", proxy.host)).unwrap();
    let bytes = pattern(8_000_000);
    for blob in [Blob::known, Blob::unknown] {
        // A new client has no connection that has sent many bytes already.
        let client = client();
        proxy.cuts.store(1, Ordering::SeqCst);
        let mut restarts = 0;
        while let Err(error) = client.upload_blob(&reference, &mut blob(&bytes)) {
            assert!(error.may_restart_upload(), "{error:?}");
            restarts += 1;
            assert!(restarts < 5);
        }
        assert_eq!(proxy.cuts.load(Ordering::SeqCst), 0, "the connection was cut");
        let direct = Reference::parse(&format!("{}/team/app", registry.host)).unwrap();
        let layer = Descriptor::of(MediaType::OCI_LAYER, &bytes);
        assert!(read(client.resuming_blob(&direct, &layer, 0)).unwrap() == bytes);
    }
}

/// A proxy on loopback that cuts connections after some bytes of requests.
struct CuttingProxy {
    host: String,
    /// The number of connections that are still to be cut.
    cuts: Arc<AtomicUsize>,
}

impl CuttingProxy {
    fn start(upstream: &str, limit: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let cuts = Arc::new(AtomicUsize::new(0));
        let (shared, upstream) = (Arc::clone(&cuts), upstream.to_owned());
        // It ends with the test.
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&upstream).unwrap());
                let answers = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || io::copy(&mut &answers.0, &mut &answers.1));
                let cuts = Arc::clone(&shared);
                thread::spawn(move || {
                    // Errors are ignored: both ends may close.
                    let copied = io::copy(&mut (&client).take(limit), &mut &server).unwrap_or(0);
                    let cut = |left: usize| left.checked_sub(1);
                    if copied == limit && cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, cut).is_err() {
                        let _ = io::copy(&mut &client, &mut &server);
                    }
                    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
                });
            }
        });
        Self { host, cuts }
    }
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
