//! Connections by the configuration: certificates, client certificates, and registries without any.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use vmroot_config_files::{Configuration, Locations};
use vmroot_model::Reference;
use vmroot_registry::{Client, ClientOptions, Error};
use vmroot_testkit::{FullMessage as _, skip};

use crate::home::Home;

/// A running `docker-registry`, which is killed on drop.
pub(crate) struct DockerRegistry {
    process: Child,
    pub(crate) host: String,
    _directory: TempDir,
}

impl DockerRegistry {
    /// Starts a registry. `http` is appended to the `http` section of its configuration, and `part` is a section of its
    /// own.
    fn start(directory: TempDir, http: &str, part: &str) -> Self {
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let storage = directory.path().join("storage");
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http:\n  addr: {host}\n{http}{part}",
            storage.display()
        );
        let path = directory.path().join("config.yml");
        fs::write(&path, config).unwrap();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(path).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut process = command.spawn().unwrap();
        while TcpStream::connect(&host).is_err() {
            let log = || fs::read_to_string(directory.path().join("log")).unwrap_or_default();
            assert!(process.try_wait().unwrap().is_none(), "docker-registry ended: {}", log());
            thread::sleep(Duration::from_millis(10));
        }
        Self { process, host, _directory: directory }
    }

    /// Starts a registry that requires the user `ann` and the password `pass:word`.
    pub(crate) fn with_password() -> Self {
        let directory = TempDir::new().unwrap();
        let entries = Command::new("htpasswd").args(["-Bbn", "ann", "pass:word"]).output().unwrap();
        assert!(entries.status.success());
        let path = directory.path().join("htpasswd");
        fs::write(&path, entries.stdout).unwrap();
        let auth = format!("auth:\n  htpasswd:\n    realm: r\n    path: {}\n", path.display());
        Self::start(directory, "", &auth)
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns whether one of the programs is missing on this machine.
pub(crate) fn is_missing_one_of(programs: &[&str]) -> bool {
    programs.iter().any(|program| skip::needs_program(program))
}

/// A certificate and its key, in PEM files.
struct Certificate {
    path: PathBuf,
    key: PathBuf,
}

/// Creates a certificate, signed by an authority or by itself.
fn certificate(directory: &Path, name: &str, extension: &str, authority: Option<&Certificate>) -> Certificate {
    let path = |ending: &str| directory.join(format!("{name}.{ending}"));
    let made = Certificate { path: path("cert"), key: path("key") };
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    command.args(["-subj", &format!("/CN={name}"), "-addext", extension]);
    command.arg("-keyout").arg(&made.key).arg("-out").arg(&made.path);
    if let Some(authority) = authority {
        command.arg("-CA").arg(&authority.path).arg("-CAkey").arg(&authority.key);
        command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    made
}

/// A registry with TLS that requires client certificates of an authority, and files for it.
struct Secured {
    registry: DockerRegistry,
    files: TempDir,
    authority: Certificate,
    client: Certificate,
}

fn secured(requires_client: bool) -> Secured {
    let files = TempDir::new().unwrap();
    let authority = certificate(files.path(), "authority", "keyUsage=critical,keyCertSign", None);
    let names = "subjectAltName=DNS:localhost,IP:127.0.0.1";
    let server = certificate(files.path(), "server", names, Some(&authority));
    let client = certificate(files.path(), "client", "extendedKeyUsage=clientAuth", Some(&authority));
    let mut tls = format!("  tls:\n    certificate: {}\n    key: {}\n", server.path.display(), server.key.display());
    if requires_client {
        tls += &format!("    clientcas:\n      - {}\n", authority.path.display());
    }
    Secured { registry: DockerRegistry::start(TempDir::new().unwrap(), &tls, ""), files, authority, client }
}

/// Requests a manifest that does not exist. An answer shows that the connection works.
fn connect(locations: &Locations, tls_verify: Option<bool>, host: &str) -> Result<(), Error> {
    let hosts = Arc::new(Configuration::new(locations.clone()).with_tls_verify(tls_verify));
    let client = Client::new(ClientOptions { hosts, retries: 0, ..ClientOptions::default() }).unwrap();
    match client.manifest(&Reference::parse(&format!("{host}/a/b:missing")).unwrap()) {
        Err(Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => panic!("the registry is empty"),
    }
}

#[test]
fn certificates_of_certs_d_are_used() {
    if is_missing_one_of(&["docker-registry", "openssl"]) {
        return;
    }
    let Secured { registry, files, authority, client } = secured(true);
    let (host, home) = (registry.host.as_str(), Home::new());
    let directory = home.path("root/etc/containers/certs.d").join(host);
    fs::create_dir_all(&directory).unwrap();
    let copy = |from: &Path, name: &str| fs::copy(from, directory.join(name)).unwrap();
    let locations = home.locations();
    let failed = connect(&locations, None, host).unwrap_err();
    assert!(matches!(failed, Error::Certificate { .. }), "{failed:?}");

    copy(&authority.path, "ca.crt");
    let message = connect(&locations, None, host).unwrap_err().full_message();
    assert!(message.to_lowercase().contains("certificate"), "{message}");

    // Of two certificates, the one of the server's authority is presented.
    let other = certificate(files.path(), "other", "extendedKeyUsage=clientAuth", None);
    for (certificate, name) in [(&other, "a"), (&client, "b")] {
        copy(&certificate.path, &format!("{name}.cert"));
        copy(&certificate.key, &format!("{name}.key"));
    }
    connect(&locations, None, host).unwrap();

    // The certificate is presented to an insecure registry, too.
    fs::remove_file(directory.join("ca.crt")).unwrap();
    connect(&locations, Some(false), host).unwrap();
    assert!(connect(&locations, None, host).is_err());

    fs::copy(&other.key, directory.join("b.key")).unwrap();
    let message = connect(&locations, Some(false), host).unwrap_err().full_message();
    assert!(message.contains("b.key") && message.contains("b.cert"), "{message}");
    fs::remove_file(directory.join("b.key")).unwrap();
    let message = connect(&locations, Some(false), host).unwrap_err().full_message();
    assert!(message.contains("b.cert") && message.contains("has no key"), "{message}");
}

#[test]
fn an_insecure_registry_is_reached_over_tls_and_over_plain_http() {
    if is_missing_one_of(&["docker-registry", "openssl"]) {
        return;
    }
    // The registry reads its certificate after it listens, so the files must stay.
    let Secured { registry: tls, files: _files, .. } = secured(false);
    let plain = DockerRegistry::start(TempDir::new().unwrap(), "", "");
    let home = Home::new();
    let locations = home.with_conf("");
    for (host, tls_verify, connects) in [
        (&tls.host, None, false),
        (&tls.host, Some(true), false),
        (&tls.host, Some(false), true),
        // Without an option, plain HTTP is used for loopback.
        (&plain.host, None, true),
        (&plain.host, Some(true), false),
        (&plain.host, Some(false), true),
    ] {
        let connected = connect(&locations, tls_verify, host);
        assert_eq!(connected.is_ok(), connects, "{host} {tls_verify:?}: {connected:?}");
    }
    let insecure = home.with_conf(&format!("[[registry]]\nlocation='{}/a'\ninsecure=true\n", tls.host));
    connect(&insecure, None, &tls.host).unwrap();
    assert!(connect(&insecure, Some(true), &tls.host).is_err());
    let elsewhere = home.with_conf(&format!("[[registry]]\nlocation='{}/b'\ninsecure=true\n", tls.host));
    assert!(connect(&elsewhere, None, &tls.host).is_err());
}

#[test]
fn a_blocked_registry_is_not_asked() {
    let home = Home::new();
    // No server listens there.
    let locations = home.with_conf("[[registry]]\nlocation='127.0.0.1:1/a'\nblocked=true\n");
    let message = connect(&locations, None, "127.0.0.1:1").unwrap_err().full_message();
    assert!(message.contains("127.0.0.1:1/a") && message.contains("blocked") && message.contains("registries.conf"));
}

#[test]
fn a_login_is_checked() {
    if is_missing_one_of(&["docker-registry", "htpasswd"]) {
        return;
    }
    let registry = DockerRegistry::with_password();
    let home = Home::new();
    let login = |user: Option<&str>| {
        let configuration = Arc::new(Configuration::new(home.with_conf("")));
        if let Some(user) = user {
            let cancel = vmroot_registry::Cancel::new();
            configuration.store_credential(&registry.host, user, "pass:word", &cancel).unwrap();
        }
        let options = ClientOptions {
            hosts: Arc::clone(&configuration) as _,
            credentials: configuration,
            retries: 0,
            ..ClientOptions::default()
        };
        Client::new(options).unwrap().check_login(&registry.host)
    };
    for user in [None, Some("eve")] {
        assert!(matches!(login(user), Err(Error::Unauthorized { status: 401, .. })), "{user:?}");
    }
    login(Some("ann")).unwrap();
}
