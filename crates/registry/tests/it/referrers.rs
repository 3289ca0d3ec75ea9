//! Lists of referrers, and the fallback tag.

use std::thread;

use serde_json::{Value, json};
use vmroot_model::{Descriptor, Digest, MediaType};
use vmroot_registry::{Error, ReferrerChange};
use vmroot_testkit::registry::{Fault, Features, Rule};

use crate::fixture::{Fixture, MANIFEST, MANIFEST_TYPE, NAME, assert_message, client};

const REFERRERS: &str = "/referrers/";

const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// Returns a manifest with a subject.
fn artifact(subject: &Digest, artifact_type: Option<&str>, note: &str) -> Vec<u8> {
    let empty = Descriptor::of(MediaType::OCI_EMPTY, b"{}");
    let config = Descriptor { media_type: MediaType::new("application/x-config"), ..empty };
    let subject = Descriptor::new(MediaType::OCI_MANIFEST, *subject, MANIFEST.len() as u64);
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": [], "subject": subject,
        "annotations": {"note": note},
    });
    if let Some(artifact_type) = artifact_type {
        manifest["artifactType"] = artifact_type.into();
    }
    manifest.to_string().into_bytes()
}

/// A registry with three artifacts that refer to its manifest.
fn fixture(features: Features) -> (Fixture, Vec<Vec<u8>>) {
    let fixture = Fixture::new();
    fixture.registry.configure(features);
    fixture.registry.put_blob(b"{}".as_slice());
    let artifacts = vec![
        artifact(&fixture.manifest, Some("application/x-sbom"), "1"),
        artifact(&fixture.manifest, Some("application/x-signature"), "2"),
        artifact(&fixture.manifest, None, "3"),
    ];
    (fixture, artifacts)
}

fn digests(descriptors: &[Descriptor]) -> Vec<Digest> {
    let mut digests: Vec<_> = descriptors.iter().map(|descriptor| descriptor.digest).collect();
    digests.sort_by_key(ToString::to_string);
    digests
}

fn digests_of(artifacts: &[Vec<u8>]) -> Vec<Digest> {
    let mut digests: Vec<_> = artifacts.iter().map(|bytes| Digest::of(bytes)).collect();
    digests.sort_by_key(ToString::to_string);
    digests
}

#[test]
fn the_list_of_the_registry() {
    for (filters, page_size) in [(true, usize::MAX), (false, usize::MAX), (true, 1), (false, 2)] {
        let (fixture, artifacts) = fixture(Features { filters, page_size, ..Features::default() });
        let client = client();
        for bytes in &artifacts {
            let pushed = client.put_manifest(
                &fixture.reference(),
                &Digest::of(bytes).to_string(),
                bytes,
                &MediaType::OCI_MANIFEST,
            );
            assert_eq!(pushed.unwrap().subject, Some(fixture.manifest), "the registry updates its list");
        }
        let all = client.referrers(&fixture.reference(), &fixture.manifest, None).unwrap();
        assert_eq!(digests(&all), digests_of(&artifacts));
        assert!(all.iter().all(|descriptor| descriptor.annotation("note").is_some()));
        for (wanted, expected) in
            [("application/x-sbom", Some(0)), ("application/x-config", Some(2)), ("application/x-none", None)]
        {
            let found = client.referrers(&fixture.reference(), &fixture.manifest, Some(wanted)).unwrap();
            let expected: Vec<Digest> =
                expected.map(|number: usize| Digest::of(&artifacts[number])).into_iter().collect();
            assert_eq!(digests(&found), expected, "{wanted}");
        }
        let request = fixture.requests(REFERRERS).into_iter().find(|request| request.path.contains('?')).unwrap();
        assert!(!request.query("artifactType").is_empty() || !request.query("n").is_empty());
        let none = client.referrers(&fixture.reference(), &Digest::of(b"other"), None).unwrap();
        assert_eq!(none, []);
    }
}

#[test]
fn the_fallback_tag() {
    let (fixture, artifacts) = fixture(Features { referrers: false, ..Features::default() });
    let (client, reference, subject) = (client(), fixture.reference(), fixture.manifest);
    assert_eq!(client.referrers(&reference, &subject, None).unwrap(), []);
    for bytes in artifacts.iter().chain(&artifacts) {
        let name = Digest::of(bytes).to_string();
        let pushed = client.put_manifest(&reference, &name, bytes, &MediaType::OCI_MANIFEST).unwrap();
        assert_eq!(pushed.subject, None);
        let change = ReferrerChange::Add { manifest: bytes, media_type: &MediaType::OCI_MANIFEST };
        client.update_referrers_fallback(&reference, &subject, change).unwrap();
    }
    let tag = format!("sha256-{}", subject.hex());
    let (media_type, bytes) = fixture.registry.manifest(NAME, &tag).unwrap();
    assert_eq!(media_type, INDEX_TYPE);
    let index: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 3, "no entry is there twice");
    assert_eq!(index["manifests"][2]["artifactType"], "application/x-config", "the type of the config");
    assert_eq!(index["manifests"][0]["annotations"]["note"], "1");

    let all = client.referrers(&reference, &subject, None).unwrap();
    assert_eq!(digests(&all), digests_of(&artifacts));
    let found = client.referrers(&reference, &subject, Some("application/x-signature")).unwrap();
    assert_eq!(digests(&found), [Digest::of(&artifacts[1])], "the client filters");

    let removed = Digest::of(&artifacts[0]);
    for _ in 0..2 {
        client.update_referrers_fallback(&reference, &subject, ReferrerChange::Remove(removed)).unwrap();
    }
    assert_eq!(digests(&client.referrers(&reference, &subject, None).unwrap()), digests_of(&artifacts[1..]));
}

