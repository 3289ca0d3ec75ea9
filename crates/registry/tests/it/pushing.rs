//! Existence and mounting of blobs, pushing and deleting of manifests.

use vmroot_errors::ErrorKind;
use vmroot_model::{Descriptor, Digest, MediaType, Reference};
use vmroot_registry::{Client, Error, PushedManifest};
use vmroot_testkit::registry::{Fault, Features, Registry, Rule};

use crate::fixture::{BLOBS, Fixture, MANIFEST, MANIFEST_TYPE, MANIFESTS, NAME, assert_message, client, pattern};
use crate::uploaded::Blob;

const UPLOADS: &str = "/blobs/uploads/";

fn at(registry: &Registry, name: &str) -> Reference {
    Reference::parse(&format!("{}/{name}", registry.host())).unwrap()
}

fn put(client: &Client, registry: &Registry, name: &str) -> Result<PushedManifest, Error> {
    client.put_manifest(&at(registry, NAME), name, MANIFEST, &MediaType::OCI_MANIFEST)
}

fn status(status: u16, body: &str) -> Fault {
    Fault::Status(status, vec![], body.to_owned())
}

#[test]
fn the_existence_and_size_of_blobs() {
    let fixture = Fixture::new();
    let client = client();
    let digest = fixture.layer.digest;
    assert_eq!(client.has_blob(&fixture.reference(), &digest).unwrap(), Some(100_000));
    assert_eq!(client.has_blob(&fixture.reference(), &Digest::of(b"missing")).unwrap(), None);
    assert!(fixture.requests(BLOBS).iter().all(|request| request.method == "HEAD"));

    // Registries that do not state the length for HEAD, and then those that ignore ranges.
    fixture
        .registry
        .misbehave(Rule::on(BLOBS).method("HEAD").fault(Fault::Chunked).fault(Fault::WithoutHeader("Content-Length")));
    assert_eq!(client.has_blob(&fixture.reference(), &digest).unwrap(), Some(100_000));
    assert_eq!(fixture.ranges().pop().unwrap().as_deref(), Some("bytes=0-0"));
    fixture.registry.misbehave(Rule::on(BLOBS).method("GET").fault(Fault::IgnoreRange));
    assert_eq!(client.has_blob(&fixture.reference(), &digest).unwrap(), Some(100_000));
    let empty = fixture.registry.put_blob(Vec::new());
    fixture.registry.behave();
    assert_eq!(client.has_blob(&fixture.reference(), &empty).unwrap(), Some(0));

    fixture.registry.misbehave(Rule::on(BLOBS).times(2).fault(status(503, "")));
    assert_eq!(client.has_blob(&fixture.reference(), &digest).unwrap(), Some(100_000));
    fixture.registry.misbehave(Rule::on(BLOBS).fault(status(500, "")));
    assert_message(client.has_blob(&fixture.reference(), &digest), &["500"]);
}

#[test]
fn storage_may_serve_get_requests_only() {
    let fixture = Fixture::new();
    let storage = Registry::start();
    storage.put_blob(fixture.bytes.clone());
    storage.misbehave(Rule::on("").method("HEAD").fault(status(403, "SignatureDoesNotMatch")));
    fixture.registry.misbehave(Rule::on(BLOBS).fault(Fault::RedirectTo(storage.url())));
    assert_eq!(client().has_blob(&fixture.reference(), &fixture.layer.digest).unwrap(), Some(100_000));
    storage.misbehave(Rule::on("").fault(status(403, "SignatureDoesNotMatch")));
    let error = client().has_blob(&fixture.reference(), &fixture.layer.digest).unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
}

#[test]
fn blobs_are_mounted_from_another_repository() {
    let registry = Registry::start();
    let client = client();
    client.upload_blob(&at(&registry, "from/here"), &mut Blob::known(b"blob")).unwrap();
    let digest = Digest::of(b"blob");
    let (to, from) = (at(&registry, NAME), at(&registry, "from/here"));
    assert_eq!(client.has_blob(&to, &digest).unwrap(), None);
    assert!(client.mount_blob(&to, &digest, &from).unwrap());
    assert_eq!(client.has_blob(&to, &digest).unwrap(), Some(4));
    let request = registry.requests().into_iter().find(|request| request.path.contains("mount=")).unwrap();
    assert_eq!(request.method, "POST");
    assert_eq!(
        (request.query("mount"), request.query("from")),
        (vec![digest.to_string()], vec!["from/here".to_owned()])
    );
    assert_eq!(request.header("content-length"), Some("0"));
}

