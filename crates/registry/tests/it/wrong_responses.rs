//! Responses that are well-formed and wrong.

use vmroot_model::{Digest, Hasher};
use vmroot_registry::{Error, MANIFEST_LIMIT};
use vmroot_testkit::registry::{Fault, Rule};

use crate::fixture::{BLOBS, Fixture, MANIFEST, MANIFEST_TYPE, NAME, assert_message, client, range_from};

#[test]
fn a_wrong_content_length_is_refused_before_reading() {
    for (fault, actual) in [
        (Fault::Truncate(99_999), 99_999),
        (Fault::Append(b"more".to_vec()), 100_004),
        (Fault::ContentLength(1 << 40), 1_u64 << 40),
        (Fault::ContentLength(5), 5),
    ] {
        let fixture = Fixture::new().blobs(usize::MAX, fault.clone());
        let texts = [&fixture.layer.digest.to_string(), "not the 100000", &actual.to_string()];
        let error = assert_message(fixture.pull(), &texts.map(|text| text as &str));
        assert!(matches!(error, Error::SizeMismatch { .. }), "{fault:?}: {error:?}");
        assert_eq!(fixture.ranges().len(), 1, "{fault:?}");
    }
}

#[test]
fn excess_bytes_are_detected_without_a_content_length() {
    for fault in [Fault::Chunked, Fault::NoContentLength] {
        let fixture = Fixture::new();
        fixture.registry.misbehave(Rule::on(BLOBS).fault(Fault::Append(b"more".to_vec())).fault(fault.clone()));
        let error = assert_message(fixture.pull(), &["not the 100000"]);
        let Error::SizeMismatch { expected: 100_000, actual, .. } = error else { panic!("{fault:?}: {error:?}") };
        assert!(actual > 100_000);
    }
}

#[test]
fn missing_bytes_are_an_interruption() {
    let fixture = Fixture::new();
    fixture.registry.misbehave(Rule::on(BLOBS).times(1).fault(Fault::Truncate(70_000)).fault(Fault::Chunked));
    fixture.assert_pulls();
    assert_eq!(fixture.ranges(), [None, range_from(70_000)]);
}

#[test]
fn a_content_range_must_match_the_request() {
    for range in [
        "bytes 0-99999/100000",
        "bytes 60001-99999/100000",
        "bytes 60000-99998/100000",
        "bytes 60000-99999/100001",
        "bytes 60000-100000/100001",
        "bytes */100000",
        "60000-99999/100000",
        "",
    ] {
        let fixture = Fixture::new().blobs(1, Fault::CutAfter(60_000));
        fixture.registry.misbehave(Rule::on(BLOBS).skip(1).fault(Fault::Header("Content-Range", range.to_owned())));
        let error = assert_message(fixture.pull(), &[&fixture.layer.digest.to_string(), "from 60000 on"]);
        assert!(matches!(error, Error::Range { offset: 60_000, .. }), "{range}: {error:?}");
        assert_eq!(fixture.ranges().len(), 2, "{range}");
    }
}

#[test]
fn a_content_range_without_a_total_is_accepted() {
    let fixture = Fixture::new().blobs(1, Fault::CutAfter(60_000));
    let range = "bytes 60000-99999/*".to_owned();
    fixture.registry.misbehave(Rule::on(BLOBS).skip(1).fault(Fault::Header("Content-Range", range)));
    fixture.assert_pulls();
}

#[test]
fn status_206_without_a_content_range_is_refused() {
    let fixture = Fixture::new().blobs(1, Fault::CutAfter(60_000));
    fixture.registry.misbehave(Rule::on(BLOBS).skip(1).fault(Fault::WithoutHeader("Content-Range")));
    assert_message(fixture.pull(), &["it has no Content-Range"]);
}

#[test]
fn status_206_without_a_range_request_is_refused() {
    let fixture = Fixture::new().blobs(1, Fault::Status(206, vec![], "part".to_owned()));
    let error = assert_message(fixture.pull(), &["from 0 on"]);
    assert!(matches!(error, Error::Range { offset: 0, .. }), "{error:?}");
}