/// Signatures that cannot be read are not missing signatures.
#[test]
fn a_malformed_list_is_an_error() {
    let list = |content_type: &str| {
        let entry = json!({"mediaType": MANIFEST_TYPE, "digest": "sha999:1234", "size": 5});
        let body = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry]}).to_string();
        Fault::Status(200, vec![("Content-Type", content_type.to_owned())], body)
    };
    for (content_type, is_list) in
        [(INDEX_TYPE, true), (&format!("{INDEX_TYPE}; charset=utf-8"), true), ("text/html", false)]
    {
        let (fixture, _) = fixture(Features::default());
        fixture.registry.misbehave(Rule::on(REFERRERS).fault(list(content_type)));
        let found = client().referrers(&fixture.reference(), &fixture.manifest, None);
        assert_eq!(matches!(found, Err(Error::Malformed { .. })), is_list, "{content_type}: {found:?}");

        fixture.registry.behave();
        fixture.registry.misbehave(Rule::on(REFERRERS).fault(Fault::Status(404, vec![], String::new())));
        let tag = format!("/manifests/sha256-{}", fixture.manifest.hex());
        fixture.registry.misbehave(Rule::on(&tag).fault(list(content_type)));
        let found = client().referrers(&fixture.reference(), &fixture.manifest, None);
        assert_eq!(matches!(found, Err(Error::Malformed { .. })), is_list, "{content_type}: {found:?}");
    }
}

#[test]
fn a_registry_without_the_list_has_many_forms() {
    let page = r#"<html>Welcome</html>"#.to_owned();
    for fault in [
        Fault::Status(404, vec![], "404 page not found".to_owned()),
        Fault::Status(400, vec![], String::new()),
        Fault::Status(405, vec![], String::new()),
        Fault::Status(200, vec![("Content-Type", "text/html".to_owned())], page),
    ] {
        let (fixture, _) = fixture(Features::default());
        fixture.registry.misbehave(Rule::on(REFERRERS).fault(fault));
        let tag = format!("sha256-{}", fixture.manifest.hex());
        assert_eq!(client().referrers(&fixture.reference(), &fixture.manifest, None).unwrap(), []);
        // An entry without a type of artifact: the manifest has it. An entry that occurs twice counts once.
        let bytes = artifact(&fixture.manifest, None, "1");
        fixture.registry.put_manifest(NAME, None, MANIFEST_TYPE, &bytes);
        let entry = Descriptor::of(MediaType::OCI_MANIFEST, &bytes);
        let gone = Descriptor::of(MediaType::OCI_MANIFEST, b"gone");
        let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry, gone, entry]});
        fixture.registry.put_manifest(NAME, Some(&tag), INDEX_TYPE, index.to_string().as_bytes());
        let found = client().referrers(&fixture.reference(), &fixture.manifest, Some("application/x-config")).unwrap();
        assert_eq!(digests(&found), [Digest::of(&bytes)]);
        assert_eq!(client().referrers(&fixture.reference(), &fixture.manifest, None).unwrap().len(), 2);
    }
    for fault in [Fault::Status(403, vec![], String::new()), Fault::Status(500, vec![], String::new())] {
        let (fixture, _) = fixture(Features::default());
        fixture.registry.misbehave(Rule::on(REFERRERS).fault(fault));
        assert!(client().referrers(&fixture.reference(), &fixture.manifest, None).is_err());
    }
}

#[test]
fn a_fallback_tag_that_is_no_index_is_not_changed() {
    let (fixture, artifacts) = fixture(Features { referrers: false, ..Features::default() });
    let tag = format!("sha256-{}", fixture.manifest.hex());
    fixture.registry.put_manifest(NAME, Some(&tag), MANIFEST_TYPE, &artifacts[0]);
    assert_eq!(client().referrers(&fixture.reference(), &fixture.manifest, None).unwrap(), []);
    let change = ReferrerChange::Add { manifest: &artifacts[1], media_type: &MediaType::OCI_MANIFEST };
    let updated = client().update_referrers_fallback(&fixture.reference(), &fixture.manifest, change);
    let error = assert_message(updated, &[&tag, "not a list of referrers"]);
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
    assert_eq!(fixture.registry.manifest(NAME, &tag).unwrap().1, artifacts[0]);
}

