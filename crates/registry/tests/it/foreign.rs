//! Layers that a registry may not distribute, and says where to get.

use vmroot_model::{Descriptor, MediaType, Reference};
use vmroot_registry::{Client, ClientOptions, Error, Proxies};
use vmroot_testkit::registry::{Auth, Fault, Registry, Rule};

use crate::fixture::{BLOBS, Fixture, NAME, client, client_with, options, password, read, says};
use crate::proxies::Proxy;

/// A registry, not the image's, that has the layer.
fn another(fixture: &Fixture) -> Registry {
    let another = Registry::start();
    another.put_blob(fixture.bytes.clone());
    another
}

/// A layer of this type that only [`another`] registry has, and that one.
fn elsewhere(fixture: &Fixture, media_type: &str) -> (Registry, Descriptor) {
    let another = another(fixture);
    let layer = foreign(fixture, &[url(&another, &fixture.layer)]);
    (another, Descriptor { media_type: MediaType::new(media_type), ..layer })
}

/// The layer, which the registry has no longer, with other places to get it from.
fn foreign(fixture: &Fixture, urls: &[String]) -> Descriptor {
    fixture.registry.remove_blob(&fixture.layer.digest);
    Descriptor { media_type: MediaType::OCI_FOREIGN_LAYER, urls: urls.to_vec(), ..fixture.layer.clone() }
}

fn url(registry: &Registry, layer: &Descriptor) -> String {
    format!("{}/layers/{}", registry.url(), layer.digest)
}

#[test]
fn the_first_address_that_has_it_serves_it_without_credentials() {
    let fixture = Fixture::new();
    fixture.registry.require(Auth::basic("ann", "secret"));
    let (empty, elsewhere) = (Registry::start(), another(&fixture));
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
    let layer = Descriptor {
        media_type: MediaType::OCI_FOREIGN_LAYER,
        urls: vec![url(&elsewhere, &fixture.layer)],
        ..fixture.layer.clone()
    };
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

/// Addresses in ordinary layers are a mistake, or an attempt to send requests to other servers.
#[test]
fn only_foreign_layers_have_other_places() {
    for media_type in [
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tarball",
        "",
    ] {
        let fixture = Fixture::new();
        let (another, layer) = elsewhere(&fixture, media_type);
        let error = says(client().blob(&fixture.reference(), &layer, 0), &[&fixture.registry.url()]);
        assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
        assert_eq!(another.connections(), 0, "{media_type}");
    }
    for media_type in [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    ] {
        let fixture = Fixture::new();
        let (_another, layer) = elsewhere(&fixture, media_type);
        assert!(read(client().resuming_blob(&fixture.reference(), &layer, 0)).unwrap() == fixture.bytes);
    }
}

#[test]
fn eight_places_are_enough() {
    let fixture = Fixture::new();
    let empty = Registry::start();
    let mut urls = vec!["ftp://example.com/x".to_owned()];
    urls.extend((0..100).map(|number| format!("{}/{number}/{}", empty.url(), fixture.layer.digest)));
    let layer = foreign(&fixture, &urls);
    let error = says(client().blob(&fixture.reference(), &layer, 0), &["/7/"]);
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    assert_eq!(empty.count(""), 8);
}

/// A registry that wants credentials for a layer that it has not may refuse it in its own way.
#[test]
fn a_registry_that_refuses_has_it_not() {
    for status in [400, 401, 403, 404, 405, 410] {
        let fixture = Fixture::new().blobs(usize::MAX, Fault::Status(status, vec![], String::new()));
        let another = another(&fixture);
        let layer = foreign(&fixture, &[url(&another, &fixture.layer)]);
        assert!(read(client().resuming_blob(&fixture.reference(), &layer, 0)).unwrap() == fixture.bytes, "{status}");
    }
}

#[test]
fn a_place_that_lies_about_the_size_is_passed_over() {
    let fixture = Fixture::new();
    let (liar, honest) = (Registry::start(), another(&fixture));
    liar.put_blob_as(&fixture.layer.digest, b"too short".to_vec());
    let layer = foreign(&fixture, &[url(&liar, &fixture.layer), url(&honest, &fixture.layer)]);
    assert!(read(client().resuming_blob(&fixture.reference(), &layer, 0)).unwrap() == fixture.bytes);
}

#[test]
fn users_in_addresses_are_not_sent() {
    let fixture = Fixture::new();
    let (first, second) = (Registry::start(), another(&fixture));
    let with_user = |registry: &Registry| url(registry, &fixture.layer).replace("://", "://ann:secret@");
    first.misbehave(Rule::on("").fault(Fault::Redirect(302, with_user(&second))));
    let layer = foreign(&fixture, &[with_user(&first)]);
    assert!(read(client().resuming_blob(&fixture.reference(), &layer, 0)).unwrap() == fixture.bytes);
    for request in first.requests().into_iter().chain(second.requests()) {
        assert_eq!(request.header("authorization"), None);
    }
}

/// A registry on the internet may not have us ask servers of this machine or network: they may do something, and
/// the outside may not learn that they are there.
#[test]
fn a_far_registry_cannot_have_us_ask_near_servers() {
    let fixture = Fixture::new();
    let near = another(&fixture);
    let proxy = Proxy::to(&fixture.registry);
    let client = proxied(&proxy);
    let reference = Reference::parse(&format!("far.test/{NAME}")).unwrap();
    let path = format!("/layers/{}", fixture.layer.digest);
    let port = near.host().rsplit_once(':').unwrap().1.to_owned();
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "localhost",
        "LOCALHOST",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "10.0.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "[fd00::1]",
        "[fe80::1]",
        "224.0.0.1",
    ] {
        let layer = foreign(&fixture, &[format!("http://{host}:{port}{path}")]);
        let error = says(client.blob(&reference, &layer, 0), &["has no public address", &path]);
        assert!(matches!(error, Error::Address { .. }), "{host}: {error:?}");
    }
    // Nor by a redirect of a place that is far away.
    fixture.registry.misbehave(Rule::on("/layers/").fault(Fault::RedirectTo(near.url())));
    let layer = foreign(&fixture, &[format!("http://layers.test{path}")]);
    let error = says(client.blob(&reference, &layer, 0), &[&near.host(), "has no public address"]);
    assert!(matches!(error, Error::Address { .. }), "{error:?}");
    assert_eq!(near.connections(), 0);
    let near_hosts = proxy.requests().into_iter().filter(|line| !line.contains(".test/")).collect::<Vec<_>>();
    assert_eq!(near_hosts, [""; 0], "the proxy was asked for them");

    // A place that is far away is asked.
    fixture.registry.behave();
    fixture.registry.misbehave(Rule::on("/v2/").fault(Fault::Status(404, vec![], String::new())));
    fixture.registry.put_blob(fixture.bytes.clone());
    assert!(read(client.resuming_blob(&reference, &layer, 0)).unwrap() == fixture.bytes);
}

fn proxied(proxy: &Proxy) -> Client {
    let proxies = Proxies { http: Some(format!("http://{}", proxy.address)), ..Proxies::default() };
    Client::new(ClientOptions { proxies, plain_http: true, ..options() }).unwrap()
}
