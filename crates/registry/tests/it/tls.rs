//! TLS with certificates that the caller names.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use vmroot_model::Reference;
use vmroot_registry::{Client, ClientOptions, Error};
use vmroot_testkit::registry::{CA_PEM, Fault, PlainAnswer, Registry, Rule};
use vmroot_testkit::skip;

use crate::certificates::{AUTHORITY, Certificate, NAMES, self_signed};
use crate::fixture::{BLOBS, Fixture, MANIFEST, NAME, assert_message, client, options};

/// A client that trusts the authority of the test registries.
pub(crate) fn trusting_client() -> Client {
    trusting_client_with(options())
}

/// The same with these options.
pub(crate) fn trusting_client_with(options: ClientOptions) -> Client {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    fs::write(&path, CA_PEM).unwrap();
    Client::new(ClientOptions { ca_files: vec![path], ..options }).unwrap()
}

/// A client that trusts the certificates in a file.
pub(crate) fn client_trusting(path: &Path) -> Result<Client, Error> {
    Client::new(ClientOptions { ca_files: vec![path.to_owned()], ..options() })
}

/// Returns the fixture's repository, with its registry as `localhost` instead of an address.
pub(crate) fn localhost(fixture: &Fixture) -> Reference {
    let host = fixture.registry.host().replace("127.0.0.1", "localhost");
    Reference::parse(&format!("{host}/{NAME}")).unwrap()
}

fn tls_fixture() -> Fixture {
    Fixture::of(Registry::start_tls(PlainAnswer::BadRequest), 100_000)
}

#[test]
fn an_authority_from_a_file_is_trusted() {
    let fixture = tls_fixture();
    let client = trusting_client();
    assert_eq!(client.manifest(&fixture.reference()).unwrap().bytes, MANIFEST);
    assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes);
}

#[test]
fn an_unknown_authority_is_refused_without_retries() {
    let fixture = tls_fixture();
    let error = assert_message(
        client().manifest(&fixture.reference()),
        &["https://127.0.0.1", "UnknownIssuer", "certs.d", "--src-cert-dir", "--tls-verify=false"],
    );
    assert!(matches!(error, Error::Certificate { .. }), "{error:?}");
    assert_eq!(fixture.registry.count(""), 0, "no request is sent to an untrusted server");
}

#[test]
fn interruptions_over_tls_are_resumed() {
    let fixture = tls_fixture().blobs(1, Fault::CutAfter(40_000));
    assert!(fixture.pull_with(&trusting_client(), 0).unwrap() == fixture.bytes);
    assert_eq!(fixture.ranges(), [None, crate::fixture::range_from(40_000)]);
}

#[test]
fn a_redirect_to_plain_http_is_not_followed() {
    let (fixture, plain) = (tls_fixture(), Registry::start());
    plain.put_blob(fixture.bytes.clone());
    fixture.registry.misbehave(Rule::on(BLOBS).fault(Fault::RedirectTo(plain.url())));
    let error = assert_message(fixture.pull_with(&trusting_client(), 0), &["it leads from https to http://127.0.0.1"]);
    assert!(matches!(error, Error::Redirect { .. }), "{error:?}");
    assert_eq!(plain.count(""), 0);
}

#[test]
fn a_file_without_certificates_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    assert_message(client_trusting(&path), &["ca.pem"]);
    for text in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        fs::write(&path, text).unwrap();
        let error = assert_message(client_trusting(&path), &["ca.pem"]);
        assert!(matches!(error, Error::Certificates { .. }), "{error:?}");
    }
}

/// An `openssl s_server`, which answers every request with a page about the connection.
struct OpenSsl {
    process: Child,
    port: u16,
}

impl OpenSsl {
    fn start(certificate: &Certificate) -> Self {
        // The port stays free, because the system does not reuse ports that soon.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut process = Command::new("openssl")
            .args(["s_server", "-www", "-accept", &format!("127.0.0.1:{port}"), "-key"])
            .arg(&certificate.key)
            .arg("-cert")
            .arg(&certificate.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // openssl prints ACCEPT once it listens.
        let mut reader = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("ACCEPT") {
            line.clear();
            assert!(reader.read_line(&mut line).unwrap() > 0, "openssl ended");
        }
        Self { process, port }
    }

    fn get(&self, host: &str, trusted: &Certificate) -> Result<Vec<u8>, Error> {
        let reference = Reference::parse(&format!("{host}:{}/{NAME}", self.port)).unwrap();
        client_trusting(&trusted.path)?.manifest(&reference).map(|fetched| fetched.bytes)
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_named_self_signed_certificate_is_trusted() {
    if skip::needs_program("openssl") {
        return;
    }
    let directory = TempDir::new().unwrap();
    // A certificate that is marked as an authority's, as `openssl req -x509` creates it, and an ordinary one of a
    // server.
    for extensions in [&[NAMES, AUTHORITY][..], &[NAMES]] {
        let named = self_signed(directory.path(), "self", extensions, 2);
        let server = OpenSsl::start(&named);
        for host in ["127.0.0.1", "localhost"] {
            assert!(server.get(host, &named).unwrap().starts_with(b"<HTML>"), "{extensions:?} {host}");
        }
        let other = self_signed(directory.path(), "other", extensions, 2);
        let error = assert_message(server.get("127.0.0.1", &other), &["certificate"]);
        assert!(matches!(error, Error::Certificate { .. }), "{error:?}");
    }
}

#[test]
fn a_named_certificate_must_match_the_host_and_be_valid_now() {
    if skip::needs_program("openssl") {
        return;
    }
    let directory = TempDir::new().unwrap();
    let elsewhere = "subjectAltName=DNS:elsewhere.test";
    for (name, days, text) in [(elsewhere, 2, "not valid for name"), (NAMES, -1, "Expired")] {
        for extensions in [&[name, AUTHORITY][..], &[name]] {
            let named = self_signed(directory.path(), "self", extensions, days);
            let error = assert_message(OpenSsl::start(&named).get("127.0.0.1", &named), &["https://127.0.0.1", text]);
            assert!(matches!(error, Error::Certificate { .. }), "{error:?}");
        }
    }
}
