//! Policies on signatures: a refused image leaves nothing, and an accepted one keeps its signatures.

use std::sync::Arc;

use vmroot_errors::ErrorKind;
use vmroot_image_store::{PullPolicy, PullRequest};
use vmroot_transport::{Admission, SeenSignatures};
use vmroot_trust::{Policy, Signature};

use crate::fixture::{Fixture, image, request};

fn admission(policy: &str) -> Option<Admission> {
    Some(Admission { policy: Arc::new(Policy::parse(policy.as_bytes()).unwrap()), require_signed: false })
}

#[test]
fn a_refused_image_leaves_nothing() {
    let fixture = Fixture::new();
    let reference = fixture.serve(&image("refused"), "v1");
    let reject = admission(r#"{"default":[{"type":"reject"}]}"#);
    let refused = PullRequest { admission: reject.clone(), ..request(&reference, PullPolicy::Always) };
    let error = fixture.pull_as(&refused).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Policy, "{error}");
    assert!(fixture.store.images().unwrap().is_empty());
    assert!(fixture.store.list_unneeded().unwrap().files.is_empty());
    // An image that is here already is not returned, either.
    fixture.pull_as(&request(&reference, PullPolicy::Always)).unwrap();
    for policy in [PullPolicy::Missing, PullPolicy::Never] {
        let refused = PullRequest { admission: reject.clone(), ..request(&reference, policy) };
        assert_eq!(fixture.pull_as(&refused).unwrap_err().kind(), ErrorKind::Policy, "{policy:?}");
    }
}

#[test]
fn signatures_are_kept_with_the_record_until_the_image_is_removed() {
    let fixture = Fixture::new();
    let made = image("signed");
    let reference = fixture.serve(&made, "v1");
    let mut signatures = SeenSignatures::default();
    signatures.signatures.insert(made.manifest.digest, vec![Signature::Simple(vec![0xa3, 1, 2])]);
    let signed = PullRequest { signatures: signatures.clone(), ..request(&reference, PullPolicy::Always) };
    let pulled = fixture.pull_as(&signed).unwrap();
    assert_eq!(fixture.store.kept_signatures(pulled.record()), signatures);
    drop(pulled);
    // A collection keeps the document as long as the record.
    fixture.store.collect().unwrap();
    let records = fixture.store.images().unwrap();
    assert_eq!(fixture.store.kept_signatures(&records[0]), signatures);
}