#[test]
fn parallel_changes_of_the_fallback_tag_are_not_lost() {
    for etags in [true, false] {
        let fixture = Fixture::new();
        fixture.registry.configure(Features { referrers: false, etags, ..Features::default() });
        fixture.registry.put_blob(b"{}".as_slice());
        let artifacts: Vec<_> = (0..4).map(|number| artifact(&fixture.manifest, None, &format!("{number}"))).collect();
        for bytes in &artifacts {
            fixture.registry.put_manifest(NAME, None, MANIFEST_TYPE, bytes);
        }
        // Without conditions, a change is lost if another client overwrites the list after it was confirmed. So these
        // run one after the other.
        if etags {
            thread::scope(|scope| {
                for bytes in &artifacts {
                    scope.spawn(|| {
                        let change = ReferrerChange::Add { manifest: bytes, media_type: &MediaType::OCI_MANIFEST };
                        let options = vmroot_registry::ClientOptions { retries: 50, ..crate::fixture::options() };
                        let client = vmroot_registry::Client::new(options).unwrap();
                        client.update_referrers_fallback(&fixture.reference(), &fixture.manifest, change).unwrap();
                    });
                }
            });
        } else {
            for bytes in &artifacts {
                let change = ReferrerChange::Add { manifest: bytes, media_type: &MediaType::OCI_MANIFEST };
                client().update_referrers_fallback(&fixture.reference(), &fixture.manifest, change).unwrap();
            }
        }
        let all = client().referrers(&fixture.reference(), &fixture.manifest, None).unwrap();
        assert_eq!(digests(&all), digests_of(&artifacts));
    }
}

#[test]
fn a_list_that_always_changes_is_an_error() {
    let (fixture, artifacts) = fixture(Features { referrers: false, ..Features::default() });
    fixture.registry.misbehave(Rule::on("/manifests/sha256-").method("PUT").fault(Fault::Status(
        412,
        vec![],
        String::new(),
    )));
    let change = ReferrerChange::Add { manifest: &artifacts[0], media_type: &MediaType::OCI_MANIFEST };
    let updated = client().update_referrers_fallback(&fixture.reference(), &fixture.manifest, change);
    let error = assert_message(updated, &["/manifests/sha256-", "4 attempts"]);
    assert!(matches!(error, Error::ReferrersConflict { .. }), "{error:?}");
    let request = fixture.requests("/manifests/sha256-").into_iter().find(|request| request.method == "PUT").unwrap();
    assert_eq!(request.header("if-none-match"), Some("*"));
}

#[test]
fn the_fallback_tag_is_asked_first_where_a_list_is_unlikely() {
    // Whether the registry has the headers of distribution, and a list; the requests, and those after them.
    let cases: [(bool, bool, &[&str], &[&str]); 4] = [
        (false, true, &["/referrers/sha256:"], &[]),
        (false, false, &["/referrers/sha256:", "/manifests/sha256-"], &[]),
        (true, false, &["/manifests/sha256-"], &["/referrers/sha256:"]),
        (true, true, &["/manifests/sha256-"], &["/referrers/sha256:"]),
    ];
    for (distribution, referrers, first, then) in cases {
        let (fixture, artifacts) = fixture(Features { referrers, distribution, ..Features::default() });
        fixture.registry.put_manifest(NAME, None, MANIFEST_TYPE, &artifacts[0]);
        let change = ReferrerChange::Add { manifest: &artifacts[0], media_type: &MediaType::OCI_MANIFEST };
        client().update_referrers_fallback(&fixture.reference(), &fixture.manifest, change).unwrap();
        let client = client();
        client.manifest_by_digest(&fixture.reference(), &fixture.manifest).unwrap();
        let requests = || {
            let parts = fixture.registry.requests().into_iter().map(|request| request.path);
            let parts: Vec<String> = parts.filter(|path| path.contains("/sha256")).collect();
            fixture.registry.clear_requests();
            parts
        };
        requests();
        let probable = client.probable_referrers(&fixture.reference(), &fixture.manifest).unwrap();
        assert_eq!(digests(&probable), digests_of(&artifacts[..1]));
        let asked = requests();
        assert!(asked.len() == first.len() && asked.iter().zip(first).all(|(it, part)| it.contains(part)), "{asked:?}");
        let other = client.other_referrers(&fixture.reference(), &fixture.manifest).unwrap();
        assert_eq!(other.len(), usize::from(distribution && referrers));
        let asked = requests();
        assert!(asked.len() == then.len() && asked.iter().zip(then).all(|(it, part)| it.contains(part)), "{asked:?}");
        // A registry that has no list is known from then on.
        client.probable_referrers(&fixture.reference(), &fixture.manifest).unwrap();
        assert_eq!(requests().len(), 1);
    }
}
