//! Servers that compress responses unless the client forbids it (RFC 9110, section 12.5.3).

use vmroot_registry::Credential;
use vmroot_testkit::registry::{Auth, Bearer, Fault, Registry, Rule};

use crate::fixture::{Fixture, MANIFEST, assert_message, client, client_with};

/// The fault acts like nginx, Cloudflare and other servers in front of a registry: without `Accept-Encoding`, they
/// compress.
#[test]
fn every_request_forbids_compression() {
    let fixture = Fixture::new();
    let store = Registry::start();
    store.put_blob(fixture.bytes.clone());
    fixture.registry.require(Auth::Bearer(Bearer {
        identity_token: Some("id".to_owned()),
        uses: Some(2),
        ..Bearer::default()
    }));
    for registry in [&fixture.registry, &store] {
        registry.misbehave(Rule::on("").fault(Fault::Compress));
    }
    let client = client_with(Credential::IdentityToken("id".to_owned()));
    assert_eq!(client.manifest(&fixture.reference()).unwrap().bytes, MANIFEST);
    client.head_manifest(&fixture.reference()).unwrap();
    assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes);
    assert!(fixture.pull_with(&client, 50_000).unwrap() == fixture.bytes[50_000..]);
    fixture.registry.misbehave(Rule::on("/blobs/").fault(Fault::RedirectTo(store.url())));
    assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes);

    let requests: Vec<_> = fixture.registry.requests().into_iter().chain(store.requests()).collect();
    for part in ["/v2/", "/token", "/manifests/", "/blobs/"] {
        assert!(requests.iter().any(|request| request.path.contains(part)), "{part}");
    }
    for request in requests {
        assert_eq!(request.header("accept-encoding"), Some("identity"), "{} {}", request.method, request.path);
    }
}

#[test]
fn requests_forbid_compression_of_error_bodies() {
    let fixture = Fixture::new();
    let body = r#"{"errors":[{"code":"DENIED","message":"pay first"}]}"#.to_owned();
    let refusal = Rule::on("/manifests/").fault(Fault::Status(403, vec![], body)).fault(Fault::Compress);
    fixture.registry.misbehave(refusal);
    assert_message(client().manifest(&fixture.reference()), &["DENIED: pay first"]);
}

/// Some servers compress in any case. A manifest fetched by tag has no digest that would reveal this.
#[test]
fn the_error_names_an_unrequested_encoding() {
    let fixture = Fixture::new();
    let packed = vec![0x1f, 0x8b, 8, 0, 1, 2, 3];
    fixture.registry.put_manifest(crate::fixture::NAME, Some("latest"), crate::fixture::MANIFEST_TYPE, &packed);
    let encoding = Fault::Header("Content-Encoding", "gzip".to_owned());
    fixture.registry.misbehave(Rule::on("/manifests/").fault(encoding));
    assert_message(
        client().manifest(&fixture.reference()),
        &["/manifests/latest", "Content-Encoding", "gzip", "identity"],
    );

    // A `Content-Encoding` alone does not matter if the bytes are plain.
    let fixture = Fixture::new();
    let encoding = Fault::Header("Content-Encoding", "gzip".to_owned());
    fixture.registry.misbehave(Rule::on("").fault(encoding));
    assert_eq!(client().manifest(&fixture.reference()).unwrap().bytes, MANIFEST);
    fixture.assert_pulls();
}
