//! Retries of requests that servers refuse temporarily.

use std::time::{Duration, Instant, SystemTime};

use vmroot_registry::{Client, ClientOptions, Error};
use vmroot_testkit::registry::{Fault, Rule, http_date};

use crate::fixture::{
    BLOBS, FOREVER, Fixture, MANIFEST, MANIFESTS, assert_message, client, client_with_short_timeout, options,
};

fn status(status: u16) -> Fault {
    Fault::Status(status, vec![], r#"{"errors":[{"code":"BUSY","message":"come back"}]}"#.to_owned())
}

fn retry_after(status: u16, value: String) -> Fault {
    Fault::Status(status, vec![("Retry-After", value)], String::new())
}

#[test]
fn temporary_errors_are_retried() {
    for code in [408, 429, 500, 502, 503, 504] {
        let fixture = Fixture::new().blobs(3, status(code)).manifests(3, status(code));
        fixture.assert_pulls();
        assert_eq!(client().manifest(&fixture.reference()).unwrap().bytes, MANIFEST);
        assert_eq!((fixture.registry.count(BLOBS), fixture.registry.count(MANIFESTS)), (4, 4), "{code}");
    }
}

#[test]
fn lasting_errors_are_returned() {
    for code in [408, 429, 503] {
        let fixture = Fixture::new().manifests(4, status(code));
        let error = assert_message(client().manifest(&fixture.reference()), &["/manifests/latest", "BUSY: come back"]);
        match error {
            Error::RateLimited { wait: None, .. } => assert_eq!(code, 429),
            Error::Status { status, .. } => assert_eq!(status, code),
            error => panic!("{error:?}"),
        }
        assert_eq!(fixture.registry.count(MANIFESTS), 4);
    }
}

#[test]
fn permanent_errors_are_not_retried() {
    for code in [400, 403, 404, 405, 410, 451, 501, 505] {
        let fixture = Fixture::new().manifests(1, status(code));
        let error = assert_message(client().manifest(&fixture.reference()), &["/manifests/latest", "BUSY: come back"]);
        match error {
            Error::NotFound { .. } => assert_eq!(code, 404),
            Error::Unauthorized { status, .. } => assert_eq!((status, code), (403, 403)),
            Error::Status { status, .. } => assert_eq!(status, code),
            error => panic!("{error:?}"),
        }
        assert_eq!(fixture.registry.count(MANIFESTS), 1, "{code}");
    }
}

#[test]
fn waits_for_the_seconds_of_retry_after() {
    let fixture = Fixture::new().manifests(1, retry_after(429, "1".to_owned()));
    let started = Instant::now();
    client().manifest(&fixture.reference()).unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[test]
fn waits_until_the_date_of_retry_after() {
    // Dates have whole seconds, so this one is between one and two seconds in the future.
    let date = http_date(SystemTime::now() + Duration::from_secs(2));
    let fixture = Fixture::new().manifests(1, retry_after(503, date));
    let started = Instant::now();
    client().manifest(&fixture.reference()).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(900));
}

#[test]
fn zero_and_malformed_waits_use_the_backoff() {
    for value in ["0", "Thu, 01 Jan 1970 00:00:00 GMT", "soon", ""] {
        let options = ClientOptions { backoff: Duration::from_millis(200), ..options() };
        let options = ClientOptions { backoff_limit: Duration::from_millis(200), ..options };
        let fixture = Fixture::new().manifests(1, retry_after(429, value.to_owned()));
        let started = Instant::now();
        Client::new(options).unwrap().manifest(&fixture.reference()).unwrap();
        assert!(started.elapsed() >= Duration::from_millis(100), "{value}");
    }
}

#[test]
fn a_wait_over_the_limit_is_an_error_at_once() {
    let fixture = Fixture::new().manifests(1, retry_after(429, "86400".to_owned()));
    let error = assert_message(client().manifest(&fixture.reference()), &["asks to wait 86400 s"]);
    assert!(matches!(error, Error::RateLimited { wait: Some(_), .. }), "{error:?}");
    assert_eq!(fixture.registry.count(MANIFESTS), 1);
}

#[test]
fn zero_retries_disable_retrying() {
    let client = Client::new(ClientOptions { retries: 0, ..options() }).unwrap();
    let fixture = Fixture::new().blobs(1, Fault::CutAfter(10)).manifests(1, status(503));
    client.manifest(&fixture.reference()).unwrap_err();
    assert_eq!(fixture.registry.count(MANIFESTS), 1);
    let error = assert_message(fixture.pull_with(&client, 0), &["at byte 10 after 1 attempt in a row"]);
    assert!(matches!(error, Error::Interrupted { .. }), "{error:?}");
    assert_eq!(fixture.registry.count(BLOBS), 1);
}

#[test]
fn a_truncated_manifest_is_requested_again() {
    let fixture = Fixture::new().manifests(3, Fault::CutAfter(20));
    assert_eq!(client().manifest(&fixture.reference()).unwrap().bytes, MANIFEST);
    assert_eq!(fixture.registry.count(MANIFESTS), 4);

    let fixture = Fixture::new().manifests(1, Fault::StallAfter(20, FOREVER));
    assert_eq!(client_with_short_timeout().manifest(&fixture.reference()).unwrap().bytes, MANIFEST);
}

#[test]
fn connections_that_the_server_has_closed_are_not_used() {
    let fixture = Fixture::new();
    fixture.registry.misbehave(Rule::on("").fault(Fault::CloseAfter));
    let client = client();
    for _ in 0..5 {
        client.manifest(&fixture.reference()).unwrap();
        assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes);
    }
    // The client sent no request over a connection that the server had closed.
    assert_eq!((fixture.registry.count(BLOBS), fixture.registry.count(MANIFESTS)), (5, 5));
}
