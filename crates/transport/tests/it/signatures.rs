//! The places of signatures in registries: lookasides, the registry's own storage, attachments and bundles.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use vmroot_errors::ErrorKind;
use vmroot_model::{Descriptor, Digest, MediaType, Reference};
use vmroot_registry::{
    Client, ClientOptions, Credential, FixedCredential, Lookaside, SignatureLocations, SignaturePlaces,
};
use vmroot_signatures::{SIGNATURES_LIMIT, SIGSTORE_SIGNATURE_TYPE, Signature};
use vmroot_testkit::registry::{Features, Registry};
use vmroot_transport::{
    Error, ImageDestination as _, ImageSource as _, ManifestPlace, RegistryDestination, RegistryPlace, RegistrySource,
};

const MANIFEST: &[u8] = br#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},"layers":[]}"#;

/// A server that answers by its paths, and keeps the requests with their headers.
struct Server {
    host: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answers: impl Fn(&str) -> Option<(Vec<u8>, &'static str)> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let request: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let path = request.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
                kept.lock().unwrap().push(request.join("\n"));
                let (status, body, header) = match answers(&path) {
                    Some((body, header)) => ("200 OK", body, header),
                    None => ("404 Not Found", Vec::new(), ""),
                };
                let head =
                    format!("HTTP/1.1 {status}\r\n{header}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                // The client may have closed the connection.
                let _ = stream.write_all(&[head.as_bytes(), &body].concat());
            }
        });
        Self { host, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn client() -> Client {
    let credential = Credential::Password { user: "user".to_owned(), password: "secret".to_owned() };
    let credentials = Arc::new(FixedCredential(credential));
    Client::new(ClientOptions { retries: 0, credentials, ..ClientOptions::default() }).unwrap()
}

fn locations(lookaside: &str, attachments: bool) -> Arc<dyn SignaturePlaces> {
    let lookaside = Lookaside::parse(lookaside).unwrap();
    Arc::new(SignatureLocations { staging: lookaside.clone(), lookaside, attachments })
}

fn source(reference: &Reference, places: Arc<dyn SignaturePlaces>) -> RegistrySource {
    let place = RegistryPlace::Repository { client: client(), reference: reference.clone(), signatures: Some(places) };
    RegistrySource::at_places(reference.clone(), vec![place])
}

fn reference(registry: &str) -> Reference {
    Reference::parse(&format!("{registry}/team/app:v1")).unwrap()
}

pub(crate) fn simple(text: &str) -> Signature {
    Signature::Simple([&[0xa3], text.as_bytes()].concat())
}

pub(crate) fn sigstore(text: &str) -> Signature {
    let annotations = BTreeMap::from([("dev.cosignproject.cosign/signature".to_owned(), text.to_owned())]);
    Signature::Sigstore {
        mime_type: SIGSTORE_SIGNATURE_TYPE.to_owned(),
        payload: text.as_bytes().to_vec(),
        annotations,
    }
}

#[test]
fn a_lookaside_server_gets_no_credentials() {
    let digest = Digest::of(MANIFEST);
    let base = format!("/sigs/team/app@sha256={}", digest.hex());
    let server = Server::start(move |path| {
        let number = path.strip_prefix(&format!("{base}/signature-"))?;
        matches!(number, "1" | "2").then(|| (simple(number).to_stored(), ""))
    });
    let registry = Registry::start();
    let source = source(&reference(&registry.host()), locations(&format!("http://{}/sigs/", server.host), false));
    assert_eq!(source.signatures(&digest).unwrap(), [simple("1"), simple("2")]);
    let requests = server.requests();
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert!(!requests.iter().any(|request| request.to_lowercase().contains("authorization")), "{requests:?}");
}

#[test]
fn a_lookaside_without_an_end_is_an_error() {
    let server = Server::start(|_| Some((b"<html>".to_vec(), "")));
    let registry = Registry::start();
    let source = source(&reference(&registry.host()), locations(&format!("http://{}", server.host), false));
    let error = source.signatures(&Digest::of(MANIFEST)).unwrap_err();
    assert!(matches!(error, Error::TooManySignatures { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert_eq!(server.requests().len(), SIGNATURES_LIMIT + 1);
}

/// The registry's own storage replaces the lookaside.
#[test]
fn signatures_of_the_registry_itself_are_read() {
    use base64::Engine as _;

    let digest = Digest::of(MANIFEST);
    let content = base64::engine::general_purpose::STANDARD.encode([0xa3, 1]);
    let list = format!(
        r#"{{"signatures":[{{"schemaVersion":2,"name":"{digest}@a","type":"atomic","content":"{content}"}},
        {{"schemaVersion":1,"name":"x","type":"atomic","content":"AA=="}},{{"schemaVersion":2,"type":"other","content":"AA=="}}]}}"#
    );
    let path = format!("/extensions/v2/team/app/signatures/{digest}");
    let server = Server::start(move |asked| match asked {
        "/v2/" => Some((b"{}".to_vec(), "X-Registry-Supports-Signatures: 1\r\n")),
        asked if asked == path => Some((list.clone().into_bytes(), "")),
        _ => None,
    });
    let source = source(&reference(&server.host), locations("file:///nonexistent", false));
    assert_eq!(source.signatures(&digest).unwrap(), [Signature::Simple(vec![0xa3, 1])]);
    source.signatures(&digest).unwrap();
    let asked = |path: &str| server.requests().iter().filter(|request| request.contains(path)).count();
    assert_eq!((asked("GET /v2/ "), asked("GET /extensions/")), (1, 2));
}

#[test]
fn lookasides_and_attachments_are_written_and_read() {
    let (registry, directory) = (Registry::start(), tempfile::tempdir().unwrap());
    let (reference, digest) = (reference(&registry.host()), Digest::of(MANIFEST));
    let places = locations(&format!("file://{}", directory.path().display()), true);
    let destination = RegistryDestination::new(client(), reference.clone()).with_signatures(Arc::clone(&places));
    let put = |signatures: &[Signature]| destination.put_signatures(&digest, ManifestPlace::Top, signatures).unwrap();
    put(&[simple("a"), sigstore("x")]);
    // Those that are there stay, and none is there twice.
    put(&[simple("b"), simple("a"), sigstore("y"), sigstore("x")]);
    let expected = [simple("a"), simple("b"), sigstore("x"), sigstore("y")];
    assert_eq!(source(&reference, places).signatures(&digest).unwrap(), expected);
    let (_, manifest) = registry.manifest("team/app", &format!("sha256-{}.sig", digest.hex())).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let config = Digest::parse(manifest["config"]["digest"].as_str().unwrap()).unwrap();
    let config = registry.blob("team/app", &config).unwrap().reader(0).unwrap();
    let config: serde_json::Value = serde_json::from_reader(config).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2, "{config}");
    // Attachments that are off are neither read nor written.
    let off = locations(&format!("file://{}", directory.path().display()), false);
    assert_eq!(source(&reference, Arc::clone(&off)).signatures(&digest).unwrap(), expected[..2]);
    let destination = RegistryDestination::new(client(), reference.clone()).with_signatures(off);
    let error = destination.put_signatures(&digest, ManifestPlace::Top, &[sigstore("z")]).unwrap_err();
    assert!(error.to_string().contains("use-sigstore-attachments"), "{error}");
    let server = locations("http://127.0.0.1:9/", false);
    let destination = RegistryDestination::new(client(), reference).with_signatures(server);
    let error = destination.put_signatures(&digest, ManifestPlace::Top, &[simple("z")]).unwrap_err();
    assert!(matches!(error, Error::CannotHoldSignatures { .. } | Error::Registry(_)), "{error}");
}

