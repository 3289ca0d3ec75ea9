//! Redirects: never with credentials to another host, and never from TLS to plain HTTP.

use vmroot_registry::Error;
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::registry::{Auth, Bearer, Fault, Registry, Rule};

use crate::fixture::{BLOBS, Fixture, assert_message, client, client_with, password, range_from};

/// A server that a registry redirects to, with the same blobs.
fn store(fixture: &Fixture) -> Registry {
    let store = Registry::start();
    store.put_blob(fixture.bytes.clone());
    store
}

#[test]
fn another_host_gets_no_credentials() {
    for auth in [Auth::basic("ann", "secret"), Auth::Bearer(Bearer::default())] {
        let fixture = Fixture::new();
        fixture.registry.require(auth);
        let store = store(&fixture);
        // The first response must be the registry's challenge, so it is not redirected.
        fixture.registry.misbehave(Rule::on(BLOBS).skip(1).fault(Fault::RedirectTo(store.url())));
        let client = client_with(password("ann", "secret"));
        assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes);
        assert!(fixture.requests(BLOBS).last().unwrap().header("authorization").is_some());
        let there = store.requests();
        assert_eq!(there.len(), 1);
        assert_eq!(there[0].header("authorization"), None);
        assert_eq!(there[0].header("cookie"), None);
    }
}

#[test]
fn another_host_gets_no_credentials_even_if_it_requires_them() {
    let fixture = Fixture::new();
    fixture.registry.require(Auth::basic("ann", "secret"));
    let store = store(&fixture);
    store.require(Auth::basic("ann", "secret"));
    fixture.registry.misbehave(Rule::on(BLOBS).skip(1).fault(Fault::RedirectTo(store.url())));
    let client = client_with(password("ann", "secret"));
    let error = assert_message(fixture.pull_with(&client, 0), &[&store.url(), "401"]);
    assert!(matches!(error, Error::Unauthorized { status: 401, .. }), "{error:?}");
    assert!(store.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn credentials_are_not_restored_by_a_redirect_back() {
    let fixture = Fixture::new();
    fixture.registry.require(Auth::basic("ann", "secret"));
    let store = store(&fixture);
    let home = format!("{}/home/{}", fixture.registry.url(), fixture.layer.digest);
    store.misbehave(Rule::on("").fault(Fault::Redirect(302, home)));
    fixture.registry.misbehave(Rule::on(BLOBS).skip(1).fault(Fault::RedirectTo(store.url())));
    let error = assert_message(fixture.pull_with(&client_with(password("ann", "secret")), 0), &["401"]);
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    assert_eq!(fixture.requests("/home/")[0].header("authorization"), None);
}

#[test]
fn a_redirect_within_the_registry_keeps_credentials() {
    for status in [301, 302, 303, 307, 308] {
        let fixture = Fixture::new();
        fixture.registry.require(Auth::basic("ann", "secret"));
        let to = format!("/elsewhere/{}", fixture.layer.digest);
        fixture.registry.misbehave(Rule::on(BLOBS).skip(1).fault(Fault::Redirect(status, to)));
        assert!(fixture.pull_with(&client_with(password("ann", "secret")), 0).unwrap() == fixture.bytes, "{status}");
    }
}

#[test]
fn redirects_keep_ranges_and_are_repeated_after_interruptions() {
    let fixture = Fixture::new();
    let (one, other) = (store(&fixture), store(&fixture));
    one.misbehave(Rule::on("").fault(Fault::CutAfter(30_000)));
    fixture.registry.misbehave(Rule::on(BLOBS).times(1).fault(Fault::RedirectTo(one.url())));
    fixture.registry.misbehave(Rule::on(BLOBS).skip(1).fault(Fault::RedirectTo(other.url())));
    fixture.assert_pulls();
    assert_eq!((one.count(""), other.count("")), (1, 1));
    assert_eq!(other.requests()[0].header("range").map(str::to_owned), range_from(30_000));
}

#[test]
fn a_busy_target_is_retried() {
    let fixture = Fixture::new();
    let store = store(&fixture);
    store.misbehave(Rule::on("").times(2).fault(Fault::Status(503, vec![], String::new())));
    fixture.registry.misbehave(Rule::on(BLOBS).fault(Fault::RedirectTo(store.url())));
    fixture.assert_pulls();
    assert_eq!(store.count(""), 3);
}

#[test]
fn redirect_loops_and_invalid_targets_are_errors() {
    let circle = Fixture::new();
    circle.registry.misbehave(Rule::on(BLOBS).fault(Fault::RedirectTo(String::new())));
    let error = assert_message(circle.pull(), &["10"]);
    assert!(matches!(error, Error::TooManyRedirects { limit: 10, .. }), "{error:?}");
    assert_eq!(circle.registry.count(BLOBS), 11);

    for (location, text) in [
        ("http://[", "its Location is not a URL"),
        ("ftp://example.com/blob", "it leads to the scheme \"ftp\""),
        ("file:///etc/passwd", "it leads to the scheme \"file\""),
    ] {
        let fixture = Fixture::new().blobs(1, Fault::Redirect(307, location.to_owned()));
        let error = assert_message(fixture.pull(), &[text, &fixture.layer.digest.to_string()]);
        assert!(matches!(error, Error::Redirect { .. }), "{error:?}");
    }
    let fixture = Fixture::new().blobs(1, Fault::Status(307, vec![], String::new()));
    assert_message(fixture.pull(), &["it has no Location"]);
}

#[test]
fn errors_omit_queries_which_may_be_signatures() {
    let fixture = Fixture::new();
    let store = Registry::start();
    let signed = format!("{}/gone?X-Amz-Signature=secret", store.url());
    fixture.registry.misbehave(Rule::on(BLOBS).fault(Fault::Redirect(307, signed)));
    let message = client().blob(&fixture.reference(), &fixture.layer, 0).unwrap_err().full_message();
    assert!(message.contains("/gone") && !message.contains("secret"), "{message}");
    assert_eq!(store.count("Signature=secret"), 1);
}