#[test]
fn an_upload_instead_of_a_mount_is_deleted() {
    let registry = Registry::start();
    let digest = registry.put_blob(pattern(10));
    let (to, from) = (at(&registry, NAME), at(&registry, "from/here"));
    let fault = || Rule::on("mount=").fault(Fault::NoMount);
    for rules in [vec![fault()], vec![fault(), Rule::on(UPLOADS).fault(Fault::LocationAt(String::new()))]] {
        rules.into_iter().for_each(|rule| registry.misbehave(rule));
        assert!(!client().mount_blob(&to, &digest, &from).unwrap());
        assert_eq!(registry.open_uploads(), 0);
        assert_eq!(registry.requests().pop().unwrap().method, "DELETE");
        registry.behave();
    }
    // A failure of the deletion is ignored.
    registry.misbehave(fault());
    registry.misbehave(Rule::on(UPLOADS).method("DELETE").fault(status(500, "")));
    assert!(!client().mount_blob(&to, &digest, &from).unwrap());
}

#[test]
fn a_refused_mount_is_no_error() {
    let registry = Registry::start();
    let digest = registry.put_blob(pattern(10));
    let (to, from) = (at(&registry, NAME), at(&registry, "from/here"));
    for code in [400, 401, 403, 404, 405] {
        registry.behave();
        registry.misbehave(Rule::on("mount=").fault(status(code, "no")));
        assert!(!client().mount_blob(&to, &digest, &from).unwrap(), "{code}");
    }
    registry.behave();
    registry.misbehave(Rule::on("mount=").fault(status(500, "broken")));
    assert_message(client().mount_blob(&to, &digest, &from), &["500", "broken"]);
    registry.clear_requests();
    let elsewhere = Reference::parse("other.example/x").unwrap();
    assert!(!client().mount_blob(&to, &digest, &elsewhere).unwrap());
    assert_eq!(registry.count(""), 0, "blobs are not mounted across registries");
}

#[test]
fn a_manifest_is_written_byte_for_byte() {
    let registry = Registry::start();
    let client = client();
    let digest = Digest::of(MANIFEST);
    for name in ["v1", &digest.to_string()] {
        let pushed = put(&client, &registry, name).unwrap();
        assert_eq!(pushed, PushedManifest { digest, subject: None });
        assert_eq!(registry.manifest(NAME, name), Some((MANIFEST_TYPE.to_owned(), MANIFEST.to_vec())));
    }
    let request = registry.requests().pop().unwrap();
    assert_eq!((request.method.as_str(), request.header("content-type")), ("PUT", Some(MANIFEST_TYPE)));
    assert_eq!(request.header("content-length"), Some(MANIFEST.len().to_string().as_str()));
}

#[test]
fn failures_of_writing_a_manifest_are_retried() {
    for fault in [status(503, ""), status(429, ""), Fault::Close, Fault::CutRequest(10)] {
        let registry = Registry::start();
        registry.misbehave(Rule::on(MANIFESTS).times(2).fault(fault.clone()));
        put(&client(), &registry, "v1").unwrap();
        assert!(registry.manifest(NAME, "v1").is_some_and(|(_, bytes)| bytes == MANIFEST), "{fault:?}");
        assert_eq!(registry.count(MANIFESTS), 3);
    }
}

