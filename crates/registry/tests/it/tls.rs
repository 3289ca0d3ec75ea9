//! TLS with certificates that the caller names.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use vmroot_model::Reference;
use vmroot_registry::tls::{TlsDetails, TlsVersion};
use vmroot_registry::{CertificateFault, Client, ClientOptions, Error};
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
        &["https://127.0.0.1", "the authority that signed it is not trusted here"],
    );
    assert!(matches!(error, Error::Certificate { fault: CertificateFault::UnknownAuthority, .. }), "{error:?}");
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
        Self::start_with(certificate, &[])
    }

    /// Starts a server with further options.
    fn start_with(certificate: &Certificate, options: &[&str]) -> Self {
        // The port stays free, because the system does not reuse ports that soon.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut process = Command::new("openssl")
            .args(["s_server", "-www", "-accept", &format!("127.0.0.1:{port}"), "-key"])
            .arg(&certificate.key)
            .arg("-cert")
            .arg(&certificate.path)
            .args(options)
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
        self.get_with(host, trusted, TlsDetails::default())
    }

    fn get_with(&self, host: &str, trusted: &Certificate, tls: TlsDetails) -> Result<Vec<u8>, Error> {
        let reference = Reference::parse(&format!("{host}:{}/{NAME}", self.port)).unwrap();
        let client = Client::new(ClientOptions { ca_files: vec![trusted.path.clone()], tls, ..options() })?;
        client.manifest(&reference).map(|fetched| fetched.bytes)
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
        let fault = CertificateFault::UnknownAuthority;
        assert!(matches!(&error, Error::Certificate { fault: own, .. } if *own == fault), "{error:?}");
        assert!(!error.to_string().contains("Error("), "{error}");
    }
}

#[test]
fn a_named_certificate_must_match_the_host_and_be_valid_now() {
    if skip::needs_program("openssl") {
        return;
    }
    let directory = TempDir::new().unwrap();
    let elsewhere = "subjectAltName=DNS:elsewhere.test";
    for (name, days, text) in [(elsewhere, 2, "it is not for 127.0.0.1"), (NAMES, -1, "expired")] {
        for extensions in [&[name, AUTHORITY][..], &[name]] {
            let named = self_signed(directory.path(), "self", extensions, days);
            let error = assert_message(OpenSsl::start(&named).get("127.0.0.1", &named), &["https://127.0.0.1", text]);
            assert!(matches!(error, Error::Certificate { .. }), "{error:?}");
        }
    }
}

#[test]
fn only_the_allowed_parts_of_tls_are_used() {
    if skip::needs_program("openssl") {
        return;
    }
    let directory = TempDir::new().unwrap();
    let named = self_signed(directory.path(), "self", &[NAMES], 2);
    let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    let new_only = TlsDetails::new(Some(TlsVersion::Tls13), None, None).unwrap();
    let one_suite = TlsDetails::new(None, names(&["TLS_CHACHA20_POLY1305_SHA256"]), None).unwrap();
    let old_suite = TlsDetails::new(None, names(&["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]), None).unwrap();
    let one_group = TlsDetails::new(None, None, names(&["secp384r1"])).unwrap();
    let server = OpenSsl::start(&named);
    let page =
        |tls: &TlsDetails| String::from_utf8(server.get_with("127.0.0.1", &named, tls.clone()).unwrap()).unwrap();
    assert!(page(&new_only).contains("TLSv1.3, Cipher is "));
    assert!(page(&one_suite).contains("Cipher is TLS_CHACHA20_POLY1305_SHA256"));
    assert!(page(&old_suite).contains("TLSv1.2, Cipher is ECDHE-ECDSA-AES256-GCM-SHA384"));
    page(&one_group);
    // Servers that have nothing of it.
    for (options, tls) in [
        (&["-tls1_2"][..], &new_only),
        (&["-ciphersuites", "TLS_AES_128_GCM_SHA256", "-tls1_3"], &one_suite),
        (&["-tls1_3"], &old_suite),
        (&["-groups", "P-256"], &one_group),
    ] {
        let server = OpenSsl::start_with(&named, options);
        assert!(server.get_with("127.0.0.1", &named, tls.clone()).is_err(), "{options:?}");
        assert!(server.get("127.0.0.1", &named).is_ok(), "{options:?}");
    }
}
