//! TLS with authorities that only the caller knows.

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
use crate::fixture::{BLOBS, Fixture, MANIFEST, NAME, client, options, says};

/// A client that trusts the authority of the test registries.
pub(crate) fn trusting() -> Client {
    trusting_with(options())
}

/// The same with other options.
pub(crate) fn trusting_with(options: ClientOptions) -> Client {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    fs::write(&path, CA_PEM).unwrap();
    Client::new(ClientOptions { ca_files: vec![path], ..options }).unwrap()
}

pub(crate) fn trusting_file(path: &Path) -> Result<Client, Error> {
    Client::new(ClientOptions { ca_files: vec![path.to_owned()], ..options() })
}

/// The same repository, its registry by name instead of by address.
pub(crate) fn localhost(fixture: &Fixture) -> Reference {
    let host = fixture.registry.host().replace("127.0.0.1", "localhost");
    Reference::parse(&format!("{host}/{NAME}")).unwrap()
}

fn secure() -> Fixture {
    Fixture::of(Registry::start_tls(PlainAnswer::BadRequest), 100_000)
}

#[test]
fn an_authority_from_a_file_is_trusted() {
    let fixture = secure();
    let client = trusting();
    assert_eq!(client.manifest(&fixture.reference()).unwrap().bytes, MANIFEST);
    assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes);
}

#[test]
fn an_unknown_authority_is_not_and_asking_again_is_no_use() {
    let fixture = secure();
    let error = says(client().manifest(&fixture.reference()), &["https://127.0.0.1", "certificate", "UnknownIssuer"]);
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(fixture.registry.count(""), 0, "nothing is told to a stranger");
}

#[test]
fn breaks_are_mended_over_tls_as_well() {
    let fixture = secure().blobs(1, Fault::CutAfter(40_000));
    assert!(fixture.pull_with(&trusting(), 0).unwrap() == fixture.bytes);
    assert_eq!(fixture.ranges(), [None, crate::fixture::from(40_000)]);
}

#[test]
fn a_redirect_to_plain_text_is_not_followed() {
    let (fixture, plain) = (secure(), Registry::start());
    plain.put_blob(fixture.bytes.clone());
    fixture.registry.misbehave(Rule::on(BLOBS).fault(Fault::RedirectTo(plain.url())));
    let error = says(fixture.pull_with(&trusting(), 0), &["it leads from https to http://127.0.0.1"]);
    assert!(matches!(error, Error::Redirect { .. }), "{error:?}");
    assert_eq!(plain.count(""), 0);
}

#[test]
fn a_file_of_certificates_must_hold_some() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    says(trusting_file(&path), &["ca.pem"]);
    for text in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        fs::write(&path, text).unwrap();
        let error = says(trusting_file(&path), &["ca.pem"]);
        assert!(matches!(error, Error::Certificates { .. }), "{error:?}");
    }
}

/// A server of openssl's that answers everything with a listing, over TLS with this key and certificate.
struct OpenSsl {
    process: Child,
    port: u16,
}

impl OpenSsl {
    fn start(certificate: &Certificate) -> Self {
        // The port is free for long enough: ports are not given out anew that soon.
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
        // It says ACCEPT once it listens.
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
        trusting_file(&trusted.path)?.manifest(&reference).map(|fetched| fetched.bytes)
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
fn a_certificate_that_signs_itself_is_trusted_if_it_is_named() {
    if skip::needs_program("openssl") {
        return;
    }
    let directory = TempDir::new().unwrap();
    // An authority by its own word, as `openssl req -x509` makes it, and a plain server certificate.
    for extensions in [&[NAMES, AUTHORITY][..], &[NAMES]] {
        let named = self_signed(directory.path(), "self", extensions, 2);
        let server = OpenSsl::start(&named);
        for host in ["127.0.0.1", "localhost"] {
            assert!(server.get(host, &named).unwrap().starts_with(b"<HTML>"), "{extensions:?} {host}");
        }
        let other = self_signed(directory.path(), "other", extensions, 2);
        let error = says(server.get("127.0.0.1", &other), &["certificate"]);
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    }
}

#[test]
fn a_named_certificate_must_have_the_name_and_be_in_its_time() {
    if skip::needs_program("openssl") {
        return;
    }
    let directory = TempDir::new().unwrap();
    let elsewhere = "subjectAltName=DNS:elsewhere.test";
    for (name, days, text) in [(elsewhere, 2, "not valid for name"), (NAMES, -1, "Expired")] {
        for extensions in [&[name, AUTHORITY][..], &[name]] {
            let named = self_signed(directory.path(), "self", extensions, days);
            let error = says(OpenSsl::start(&named).get("127.0.0.1", &named), &["https://127.0.0.1", text]);
            assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
        }
    }
}
