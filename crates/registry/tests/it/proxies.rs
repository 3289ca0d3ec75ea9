//! Proxies: plain HTTP through the proxy, and TLS through a tunnel.

use std::io::{self, BufRead as _, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use vmroot_model::Reference;
use vmroot_registry::{Client, ClientOptions, Error, Proxies};
use vmroot_testkit::registry::{PlainAnswer, Registry};

use crate::fixture::{Fixture, MANIFEST, NAME, assert_message, options};

/// A proxy that sends every request to one registry and ignores its host.
pub(crate) struct Proxy {
    pub(crate) address: String,
    requests: Arc<Mutex<Vec<ProxyRequest>>>,
}

/// A request to a proxy.
struct ProxyRequest {
    /// The request line.
    line: String,
    /// The `Proxy-Authorization` header.
    authorization: Option<String>,
}

impl Proxy {
    pub(crate) fn to(registry: &Registry) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::<Mutex<Vec<_>>>::default();
        let (target, log) = (registry.host(), Arc::clone(&requests));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (target, log) = (target.clone(), Arc::clone(&log));
                // A client that disconnects is not a failure of the test.
                thread::spawn(move || drop(relay(client, &target, &log)));
            }
        });
        Self { address, requests }
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|request| request.line.clone()).collect()
    }
}

/// Reads the head of a request. For a CONNECT request, relays the following bytes to `target`. Otherwise, relays the
/// request itself and the following bytes.
fn relay(client: TcpStream, target: &str, log: &Mutex<Vec<ProxyRequest>>) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let first = head.lines().next().unwrap_or_default().to_owned();
    let authorization = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("proxy-authorization").then(|| value.to_owned())
    });
    log.lock().unwrap().push(ProxyRequest { line: first.clone(), authorization });
    let mut server = TcpStream::connect(target)?;
    if first.starts_with("CONNECT ") {
        (&client).write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
    } else {
        // Converts the absolute form to the origin form, with one request for each connection.
        let (_, rest) = first.split_once("://").unwrap();
        let path = &rest[rest.find('/').unwrap()..];
        let headers = head.split_once("\r\n").unwrap().1;
        write!(server, "GET {path}\r\nConnection: close\r\n{headers}")?;
    }
    let (mut up, mut down) = (server.try_clone()?, client);
    let upstream = thread::spawn(move || {
        let done = io::copy(&mut reader, &mut up);
        let _ = up.shutdown(Shutdown::Write);
        done
    });
    io::copy(&mut server, &mut down)?;
    let _ = down.shutdown(Shutdown::Both);
    drop(upstream.join());
    Ok(())
}

fn client_through(proxies: Proxies, plain_http: bool) -> Client {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, vmroot_testkit::registry::CA_PEM).unwrap();
    Client::new(ClientOptions { proxies, plain_http, ca_files: vec![path], ..options() }).unwrap()
}

fn reference_at(host: &str) -> Reference {
    Reference::parse(&format!("{host}/{NAME}")).unwrap()
}

#[test]
fn plain_http_is_sent_to_the_proxy() {
    let fixture = Fixture::new();
    let proxy = Proxy::to(&fixture.registry);
    let proxies = Proxies { http: Some(format!("http://ann:p%40ss@{}", proxy.address)), ..Proxies::default() };
    let client = client_through(proxies, true);
    let reference = reference_at("registry.test:5000");
    assert_eq!(client.manifest(&reference).unwrap().bytes, MANIFEST);
    assert_eq!(proxy.requests(), ["GET http://registry.test:5000/v2/some/name/manifests/latest HTTP/1.1"]);
    // The base64 of `ann:p@ss`.
    assert_eq!(proxy.requests.lock().unwrap()[0].authorization.as_deref(), Some("Basic YW5uOnBAc3M="));
    assert_eq!(fixture.requests("/v2/")[0].header("host"), Some("registry.test:5000"));
    let blob = crate::fixture::read(client.resuming_blob(&reference, &fixture.layer, 0)).unwrap();
    assert!(blob == fixture.bytes);
}

#[test]
fn tls_is_tunnelled_through_the_proxy() {
    let fixture = Fixture::of(Registry::start_tls(PlainAnswer::Close), 1000);
    let proxy = Proxy::to(&fixture.registry);
    // Many people omit the scheme.
    let proxies = Proxies { https: Some(proxy.address.clone()), ..Proxies::default() };
    let error = assert_message(
        client_through(proxies, false).manifest(&reference_at("registry.test")),
        &["it is not for registry.test"],
    );
    assert!(matches!(error, Error::Certificate { .. }), "{error:?}");
    assert_eq!(proxy.requests(), ["CONNECT registry.test:443 HTTP/1.1"]);
}

#[test]
fn no_proxy_exempts_hosts() {
    let fixture = Fixture::new();
    let proxy = Proxy::to(&fixture.registry);
    for no_proxy in ["registry.invalid", "other,.invalid", "*"] {
        let proxies = Proxies {
            http: Some(format!("http://{}", proxy.address)),
            https: None,
            no_proxy: Some(no_proxy.to_owned()),
        };
        assert_message(client_through(proxies, true).manifest(&reference_at("registry.invalid")), &["cannot connect"]);
    }
    assert_eq!(proxy.requests(), Vec::<String>::new());
}

#[test]
fn loopback_is_never_reached_through_a_proxy() {
    let fixture = Fixture::new();
    let gone = Some("http://192.0.2.1:1".to_owned());
    let proxies = Proxies { http: gone.clone(), https: gone, no_proxy: None };
    assert_eq!(client_through(proxies, false).manifest(&fixture.reference()).unwrap().bytes, MANIFEST);
}

#[test]
fn an_unreachable_proxy_is_an_error() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (http, https, plain) in [(Some(address.to_string()), None, true), (None, Some(address.to_string()), false)] {
        let client = client_through(Proxies { http, https, no_proxy: None }, plain);
        let error = assert_message(client.manifest(&reference_at("registry.test")), &["registry.test", "refused"]);
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    }
}
