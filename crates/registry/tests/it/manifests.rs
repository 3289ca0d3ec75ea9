//! Requests for manifests, and their results.

use vmroot_model::{Digest, Reference};
use vmroot_registry::{Error, ManifestHead};
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::registry::{Fault, Rule};

use crate::fixture::{Fixture, MANIFEST, MANIFEST_TYPE, MANIFESTS, NAME, assert_message, client};
use crate::secrets::capture_trace;

#[test]
fn a_manifest_is_returned_unchanged() {
    let fixture = Fixture::new().manifests(1, Fault::Header("Content-Type", format!("{MANIFEST_TYPE}; charset=utf-8")));
    let fetched = client().manifest(&fixture.reference()).unwrap();
    assert_eq!(fetched.bytes, MANIFEST);
    assert_eq!(fetched.digest, fixture.manifest);
    assert_eq!(fetched.media_type.unwrap(), format!("{MANIFEST_TYPE}; charset=utf-8"));

    let [request] = &fixture.requests(MANIFESTS)[..] else { panic!() };
    assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/v2/some/name/manifests/latest"));
    let accept = request.header("accept").unwrap();
    for media_type in [
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ] {
        assert!(accept.split(", ").any(|accepted| accepted == media_type), "{accept}");
    }
    assert!(request.header("user-agent").unwrap().starts_with("vmroot/"));
    assert_eq!(request.header("accept-encoding"), Some("identity"), "compression would change the digest");
}

#[test]
fn a_digest_takes_precedence_over_a_tag() {
    let fixture = Fixture::new();
    let text = format!("{}/{NAME}:gone@{}", fixture.registry.host(), fixture.manifest);
    client().manifest(&Reference::parse(&text).unwrap()).unwrap();
    assert!(fixture.requests(MANIFESTS)[0].path.ends_with(&fixture.manifest.to_string()));
}

#[test]
fn missing_manifests_and_blobs_are_not_found() {
    let fixture = Fixture::new();
    let gone = Reference::parse(&format!("{}/{NAME}:gone", fixture.registry.host())).unwrap();
    let error = assert_message(client().manifest(&gone), &["/v2/some/name/manifests/gone", "MANIFEST_UNKNOWN"]);
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    let error = assert_message(client().head_manifest(&gone), &["/v2/some/name/manifests/gone"]);
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");

    fixture.registry.remove_blob(&fixture.layer.digest);
    let error = assert_message(fixture.pull(), &[&fixture.layer.digest.to_string(), "BLOB_UNKNOWN"]);
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}

#[test]
fn a_head_request_returns_the_headers() {
    let fixture = Fixture::new();
    let client = client();
    let head = client.head_manifest(&fixture.reference()).unwrap();
    let expected = ManifestHead {
        media_type: Some(MANIFEST_TYPE.to_owned()),
        digest: Some(Digest::of(MANIFEST)),
        size: Some(MANIFEST.len() as u64),
    };
    assert_eq!(head, expected);
    assert_eq!(fixture.requests(MANIFESTS)[0].method, "HEAD");

    let fixture = fixture.manifests(1, Fault::WithoutHeader("Docker-Content-Digest"));
    assert_eq!(client.head_manifest(&fixture.reference()).unwrap().digest, None);
}

#[test]
fn errors_quote_other_bodies_briefly_and_without_control_characters() {
    let page = format!("<html>\n\u{1b}[31m{}</html>", "long ".repeat(1000));
    let fixture = Fixture::new().manifests(1, Fault::Status(404, vec![], page));
    let message = client().manifest(&fixture.reference()).unwrap_err().full_message();
    assert!(message.contains("<html>") && message.len() < 600 && !message.contains('\u{1b}'), "{message}");
}

#[test]
fn warnings_are_logged_once() {
    let fixture = Fixture::new();
    for text in [r#"299 - "this registry \"moves\" soon""#, r#"110 - "stale""#] {
        fixture.registry.misbehave(Rule::on("").fault(Fault::Header("Warning", text.into())));
        let client = client();
        let (_, trace) = capture_trace(|| {
            for _ in 0..3 {
                client.manifest(&fixture.reference()).unwrap();
            }
        });
        let warnings =
            trace.lines().filter(|line| line.contains("WARN") && line.contains("the registry warns")).count();
        assert_eq!(warnings, usize::from(text.starts_with("299")), "{trace}");
        assert_eq!(trace.contains(r#"this registry "moves" soon"#), text.starts_with("299"));
    }
}