#[test]
fn a_manifest_must_have_the_digest_of_its_name_and_of_the_answer() {
    let registry = Registry::start();
    let other = Digest::of(b"other").to_string();
    let error = assert_message(put(&client(), &registry, &other), &[&other]);
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");
    assert_eq!(registry.count(MANIFESTS), 0, "nothing is sent");
    for header in [("Docker-Content-Digest", other.clone()), ("Location", format!("/v2/{NAME}/manifests/{other}"))] {
        let registry = Registry::start();
        registry.misbehave(Rule::on(MANIFESTS).fault(Fault::Header(header.0, header.1.clone())));
        let error = assert_message(put(&client(), &registry, "v1"), &[&other, MANIFESTS]);
        assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");
        // The headers are optional, and may have an algorithm that is not comparable.
        for fault in [
            Fault::WithoutHeader(header.0),
            Fault::Header(header.0, "nonsense".into()),
            Fault::Header(header.0, format!("sha512:{}", "a".repeat(128))),
        ] {
            registry.behave();
            registry.misbehave(Rule::on(MANIFESTS).fault(fault));
            put(&client(), &registry, "v1").unwrap();
        }
    }
}

#[test]
fn names_that_are_no_tags_are_refused() {
    let registry = Registry::start();
    for name in ["", "a/b", "a?b", "-a", "a b", "sha256:12", &"x".repeat(129)] {
        let error = put(&client(), &registry, name).unwrap_err();
        assert!(matches!(error, Error::Option { .. }), "{name}: {error:?}");
    }
    assert_eq!(registry.count(MANIFESTS), 0);
}

#[test]
fn refusals_of_a_form_are_recognised() {
    let answer = |code: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"no","detail":{{}}}}]}}"#);
    for (code, body, refused) in [
        (400, answer("MANIFEST_INVALID"), true),
        (400, answer("TAG_INVALID"), true),
        (400, answer("UNSUPPORTED"), true),
        (415, "no".to_owned(), true),
        (400, answer("MANIFEST_BLOB_UNKNOWN"), false),
        (413, "too large".to_owned(), false),
        (400, "bad".to_owned(), false),
        (403, answer("DENIED"), false),
    ] {
        let registry = Registry::start();
        registry.misbehave(Rule::on(MANIFESTS).fault(status(code, &body)));
        let error = put(&client(), &registry, "v1").unwrap_err();
        assert_eq!(error.is_manifest_refused(), refused, "{code} {body}");
        assert_eq!(registry.count(MANIFESTS), 1, "it is not retried");
    }
    let registry = Registry::start();
    registry.configure(Features { manifest_limit: 10, ..Features::default() });
    let error = assert_message(put(&client(), &registry, "v1"), &["413", "too large"]);
    assert_eq!(error.kind(), ErrorKind::Limit);
    // A manifest whose blobs are missing.
    let layer = serde_json::to_string(&Descriptor::of(MediaType::OCI_LAYER, b"missing")).unwrap();
    let manifest = format!(r#"{{"schemaVersion":2,"config":{layer},"layers":[]}}"#);
    let put = client().put_manifest(&at(&Registry::start(), NAME), "v1", manifest.as_bytes(), &MediaType::OCI_MANIFEST);
    assert!(matches!(put, Err(Error::NotFound { .. })), "{put:?}");
}

#[test]
fn several_tags_are_written_in_one_request_if_possible() {
    let digest = Digest::of(MANIFEST).to_string();
    for (multi_tag, requests) in [(true, 1), (false, 3)] {
        let registry = Registry::start();
        registry.configure(Features { multi_tag, ..Features::default() });
        let reference = at(&registry, NAME);
        let pushed = client().put_manifest_with_tags(&reference, &["v1", "latest"], MANIFEST, &MediaType::OCI_MANIFEST);
        assert_eq!(pushed.unwrap().digest.to_string(), digest);
        assert_eq!(registry.count(MANIFESTS), requests);
        assert_eq!(registry.requests()[1].query("tag"), ["v1", "latest"]);
        for name in ["v1", "latest", &digest] {
            assert!(registry.manifest(NAME, name).is_some(), "{name}");
        }
    }
}

#[test]
fn a_manifest_is_deleted_with_its_tags() {
    let fixture = Fixture::new();
    let client = client();
    client.delete_manifest(&fixture.reference(), &fixture.manifest).unwrap();
    assert!(fixture.registry.manifest(NAME, "latest").is_none());
    let error = client.delete_manifest(&fixture.reference(), &fixture.manifest).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    let request = fixture.requests(MANIFESTS).pop().unwrap();
    assert_eq!(
        (request.method.as_str(), request.path),
        ("DELETE", format!("/v2/{NAME}/manifests/{}", fixture.manifest))
    );
}

