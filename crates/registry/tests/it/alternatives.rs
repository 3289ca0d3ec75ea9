//! Mirrors that do not answer: the next place is better than a retry.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use vmroot_model::Reference;
use vmroot_registry::{Client, ClientOptions, Error};
use vmroot_testkit::registry::{Fault, Rule};

use crate::fixture::{BLOBS, Fixture, MANIFEST, MANIFESTS, assert_message, client, options, read};

/// Starts a server that accepts connections and sends nothing. Returns its host and the number of connections.
fn silent_server() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    thread::spawn(move || {
        let mut open = Vec::new();
        for connection in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            open.push(connection);
        }
    });
    (host, connections)
}

#[test]
fn a_silent_mirror_is_asked_once() {
    let timeout = Duration::from_millis(300);
    let client = Client::new(ClientOptions { plain_http: true, inactivity_timeout: timeout, ..options() }).unwrap();
    let (host, connections) = silent_server();
    let reference = Reference::parse(&format!("{host}/some/name")).unwrap();
    let mirror = client.with_alternative();
    assert_message(mirror.manifest(&reference), &[&host, "sent nothing for 300 ms"]);
    assert_eq!(connections.load(Ordering::SeqCst), 1, "no retry");
    // All clones know it, also for other images.
    let other = Reference::parse(&format!("{host}/some/other")).unwrap();
    let error = assert_message(client.with_alternative().manifest(&other), &["did not answer", "sent nothing"]);
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    // A registry without an alternative is asked again, and retried.
    client.manifest(&reference).unwrap_err();
    assert_eq!(connections.load(Ordering::SeqCst), 1 + 4);
}

#[test]
fn a_mirror_that_fails_is_retried_once() {
    let status = |status| Fault::Status(status, vec![], String::new());
    let fixture = Fixture::new().manifests(1, status(503));
    assert_eq!(client().with_alternative().manifest(&fixture.reference()).unwrap().bytes, MANIFEST);
    let fixture = Fixture::new().manifests(2, status(503));
    client().with_alternative().manifest(&fixture.reference()).unwrap_err();
    assert_eq!(fixture.registry.count(MANIFESTS), 2);
    // A long wait is left to the next place.
    let wait = Fault::Status(429, vec![("Retry-After", "60".to_owned())], String::new());
    let fixture = Fixture::new().manifests(1, wait);
    client().with_alternative().manifest(&fixture.reference()).unwrap_err();
    assert_eq!(fixture.registry.count(MANIFESTS), 1);
}

#[test]
fn a_blob_of_a_mirror_is_resumed_while_it_advances() {
    let fixture = Fixture::new();
    fixture.registry.misbehave(Rule::on(BLOBS).times(5).fault(Fault::CutAfter(20_000)));
    let blob = client().with_alternative().resuming_blob(&fixture.reference(), &fixture.layer, 0);
    assert!(read(blob).unwrap() == fixture.bytes);
    let fixture = Fixture::new();
    fixture.registry.misbehave(Rule::on(BLOBS).fault(Fault::CutAfter(0)));
    let blob = client().with_alternative().resuming_blob(&fixture.reference(), &fixture.layer, 0);
    assert_message(read(blob), &["after 2 attempts"]);
}