#[test]
fn bundles_are_found_as_referrers_and_by_their_tag() {
    for referrers in [true, false] {
        let registry = Registry::start();
        registry.configure(Features { referrers, ..Features::default() });
        let reference = reference(&registry.host());
        registry.put_manifest("team/app", Some("v1"), "application/vnd.oci.image.manifest.v1+json", MANIFEST);
        let subject = Descriptor::of(MediaType::OCI_MANIFEST, MANIFEST);
        let destination = RegistryDestination::new(client(), reference.clone());
        let first = destination.put_bundle(&subject, b"{\"a\":1}", "https://example.com/a").unwrap();
        destination.put_bundle(&subject, b"{\"b\":2}", "https://example.com/b").unwrap();
        // Another document about the image is no bundle.
        let other = serde_json::json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/spdx+json", "layers": [], "subject": subject,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "digest": Digest::of(b"{}")},
        });
        let other = other.to_string().into_bytes();
        destination.put_manifest(&other, &MediaType::OCI_MANIFEST, ManifestPlace::Referrer).unwrap();
        let source = RegistrySource::new(client(), reference);
        let bundles = source.bundles(&subject.digest).unwrap();
        let bytes: Vec<&[u8]> = bundles.iter().map(|bundle| &*bundle.bytes).collect();
        assert!(bytes.contains(&&b"{\"a\":1}"[..]) && bytes.len() == 2, "{referrers}: {bundles:?}");
        assert!(bundles.iter().any(|bundle| bundle.manifest == first));
        assert_eq!(source.bundles(&Digest::of(b"other")).unwrap(), []);
        // A bundle whose blob is gone does not hide the other one.
        registry.remove_blob(&Digest::of(b"{\"a\":1}"));
        assert_eq!(source.bundles(&subject.digest).unwrap().len(), 1);
    }
}
