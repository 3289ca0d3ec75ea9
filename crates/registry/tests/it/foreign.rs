//! Foreign layers, which are fetched from the URLs of their descriptors.

use vmroot_model::{Descriptor, MediaType, Reference};
use vmroot_registry::{Client, ClientOptions, Error, Proxies};
use vmroot_testkit::registry::{Auth, Fault, Registry, Rule};

use crate::fixture::{BLOBS, Fixture, NAME, assert_message, client, client_with, options, password, read};
use crate::proxies::Proxy;

/// Returns another registry that has the layer.
fn another_registry(fixture: &Fixture) -> Registry {
    let another = Registry::start();
    another.put_blob(fixture.bytes.clone());
    another
}

/// Returns a layer of this type that only [`another_registry`] has, and that registry.
fn layer_elsewhere(fixture: &Fixture, media_type: &str) -> (Registry, Descriptor) {
    let another = another_registry(fixture);
    let layer = foreign_layer(fixture, &[url(&another, &fixture.layer)]);
    (another, Descriptor { media_type: MediaType::new(media_type), ..layer })
}

/// Removes the layer from the registry, and returns its descriptor with other URLs.
fn foreign_layer(fixture: &Fixture, urls: &[String]) -> Descriptor {
    fixture.registry.remove_blob(&fixture.layer.digest);
    Descriptor { media_type: MediaType::OCI_FOREIGN_LAYER, urls: urls.to_vec(), ..fixture.layer.clone() }
}

fn url(registry: &Registry, layer: &Descriptor) -> String {
    format!("{}/layers/{}", registry.url(), layer.digest)
}

#[test]
fn the_first_url_that_works_is_used_without_credentials() {
    let fixture = Fixture::new();
    fixture.registry.require(Auth::basic("ann", "secret"));
    let (empty, elsewhere) = (Registry::start(), another_registry(&fixture));
    elsewhere.misbehave(Rule::on("/layers/").times(1).fault(Fault::CutAfter(1_000)));
    let urls = [
        "ftp://example.com/x".to_owned(),
        "?".to_owned(),
        url(&empty, &fixture.layer),
        url(&elsewhere, &fixture.layer),
    ];
    let layer = foreign_layer(&fixture, &urls);
    let client = client_with(password("ann", "secret"));
    assert!(read(client.resuming_blob(&fixture.reference(), &layer, 0)).unwrap() == fixture.bytes);
    assert_eq!(
        (empty.count(""), elsewhere.count("")),
        (2, 2),
        "after an interruption, the registry gets the first request again"
    );
    assert!(elsewhere.requests().iter().all(|request| request.header("authorization").is_none()));
    assert_eq!(elsewhere.requests()[1].header("range"), Some("bytes=1000-"));
}

