//! Keys and certificates, created with openssl.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The extension with the names of a server on loopback.
pub(crate) const NAMES: &str = "subjectAltName=DNS:localhost,IP:127.0.0.1";

/// The extension of an authority's certificate.
pub(crate) const AUTHORITY: &str = "basicConstraints=critical,CA:TRUE";

/// A certificate and its key, in PEM files.
pub(crate) struct Certificate {
    pub(crate) path: PathBuf,
    pub(crate) key: PathBuf,
}

/// Creates a self-signed certificate.
pub(crate) fn self_signed(directory: &Path, name: &str, extensions: &[&str], days: i32) -> Certificate {
    let (certificate, request) = request(directory, name, extensions);
    sign(&certificate, &request, days, &["-signkey".as_ref(), &certificate.key]);
    certificate
}

/// Creates a certificate that an authority signs.
pub(crate) fn signed_by(authority: &Certificate, directory: &Path, name: &str, extensions: &[&str]) -> Certificate {
    let (certificate, request) = request(directory, name, extensions);
    let by = ["-CAcreateserial".as_ref(), "-CA".as_ref(), authority.path.as_path(), "-CAkey".as_ref(), &authority.key];
    sign(&certificate, &request, 2, &by);
    certificate
}

fn request(directory: &Path, name: &str, extensions: &[&str]) -> (Certificate, PathBuf) {
    let path = |ending: &str| directory.join(format!("{name}.{ending}"));
    let (key, request) = (path("key"), path("csr"));
    let mut command = Command::new("openssl");
    command.args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    command.args(["-subj", &format!("/CN={name}")]);
    for extension in extensions {
        command.args(["-addext", extension]);
    }
    run(command.arg("-keyout").arg(&key).arg("-out").arg(&request));
    (Certificate { path: path("pem"), key }, request)
}

fn sign(certificate: &Certificate, request: &Path, days: i32, by: &[&Path]) {
    let mut command = Command::new("openssl");
    command.args(["x509", "-req", "-copy_extensions", "copyall", "-days", &days.to_string(), "-in"]).arg(request);
    run(command.args(by).arg("-out").arg(&certificate.path));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
