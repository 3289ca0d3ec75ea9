//! The choice of the scheme for registries on loopback, and errors for servers that cannot be reached.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use vmroot_model::Reference;
use vmroot_registry::{Client, ClientOptions, Error};
use vmroot_testkit::registry::{Fault, PlainAnswer, Registry, Rule};

use crate::fixture::{FOREVER, Fixture, MANIFEST, assert_message, client, client_with_short_timeout, options};
use crate::secrets::capture_trace;
use crate::tls::{localhost, trusting_client};

/// Returns a reference to a registry on a closed port.
fn closed_port() -> Reference {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // The port is closed when this returns. The system does not reuse ports that soon.
    Reference::parse(&format!("{}/some/name", listener.local_addr().unwrap())).unwrap()
}

#[test]
fn the_scheme_of_a_registry_on_loopback_is_detected_once() {
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
    assert_eq!(fixture.registry.count(""), 1, "the option makes detection needless");
}

#[test]
fn tls_on_loopback_is_detected_by_every_reaction_to_plain_http() {
    for answer in [PlainAnswer::BadRequest, PlainAnswer::Alert, PlainAnswer::Close] {
        let fixture = Fixture::of(Registry::start_tls(answer), 1000);
        let fetched = trusting_client().manifest(&fixture.reference());
        assert_eq!(fetched.unwrap().bytes, MANIFEST, "{answer:?}");
        assert_eq!(trusting_client().manifest(&localhost(&fixture)).unwrap().bytes, MANIFEST, "{answer:?}");
    }
}

#[test]
fn a_failing_plain_registry_is_not_taken_for_tls() {
    for fault in [Fault::Close, Fault::Garbage(b"?".to_vec()), Fault::Status(400, vec![], "go away".to_owned())] {
        let fixture = Fixture::new();
        fixture.registry.misbehave(Rule::on("").times(1).fault(fault.clone()));
        assert_eq!(client().manifest(&fixture.reference()).unwrap().bytes, MANIFEST, "{fault:?}");
    }
    let fixture = Fixture::new();
    fixture.registry.misbehave(Rule::on("").times(1).fault(Fault::Delay(FOREVER)));
    assert_eq!(client_with_short_timeout().manifest(&fixture.reference()).unwrap().bytes, MANIFEST);
}

#[test]
fn a_redirect_to_tls_selects_tls() {
    let secure = Fixture::of(Registry::start_tls(PlainAnswer::Close), 1000);
    let plain = Registry::start();
    plain.misbehave(Rule::on("").fault(Fault::RedirectTo(secure.registry.url())));
    let reference = Reference::parse(&format!("{}/some/name", plain.host())).unwrap();
    assert_eq!(trusting_client().manifest(&reference).unwrap().bytes, MANIFEST);
}

#[test]
fn a_closed_port_is_an_error_after_two_retries() {
    // With all retries of the default options, this would take eight seconds.
    let client = Client::new(ClientOptions::default()).unwrap();
    let texts = ["cannot connect to http://127.0.0.1", "/v2/some/name/manifests/latest", "refused"];
    let (result, log) = capture_trace(|| client.manifest(&closed_port()));
    let error = assert_message(result, &texts);
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(log.matches("retrying").count(), 2, "{log}");
}

#[test]
fn a_server_that_has_answered_is_retried_while_it_restarts() {
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
fn an_unknown_host_is_an_error_at_once() {
    let reference = Reference::parse("no-such-host.invalid/some/name").unwrap();
    let error =
        assert_message(client().manifest(&reference), &["https://no-such-host.invalid/v2/some/name/manifests/latest"]);
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}
