//! Which scheme a registry on loopback speaks, and what is said of one that is not there.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use vmroot_model::Reference;
use vmroot_registry::{Client, ClientOptions, Error};
use vmroot_testkit::registry::{Fault, PlainAnswer, Registry, Rule};

use crate::fixture::{FOREVER, Fixture, MANIFEST, client, impatient, options, says};
use crate::secrets::traced;
use crate::tls::{localhost, trusting};

fn nobody() -> Reference {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Closed again when this returns; ports are not given out anew that soon.
    Reference::parse(&format!("{}/some/name", listener.local_addr().unwrap())).unwrap()
}

#[test]
fn a_registry_on_loopback_is_asked_once_how_it_speaks() {
    let fixture = Fixture::new();
    let client = client();
    for _ in 0..3 {
        client.manifest(&fixture.reference()).unwrap();
    }
    assert_eq!(fixture.registry.count(""), 4);
    assert_eq!(fixture.requests("/v2/")[0].path, "/v2/");

    let plain = Client::new(ClientOptions { plain_http: true, ..options() }).unwrap();
    fixture.registry.clear_requests();
    plain.manifest(&fixture.reference()).unwrap();
    assert_eq!(fixture.registry.count(""), 1, "who is told need not ask");
}

#[test]
fn a_registry_with_tls_on_loopback_is_found_however_it_takes_plain_http() {
    for answer in [PlainAnswer::BadRequest, PlainAnswer::Alert, PlainAnswer::Close] {
        let fixture = Fixture::of(Registry::start_tls(answer), 1000);
        let fetched = trusting().manifest(&fixture.reference());
        assert_eq!(fetched.unwrap().bytes, MANIFEST, "{answer:?}");
        assert_eq!(trusting().manifest(&localhost(&fixture)).unwrap().bytes, MANIFEST, "{answer:?}");
    }
}

#[test]
fn a_plain_registry_in_trouble_is_not_taken_for_one_with_tls() {
    for fault in [Fault::Close, Fault::Garbage(b"?".to_vec()), Fault::Status(400, vec![], "go away".to_owned())] {
        let fixture = Fixture::new();
        fixture.registry.misbehave(Rule::on("").times(1).fault(fault.clone()));
        assert_eq!(client().manifest(&fixture.reference()).unwrap().bytes, MANIFEST, "{fault:?}");
    }
    let fixture = Fixture::new();
    fixture.registry.misbehave(Rule::on("").times(1).fault(Fault::Delay(FOREVER)));
    assert_eq!(impatient().manifest(&fixture.reference()).unwrap().bytes, MANIFEST);
}

#[test]
fn a_redirect_to_tls_is_taken_at_its_word() {
    let secure = Fixture::of(Registry::start_tls(PlainAnswer::Close), 1000);
    let plain = Registry::start();
    plain.misbehave(Rule::on("").fault(Fault::RedirectTo(secure.registry.url())));
    let reference = Reference::parse(&format!("{}/some/name", plain.host())).unwrap();
    assert_eq!(trusting().manifest(&reference).unwrap().bytes, MANIFEST);
}

#[test]
fn nobody_listens() {
    // Default options: with all of their retries this would take eight seconds.
    let client = Client::new(ClientOptions::default()).unwrap();
    let texts = ["cannot connect to http://127.0.0.1", "/v2/some/name/manifests/latest", "refused"];
    let (result, log) = traced(|| client.manifest(&nobody()));
    let error = says(result, &texts);
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(log.matches("trying again").count(), 2, "{log}");
}

#[test]
fn a_server_that_answered_once_may_be_away_for_a_moment() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        answer(&listener);
        answer(&listener);
        drop(listener);
        thread::sleep(Duration::from_millis(300));
        answer(&TcpListener::bind(address).unwrap());
    });
    let pause = Duration::from_millis(100);
    let options = ClientOptions { retries: 50, backoff: pause, backoff_limit: pause, ..options() };
    let client = Client::new(options).unwrap();
    let reference = Reference::parse(&format!("{address}/some/name")).unwrap();
    for _ in 0..2 {
        assert_eq!(client.manifest(&reference).unwrap().bytes, b"{}");
    }
    server.join().unwrap();
}

/// Answers one request.
fn answer(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        request.extend(byte);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}").unwrap();
}

#[test]
fn a_name_that_nobody_knows_is_an_error_at_once() {
    let reference = Reference::parse("no-such-host.invalid/some/name").unwrap();
    let error = says(client().manifest(&reference), &["https://no-such-host.invalid/v2/some/name/manifests/latest"]);
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}