#[test]
fn status_204_is_refused() {
    let fixture = Fixture::new().blobs(1, Fault::Status(204, vec![], String::new()));
    assert_message(fixture.pull(), &["204"]);
}

#[test]
fn a_corrupt_manifest_is_refused() {
    for name in ["latest".to_owned(), Digest::of(MANIFEST).to_string()] {
        let fixture = Fixture::new().manifests(usize::MAX, Fault::Corrupt(10));
        let reference = fixture.reference();
        let reference = match Digest::parse(&name) {
            Ok(digest) => reference.with_digest(digest),
            Err(_) => reference,
        };
        let error = assert_message(client().manifest(&reference), &[&name, &fixture.manifest.to_string()]);
        assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");
    }
}

#[test]
fn a_manifest_with_another_digest_is_refused() {
    let fixture = Fixture::new();
    let wanted = Digest::of(b"something else");
    // The registry serves the manifest under a wrong digest.
    fixture.registry.put_manifest_as(&wanted, NAME, None, MANIFEST_TYPE, MANIFEST);
    let error = assert_message(client().manifest_by_digest(&fixture.reference(), &wanted), &[&wanted.to_string()]);
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");
}

#[test]
fn a_digest_header_of_a_known_algorithm_must_match() {
    let lie = Digest::of(b"lie").to_string();
    let fixture = Fixture::new().manifests(1, Fault::Header("Docker-Content-Digest", lie.clone()));
    let error = assert_message(client().manifest(&fixture.reference()), &[&lie]);
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");

    for header in ["md5:abc", "", "nonsense"] {
        let fixture = Fixture::new().manifests(1, Fault::Header("Docker-Content-Digest", header.to_owned()));
        assert_eq!(client().manifest(&fixture.reference()).unwrap().digest, fixture.manifest, "{header}");
    }
    let fixture = Fixture::new().manifests(1, Fault::WithoutHeader("Docker-Content-Digest"));
    assert_eq!(client().manifest(&fixture.reference()).unwrap().bytes, MANIFEST);
}

#[test]
fn a_manifest_over_the_limit_is_not_read() {
    let huge = vec![b' '; MANIFEST_LIMIT as usize + 1];
    for fault in [None, Some(Fault::Chunked), Some(Fault::NoContentLength)] {
        let fixture = Fixture::new();
        fixture.registry.put_manifest(NAME, Some("latest"), MANIFEST_TYPE, &huge);
        if let Some(fault) = fault {
            fixture.registry.misbehave(Rule::on("/manifests/").fault(fault));
        }
        let error = assert_message(client().manifest(&fixture.reference()), &["longer than 4194304 bytes"]);
        assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
    }
    let fixture = Fixture::new();
    fixture.registry.put_manifest(NAME, Some("latest"), MANIFEST_TYPE, &huge[1..]);
    assert_eq!(client().manifest(&fixture.reference()).unwrap().bytes.len() as u64, MANIFEST_LIMIT);
}

#[test]
fn sha512_is_checked_as_well() {
    let digest = {
        let mut hasher = Hasher::new(vmroot_model::Algorithm::Sha512);
        hasher.update(MANIFEST);
        hasher.finish()
    };
    let fixture = Fixture::new();
    fixture.registry.put_manifest_as(&digest, NAME, None, MANIFEST_TYPE, MANIFEST);
    let fetched = client().manifest_by_digest(&fixture.reference(), &digest).unwrap();
    assert_eq!((fetched.bytes.as_slice(), fetched.digest), (MANIFEST, digest));

    let fixture = fixture.manifests(1, Fault::Corrupt(0));
    let error = assert_message(client().manifest_by_digest(&fixture.reference(), &digest), &["sha512:"]);
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");

    fixture.registry.put_blob_as(&digest, fixture.bytes.clone());
    let layer = vmroot_model::Descriptor { digest, ..fixture.layer.clone() };
    let reader = client().resuming_blob(&fixture.reference(), &layer, 0);
    assert!(crate::fixture::read(reader).unwrap() == fixture.bytes);
}
