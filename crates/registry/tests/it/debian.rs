//! Tests against Debian's `docker-registry`, with an image that skopeo pushes.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use vmroot_model::{Descriptor, Digest, Document, Hasher, Reference};
use vmroot_registry::{Client, ClientOptions, Error};
use vmroot_testkit::skip;

use crate::certificates::{AUTHORITY, NAMES, self_signed, signed_by};
use crate::fixture::{assert_message, client, client_with, options, password, read};
use crate::tls::client_trusting;

/// A running `docker-registry`, which is killed on drop.
pub(crate) struct DockerRegistry {
    process: Child,
    pub(crate) host: String,
    directory: TempDir,
}

impl DockerRegistry {
    /// Starts a registry in `directory`. `http` is appended to the `http` section of its configuration, and `part` is a
    /// section of its own.
    pub(crate) fn start(directory: TempDir, http: &str, part: &str) -> Self {
        Self::start_with(directory, "", http, part)
    }

    /// Starts a registry that allows deletion.
    pub(crate) fn with_deletion() -> Self {
        Self::start_with(TempDir::new().unwrap(), ", delete: {enabled: true}", "", "")
    }

    fn start_with(directory: TempDir, storage_options: &str, http: &str, part: &str) -> Self {
        // The port stays free, because the system does not reuse ports that soon.
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let storage = directory.path().join("storage");
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}{storage_options}}}\n\
             http:\n  addr: {host}\n{http}{part}",
            storage.display()
        );
        let path = directory.path().join("config.yml");
        fs::write(&path, config).unwrap();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        while TcpStream::connect(&host).is_err() {
            let log = || fs::read_to_string(directory.path().join("log")).unwrap_or_default();
            assert!(process.try_wait().unwrap().is_none(), "docker-registry ended: {}", log());
            thread::sleep(Duration::from_millis(10));
        }
        Self { process, host, directory }
    }

    /// Starts a registry that requires the user `ann` and the password `pass:word`.
    pub(crate) fn with_password() -> Self {
        let directory = TempDir::new().unwrap();
        let entries = Command::new("htpasswd").args(["-Bbn", "ann", "pass:word"]).output().unwrap();
        assert!(entries.status.success());
        let path = directory.path().join("htpasswd");
        fs::write(&path, entries.stdout).unwrap();
        let realm = "Ann's, and nobody else's";
        let auth = format!("auth:\n  htpasswd:\n    realm: \"{realm}\"\n    path: {}\n", path.display());
        Self::start(directory, "", &auth)
    }

    /// Pushes the demo image with all its platforms. `arguments` are skopeo's options for access.
    fn fill(&self, arguments: &[&str]) {
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/demo");
        let done = Command::new("skopeo")
            // The machine may have no policy file.
            .args(["--insecure-policy", "copy", "--quiet", "--all"])
            .args(arguments)
            .arg(format!("oci:{}:demo", demo.display()))
            .arg(format!("docker://{}", self.name()))
            .env("HOME", self.directory.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn name(&self) -> String {
        format!("{}/team/demo:v1", self.host)
    }

    fn reference(&self) -> Reference {
        Reference::parse(&self.name()).unwrap()
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

/// Reads every manifest and blob of the image, whole and from the middle on, and checks them. Returns the number of
/// blobs.
fn pull(client: &Client, reference: &Reference) -> usize {
    let head = client.head_manifest(reference).unwrap();
    let top = client.manifest(reference).unwrap();
    assert_eq!((head.digest, head.size), (Some(top.digest), Some(top.bytes.len() as u64)));
    assert_eq!(head.media_type, top.media_type);
    let Document::Index(index) = Document::parse(top.bytes, top.media_type.as_deref()).unwrap() else {
        panic!("the demo image has two architectures")
    };
    let mut count = 0;
    for entry in index.manifests() {
        let fetched = client.manifest_by_digest(reference, &entry.digest).unwrap();
        let document = Document::parse(fetched.bytes, fetched.media_type.as_deref()).unwrap();
        let Document::Manifest(manifest) = document else { panic!("{entry:?}") };
        for blob in manifest.layers().iter().chain([manifest.config()]) {
            check_blob(client, reference, blob);
            count += 1;
        }
    }
    count
}

fn check_blob(client: &Client, reference: &Reference, blob: &Descriptor) {
    let bytes = read(client.resuming_blob(reference, blob, 0)).unwrap();
    let mut hasher = Hasher::new(blob.digest.algorithm());
    hasher.update(&bytes);
    assert_eq!((hasher.finish(), bytes.len() as u64), (blob.digest, blob.size));
    let middle = blob.size / 2;
    let body = client.blob(reference, blob, middle).unwrap();
    assert_eq!(body.offset(), middle);
    assert!(read(body).unwrap() == bytes[middle as usize..]);
}

#[test]
fn over_plain_http() {
    if is_missing_one_of(&["docker-registry", "skopeo"]) {
        return;
    }
    let registry = DockerRegistry::start(TempDir::new().unwrap(), "", "");
    registry.fill(&["--dest-tls-verify=false"]);
    assert!(pull(&client(), &registry.reference()) >= 4);

    let gone = Reference::parse(&format!("{}/team/demo:gone", registry.host)).unwrap();
    let error = assert_message(client().manifest(&gone), &["/v2/team/demo/manifests/gone", "MANIFEST_UNKNOWN"]);
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    let blob = Descriptor::of("application/octet-stream".into(), b"not there");
    let error =
        assert_message(client().blob(&gone, &blob, 0), &[&Digest::of(b"not there").to_string(), "BLOB_UNKNOWN"]);
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}

#[test]
fn with_passwords() {
    if is_missing_one_of(&["docker-registry", "skopeo", "htpasswd"]) {
        return;
    }
    let registry = DockerRegistry::with_password();
    registry.fill(&["--dest-tls-verify=false", "--dest-creds=ann:pass:word"]);
    assert!(pull(&client_with(password("ann", "pass:word")), &registry.reference()) >= 4);
    for client in [client(), client_with(password("ann", "wrong"))] {
        let error = assert_message(client.manifest(&registry.reference()), &["/v2/team/demo/manifests/v1", "401"]);
        assert!(matches!(error, Error::Unauthorized { status: 401, .. }), "{error:?}");
    }
}

#[test]
fn over_tls() {
    if is_missing_one_of(&["docker-registry", "skopeo", "openssl"]) {
        return;
    }
    let directory = TempDir::new().unwrap();
    let authority = self_signed(directory.path(), "authority", &[AUTHORITY], 2);
    let server = signed_by(&authority, directory.path(), "server", &[NAMES]);
    let tls = format!("  tls:\n    certificate: {}\n    key: {}\n", server.path.display(), server.key.display());
    let registry = DockerRegistry::start(directory, &tls, "");
    registry.fill(&["--dest-tls-verify=false"]);
    assert!(pull(&client_trusting(&authority.path).unwrap(), &registry.reference()) >= 4);

    let error = assert_message(
        client().manifest(&registry.reference()),
        &["https://127.0.0.1", "the authority that signed it is not trusted"],
    );
    assert!(matches!(error, Error::Certificate { .. }), "{error:?}");
    let plain = Client::new(ClientOptions { plain_http: true, ..options() }).unwrap();
    assert_message(plain.manifest(&registry.reference()), &["http://127.0.0.1", "HTTP request to an HTTPS server"]);
}
