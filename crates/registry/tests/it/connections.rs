//! Connections are used again, above all those that cost a handshake.

use std::thread;

use vmroot_testkit::registry::{Auth, Bearer, Fault, PlainAnswer, Registry, Rule};

use crate::fixture::{BLOBS, Fixture, MANIFESTS, NAME, client, from};
use crate::tls::trusting;

#[test]
fn requests_in_a_row_share_one() {
    let fixture = Fixture::new();
    fixture.registry.require(Auth::Bearer(Bearer { uses: Some(2), ..Bearer::default() }));
    let client = client();
    for _ in 0..3 {
        client.head_manifest(&fixture.reference()).unwrap();
        client.manifest(&fixture.reference()).unwrap();
        assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes);
    }
    assert!(fixture.registry.count(NAME) > 9, "some of them were refused");
    assert_eq!(fixture.registry.connections(), 2, "tokens come over another, as a refusal is kept until there is one");
}

#[test]
fn a_refusal_is_no_reason_for_another() {
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
fn a_break_costs_one_more() {
    let fixture = Fixture::new().blobs(1, Fault::CutAfter(10));
    fixture.pulls();
    assert_eq!((fixture.ranges(), fixture.registry.connections()), (vec![None, from(10)], 2));
}

#[test]
fn one_handshake_is_enough() {
    let fixture = Fixture::of(Registry::start_tls(PlainAnswer::Close), 100_000);
    let client = trusting();
    for _ in 0..3 {
        client.manifest(&fixture.reference()).unwrap();
        assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes);
    }
    assert_eq!(fixture.registry.connections(), 2, "one to find out that it speaks TLS, and one for the rest");
}

#[test]
fn blobs_in_parallel_have_one_each() {
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