#[test]
fn a_tag_is_deleted_alone() {
    let fixture = Fixture::new();
    client().delete_tag(&fixture.reference(), "latest").unwrap();
    assert!(fixture.registry.manifest(NAME, "latest").is_none());
    assert!(fixture.registry.manifest(NAME, &fixture.manifest.to_string()).is_some());
    let error = client().delete_tag(&fixture.reference(), "a/b").unwrap_err();
    assert!(matches!(error, Error::Option { .. }), "{error:?}");
}

#[test]
fn deletion_that_is_not_supported() {
    let fixture = Fixture::new();
    fixture.registry.configure(Features { delete: false, ..Features::default() });
    let deleted = client().delete_manifest(&fixture.reference(), &fixture.manifest);
    let error = assert_message(deleted, &[MANIFESTS, "does not support", "405"]);
    assert!(matches!(error, Error::DeleteUnsupported { .. }), "{error:?}");
}

#[test]
fn digests_are_known_without_the_bytes() {
    let fixture = Fixture::new();
    assert_eq!(client().digest(&fixture.reference()).unwrap(), fixture.manifest);
    assert!(fixture.requests(MANIFESTS).iter().all(|request| request.method == "HEAD"));
    for fault in [
        Fault::WithoutHeader("Docker-Content-Digest"),
        Fault::Header("Docker-Content-Digest", "x:1".into()),
        status(405, ""),
    ] {
        let fixture = Fixture::new();
        fixture.registry.misbehave(Rule::on(MANIFESTS).method("HEAD").fault(fault));
        assert_eq!(client().digest(&fixture.reference()).unwrap(), fixture.manifest);
        assert_eq!(fixture.requests(MANIFESTS).pop().unwrap().method, "GET");
    }
    let gone = at(&fixture.registry, "gone");
    assert!(matches!(client().digest(&gone), Err(Error::NotFound { .. })));

    // The digest that a reference names is not replaced by another one.
    let other = Digest::of(b"other").to_string();
    fixture.registry.misbehave(Rule::on(MANIFESTS).fault(Fault::Header("Docker-Content-Digest", other)));
    let pinned = fixture.reference().with_digest(fixture.manifest);
    assert!(matches!(client().digest(&pinned), Err(Error::DigestMismatch { .. })));
}

#[test]
fn unknown_manifests_have_many_forms() {
    for (code, body) in [
        (404, "404 page not found\n"),
        (404, ""),
        (404, r#"{"errors":[{"code":"UNKNOWN","message":"Not Found"}]}"#),
        (400, r#"{"errors":[{"code":"UNKNOWN","message":"Not Found"}]}"#),
        (400, r#"{"errors":[{"code":"NOT_FOUND","message":"artifact x not found"}]}"#),
        (400, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#),
        (410, r#"{"errors":[{"code":"NAME_UNKNOWN","message":""}]}"#),
    ] {
        let fixture = Fixture::new().manifests(usize::MAX, status(code, body));
        let error = client().manifest(&fixture.reference()).unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{code} {body}: {error:?}");
    }
    for (code, body) in [
        (400, r#"{"errors":[{"code":"UNKNOWN","message":"broken"}]}"#),
        (401, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
        (400, "MANIFEST_UNKNOWN"),
    ] {
        let fixture = Fixture::new().manifests(usize::MAX, status(code, body));
        let error = client().manifest(&fixture.reference()).unwrap_err();
        assert!(!matches!(error, Error::NotFound { .. }), "{code} {body}: {error:?}");
    }
}

#[test]
fn old_types_of_manifests_are_accepted_last() {
    let fixture = Fixture::new();
    client().manifest(&fixture.reference()).unwrap();
    let accept = fixture.requests(MANIFESTS)[0].header("accept").unwrap().to_owned();
    let types: Vec<&str> = accept.split(", ").collect();
    assert_eq!(types.len(), 6);
    assert_eq!(types[4..], [MediaType::DOCKER_SCHEMA1_SIGNED.as_str(), MediaType::DOCKER_SCHEMA1.as_str()]);
}
