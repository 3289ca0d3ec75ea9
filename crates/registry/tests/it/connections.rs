//! Reuse of connections, which saves TLS handshakes.

use std::thread;

use vmroot_testkit::registry::{Auth, Bearer, Fault, PlainAnswer, Registry, Rule};

use crate::fixture::{BLOBS, Fixture, MANIFESTS, NAME, client, range_from};
use crate::tls::trusting_client;

#[test]
fn consecutive_requests_share_a_connection() {
    let fixture = Fixture::new();
    fixture.registry.require(Auth::Bearer(Bearer { uses: Some(2), ..Bearer::default() }));
    let client = client();
    for _ in 0..3 {
        client.head_manifest(&fixture.reference()).unwrap();
        client.manifest(&fixture.reference()).unwrap();
        assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes);
    }
    assert!(fixture.registry.count(NAME) > 9, "some of them were refused");
    assert_eq!(
        fixture.registry.connections(),
        2,
        "the refused response holds one while the token is fetched over another"
    );
}

#[test]
fn a_connection_is_reused_after_an_error_status() {
    let fixture = Fixture::new().blobs(1, Fault::Status(503, vec![], "busy".to_owned()));
    fixture.registry.misbehave(Rule::on(MANIFESTS).times(1).fault(Fault::Status(410, vec![], "gone".to_owned())));
    let client = client();
    client.manifest(&fixture.reference()).unwrap_err();
    assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes);
    assert_eq!((fixture.registry.count(BLOBS), fixture.registry.connections()), (2, 1));
}

#[test]
fn chunked_bodies_are_read_to_their_end() {
    let fixture = Fixture::new().blobs(usize::MAX, Fault::Chunked);
    let client = client();
    for _ in 0..3 {
        assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes);
    }
    assert_eq!(fixture.registry.connections(), 1);
}

#[test]
fn an_interruption_costs_one_connection() {
    let fixture = Fixture::new().blobs(1, Fault::CutAfter(10));
    fixture.assert_pulls();
    assert_eq!((fixture.ranges(), fixture.registry.connections()), (vec![None, range_from(10)], 2));
}

#[test]
fn consecutive_requests_share_a_tls_handshake() {
    let fixture = Fixture::of(Registry::start_tls(PlainAnswer::Close), 100_000);
    let client = trusting_client();
    for _ in 0..3 {
        client.manifest(&fixture.reference()).unwrap();
        assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes);
    }
    assert_eq!(fixture.registry.connections(), 2, "one to detect TLS, and one for the rest");
}

#[test]
fn parallel_blobs_have_a_connection_each() {
    let fixture = Fixture::with_blob(4 << 20);
    let client = client();
    client.manifest(&fixture.reference()).unwrap();
    for _ in 0..3 {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes));
            }
        });
    }
    assert!(fixture.registry.connections() <= 4, "{}", fixture.registry.connections());
}
