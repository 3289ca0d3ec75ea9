//! Layers that a registry may not distribute, and says where to get.

use vmroot_model::Descriptor;
use vmroot_registry::Error;
use vmroot_testkit::registry::{Auth, Fault, Registry, Rule};

use crate::fixture::{BLOBS, Fixture, client, client_with, password, read, says};

/// A layer that only `elsewhere` has.
fn foreign(fixture: &Fixture, urls: &[String]) -> Descriptor {
    fixture.registry.remove_blob(&fixture.layer.digest);
    Descriptor { urls: urls.to_vec(), ..fixture.layer.clone() }
}

fn url(registry: &Registry, layer: &Descriptor) -> String {
    format!("{}/layers/{}", registry.url(), layer.digest)
}

#[test]
fn the_first_address_that_has_it_serves_it_without_credentials() {
    let fixture = Fixture::new();
    fixture.registry.require(Auth::basic("ann", "secret"));
    let (empty, elsewhere) = (Registry::start(), Registry::start());
    elsewhere.put_blob(fixture.bytes.clone());
    elsewhere.misbehave(Rule::on("/layers/").times(1).fault(Fault::CutAfter(1_000)));
    let urls = [
        "ftp://example.com/x".to_owned(),
        "?".to_owned(),
        url(&empty, &fixture.layer),
        url(&elsewhere, &fixture.layer),
    ];
    let layer = foreign(&fixture, &urls);
    let client = client_with(password("ann", "secret"));
    assert!(read(client.resuming_blob(&fixture.reference(), &layer, 0)).unwrap() == fixture.bytes);
    assert_eq!((empty.count(""), elsewhere.count("")), (2, 2), "a break begins at the registry again");
    assert!(elsewhere.requests().iter().all(|request| request.header("authorization").is_none()));
    assert_eq!(elsewhere.requests()[1].header("range"), Some("bytes=1000-"));
}

#[test]
fn the_registry_itself_goes_first() {
    let fixture = Fixture::new();
    let elsewhere = Registry::start();
    let layer = Descriptor { urls: vec![url(&elsewhere, &fixture.layer)], ..fixture.layer.clone() };
    assert!(read(client().resuming_blob(&fixture.reference(), &layer, 0)).unwrap() == fixture.bytes);
    assert_eq!((fixture.registry.count(BLOBS), elsewhere.count("")), (1, 0));
}

#[test]
fn a_layer_that_nobody_has_is_not_found() {
    let fixture = Fixture::new();
    let empty = Registry::start();
    let layer = foreign(&fixture, &[url(&empty, &fixture.layer)]);
    let error = says(client().blob(&fixture.reference(), &layer, 0), &[&url(&empty, &layer)]);
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");

    let layer = foreign(&fixture, &["ftp://example.com/x".to_owned()]);
    let error = says(client().blob(&fixture.reference(), &layer, 0), &[&fixture.registry.url()]);
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}