#[test]
fn the_registry_is_asked_first() {
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
fn a_layer_without_a_working_url_is_not_found() {
    let fixture = Fixture::new();
    let empty = Registry::start();
    let layer = foreign_layer(&fixture, &[url(&empty, &fixture.layer)]);
    let error = assert_message(client().blob(&fixture.reference(), &layer, 0), &[&url(&empty, &layer)]);
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");

    let layer = foreign_layer(&fixture, &["ftp://example.com/x".to_owned()]);
    let error = assert_message(client().blob(&fixture.reference(), &layer, 0), &[&fixture.registry.url()]);
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}

/// URLs in ordinary layers are a mistake, or an attempt to make clients send requests to other servers.
#[test]
fn only_foreign_layers_are_fetched_from_urls() {
    for media_type in [
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tarball",
        "",
    ] {
        let fixture = Fixture::new();
        let (another, layer) = layer_elsewhere(&fixture, media_type);
        let error = assert_message(client().blob(&fixture.reference(), &layer, 0), &[&fixture.registry.url()]);
        assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
        assert_eq!(another.connections(), 0, "{media_type}");
    }
    for media_type in [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    ] {
        let fixture = Fixture::new();
        let (_another, layer) = layer_elsewhere(&fixture, media_type);
        assert!(read(client().resuming_blob(&fixture.reference(), &layer, 0)).unwrap() == fixture.bytes);
    }
}

#[test]
fn at_most_eight_urls_are_tried() {
    let fixture = Fixture::new();
    let empty = Registry::start();
    let mut urls = vec!["ftp://example.com/x".to_owned()];
    urls.extend((0..100).map(|number| format!("{}/{number}/{}", empty.url(), fixture.layer.digest)));
    let layer = foreign_layer(&fixture, &urls);
    let error = assert_message(client().blob(&fixture.reference(), &layer, 0), &["/7/"]);
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    assert_eq!(empty.count(""), 8);
}

/// Registries refuse a layer that they do not have with various statuses.
#[test]
fn urls_are_tried_after_every_refusal_of_the_registry() {
    for status in [400, 401, 403, 404, 405, 410] {
        let fixture = Fixture::new().blobs(usize::MAX, Fault::Status(status, vec![], String::new()));
        let another = another_registry(&fixture);
        let layer = foreign_layer(&fixture, &[url(&another, &fixture.layer)]);
        assert!(read(client().resuming_blob(&fixture.reference(), &layer, 0)).unwrap() == fixture.bytes, "{status}");
    }
}

#[test]
fn a_url_with_a_wrong_size_is_skipped() {
    let fixture = Fixture::new();
    let (liar, honest) = (Registry::start(), another_registry(&fixture));
    liar.put_blob_as(&fixture.layer.digest, b"too short".to_vec());
    let layer = foreign_layer(&fixture, &[url(&liar, &fixture.layer), url(&honest, &fixture.layer)]);
    assert!(read(client().resuming_blob(&fixture.reference(), &layer, 0)).unwrap() == fixture.bytes);
}

#[test]
fn users_in_urls_are_not_sent() {
    let fixture = Fixture::new();
    let (first, second) = (Registry::start(), another_registry(&fixture));
    let with_user = |registry: &Registry| url(registry, &fixture.layer).replace("://", "://ann:secret@");
    first.misbehave(Rule::on("").fault(Fault::Redirect(302, with_user(&second))));
    let layer = foreign_layer(&fixture, &[with_user(&first)]);
    assert!(read(client().resuming_blob(&fixture.reference(), &layer, 0)).unwrap() == fixture.bytes);
    for request in first.requests().into_iter().chain(second.requests()) {
        assert_eq!(request.header("authorization"), None);
    }
}

/// A registry on the internet must not make clients send requests to servers of their own machine or network. These
/// could act on the requests, and the registry would learn that they exist.
#[test]
fn a_public_registry_cannot_direct_requests_to_private_servers() {
    let fixture = Fixture::new();
    let near = another_registry(&fixture);
    let proxy = Proxy::to(&fixture.registry);
    let client = client_through(&proxy);
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
        let layer = foreign_layer(&fixture, &[format!("http://{host}:{port}{path}")]);
        let error = assert_message(client.blob(&reference, &layer, 0), &["is in a more private network", &path]);
        assert!(matches!(error, Error::Address { .. }), "{host}: {error:?}");
    }
    // Redirects from a public server must not lead there either.
    fixture.registry.misbehave(Rule::on("/layers/").fault(Fault::RedirectTo(near.url())));
    let layer = foreign_layer(&fixture, &[format!("http://layers.test{path}")]);
    let error = assert_message(client.blob(&reference, &layer, 0), &[&near.host(), "is in a more private network"]);
    assert!(matches!(error, Error::Address { .. }), "{error:?}");
    assert_eq!(near.connections(), 0);
    let private_hosts = proxy.requests().into_iter().filter(|line| !line.contains(".test/")).collect::<Vec<_>>();
    assert_eq!(private_hosts, [""; 0], "the proxy got requests for them");

    // Requests to a public server are sent.
    fixture.registry.behave();
    fixture.registry.misbehave(Rule::on("/v2/").fault(Fault::Status(404, vec![], String::new())));
    fixture.registry.put_blob(fixture.bytes.clone());
    assert!(read(client.resuming_blob(&reference, &layer, 0)).unwrap() == fixture.bytes);
}

fn client_through(proxy: &Proxy) -> Client {
    let proxies = Proxies { http: Some(format!("http://{}", proxy.address)), ..Proxies::default() };
    Client::new(ClientOptions { proxies, plain_http: true, ..options() }).unwrap()
}

#[test]
fn a_layer_outside_a_registry_is_fetched_from_public_addresses() {
    let fixture = Fixture::new();
    let near = another_registry(&fixture);
    let proxy = Proxy::to(&near);
    let client = client_through(&proxy);
    let path = format!("/layers/{}", fixture.layer.digest);
    let layer = foreign_layer(&fixture, &[format!("http://ann:secret@far.test{path}")]);
    assert!(read(client.foreign_layer(&layer, 0).unwrap()).unwrap() == fixture.bytes);
    let body = client.foreign_layer(&layer, 50_000).unwrap();
    assert_eq!(body.offset(), 50_000);
    assert!(read(body).unwrap() == fixture.bytes[50_000..]);
    assert!(near.requests().iter().all(|request| request.header("authorization").is_none()));
    // A private address is not requested, and a name that has one neither.
    for host in [near.host(), near.host().replace("127.0.0.1", "localhost")] {
        let layer = foreign_layer(&fixture, &[format!("http://{host}{path}")]);
        let error = assert_message(crate::fixture::client().foreign_layer(&layer, 0), &[&host]);
        assert!(matches!(error, Error::Address { .. }), "{error:?}");
    }
    assert_eq!(near.requests().len(), 2);
    // The size of the descriptor is checked before the first byte.
    let longer = Descriptor { size: layer.size + 1, ..layer.clone() };
    assert!(matches!(client.foreign_layer(&longer, 0).unwrap_err(), Error::SizeMismatch { .. }));
    for layer in [foreign_layer(&fixture, &[]), fixture.layer.clone()] {
        assert!(matches!(client.foreign_layer(&layer, 0).unwrap_err(), Error::NotFound { .. }));
    }
}
