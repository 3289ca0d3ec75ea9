//! Images of a Docker engine.

use std::fs;
use std::io::Cursor;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use vmroot_errors::ErrorKind;
use vmroot_model::{Descriptor, Digest, Document, MediaType, Reference};
use vmroot_testkit::dockerd::Dockerd;
use vmroot_testkit::skip;
use vmroot_transport::{
    BlobRole, DaemonName, DaemonOptions, DestinationOptions, Error, ImageDestination, ImageName, ImageSource,
    ManifestPlace, NewBlob, open_daemon, open_daemon_destination,
};

use crate::builder::{Image, docker_save, tar};
use crate::pull::{assert_same_image, options, pull};

pub(crate) fn daemon_name(name: &str) -> DaemonName {
    let ImageName::Daemon(name) = ImageName::parse(&format!("docker-daemon:{name}")).unwrap() else { panic!("{name}") };
    name
}

pub(crate) fn daemon_options(host: &str, spool: &Path) -> DaemonOptions {
    DaemonOptions { host: host.to_owned(), ..DaemonOptions::new(options(spool)) }
}

pub(crate) fn open(host: &str, name: &str, spool: &Path) -> Result<Box<dyn ImageSource>, Error> {
    open_daemon(&daemon_name(name), &daemon_options(host, spool))
}

/// Writes an image and its manifest. The commit is still to be called.
pub(crate) fn write(destination: &dyn ImageDestination, image: &Image) {
    let mut layers = Vec::new();
    let mut put = |media_type: MediaType, role, bytes: &[u8]| {
        let descriptor = Descriptor::of(media_type, bytes);
        let mut blob = NewBlob::known(&descriptor, role, Cursor::new(bytes.to_vec()));
        destination.put_blob(&mut blob).unwrap();
        if role == BlobRole::Layer {
            layers.push(descriptor)
        }
    };
    put(MediaType::DOCKER_CONFIG, BlobRole::Config, &image.config);
    for layer in &image.layers {
        put(MediaType::DOCKER_LAYER, BlobRole::Layer, layer);
    }
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MediaType::DOCKER_MANIFEST,
        "config": Descriptor::of(MediaType::DOCKER_CONFIG, &image.config),
        "layers": layers,
    });
    let manifest = manifest.to_string().into_bytes();
    destination.put_manifest(&manifest, &MediaType::DOCKER_MANIFEST, ManifestPlace::Top).unwrap();
}

pub(crate) fn open_destination(host: &str, name: &str, spool: &Path) -> Result<Box<dyn ImageDestination>, Error> {
    let mut destination = DestinationOptions::new(spool);
    destination.additional_tags = vec![Reference::parse("example.com/more:tag").unwrap()];
    open_daemon_destination(&daemon_name(name), &destination, &daemon_options(host, spool))
}

#[test]
fn an_engine_saves_and_loads_images() {
    if Dockerd::is_missing() || skip::needs_program("docker") {
        return;
    }
    let engine = Dockerd::start(&[]);
    let spool = tempfile::tempdir().unwrap();
    let saved = spool.path().join("saved.tar");
    let base = Image::new(1, 2);
    let image = Image::of(vec![base.layers[0].clone(), base.layers[1].clone(), base.layers[0].clone()]);
    fs::write(&saved, tar(&docker_save(&[(&image, &["loaded:1", "example.com/x/loaded:2"])]))).unwrap();
    engine.docker(&["load", "--input", saved.to_str().unwrap()]);
    fs::remove_file(saved).unwrap();

    let id = engine.docker(&["image", "inspect", "--format", "{{.Id}}", "loaded:1"]);
    for name in ["loaded:1", "example.com/x/loaded:2", &id] {
        let source = open(&engine.host(), name, spool.path()).unwrap();
        assert_eq!(source.name(), format!("docker-daemon:{name}"));
        let pulled = pull(&*source);
        assert_eq!(Digest::of(&pulled.config).to_string(), id);
        assert!(pulled.layers == image.layers, "{name}");
    }
    assert_eq!(fs::read_dir(spool.path()).unwrap().count(), 0, "the archive has no name");
    for name in ["absent:1", &Digest::of(b"absent").to_string()] {
        let error = open(&engine.host(), name, spool.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("did not save the image"), "{error}");
    }

    // Another image, under two names.
    let other = Image::new(3, 3);
    let destination = open_destination(&engine.host(), "written:1", spool.path()).unwrap();
    assert_eq!(destination.name(), "docker-daemon:written:1");
    write(&*destination, &other);
    assert_eq!(engine.docker(&["images", "--quiet", "written:1"]), "", "nothing before the commit");
    destination.commit().unwrap();
    for name in ["written:1", "example.com/more:tag"] {
        let id = engine.docker(&["image", "inspect", "--format", "{{.Id}}", name]);
        assert_eq!(id, other.id().to_string());
        assert_same_image(&*open(&engine.host(), name, spool.path()).unwrap(), &other);
    }
    assert!(matches!(destination.commit().unwrap_err(), Error::NoManifest { .. }));
    // skopeo reads the image as well.
    if !skip::needs_program("skopeo") {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--override-arch", "arm64", "inspect", "--raw", "--daemon-host", &engine.host()]);
        let output = skopeo.arg("docker-daemon:written:1").stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let Document::Manifest(manifest) = Document::parse(output.stdout, None).unwrap() else { panic!("an index") };
        assert_eq!(manifest.config().digest, other.id());
    }
    // A layer that does not have its diff id, which only the engine notices.
    let mut wrong = Image::new(4, 2);
    wrong.layers[1] = Image::new(5, 1).layers.remove(0);
    let destination = open_destination(&engine.host(), "wrong:1", spool.path()).unwrap();
    write(&*destination, &wrong);
    let error = destination.commit().unwrap_err();
    assert!(matches!(&error, Error::DaemonRefused { action: "load the image", .. }), "{error}");
    assert_eq!(engine.docker(&["images", "--quiet", "wrong:1"]), "");
}

/// Makes an authority, and certificates of a server and of a client, in the files that Docker expects.
fn make_certificates(directory: &Path) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output().unwrap();
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca-key.pem -out ca.pem -subj /CN=authority -days 2"));
    for (name, extensions) in [
        ("server", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"),
        ("client", "extendedKeyUsage=clientAuth\n"),
    ] {
        fs::write(directory.join("extensions"), extensions).unwrap();
        openssl(&format!("req {key} -keyout {name}-key.pem -out {name}.csr -subj /CN={name}"));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile extensions -out {name}.pem"
        ));
    }
    fs::rename(directory.join("client.pem"), directory.join("cert.pem")).unwrap();
    fs::rename(directory.join("client-key.pem"), directory.join("key.pem")).unwrap();
}

#[test]
fn an_engine_with_tls_needs_a_certificate() {
    if Dockerd::is_missing() || skip::needs_program("openssl") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    make_certificates(directory.path());
    let at = |name: &str| directory.path().join(name).display().to_string();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let host = format!("tcp://{address}");
    let engine = Dockerd::start(&[
        "--tlsverify",
        "--tlscacert",
        &at("ca.pem"),
        "--tlscert",
        &at("server.pem"),
        "--tlskey",
        &at("server-key.pem"),
        "-H",
        &host,
    ]);
    let with = |cert_dir: Option<&Path>, insecure| {
        let cert_dir = cert_dir.map(Path::to_owned);
        let options = DaemonOptions { cert_dir, insecure, ..daemon_options(&host, directory.path()) };
        open_daemon(&daemon_name("absent:1"), &options).unwrap_err()
    };
    // The engine answers that it does not have the image.
    for insecure in [false, true] {
        let error = with(Some(directory.path()), insecure);
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    // Its certificate is unknown, or the client has none.
    for insecure in [false, true] {
        let error = with(None, insecure);
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    }
    fs::write(directory.path().join("key.pem"), "no key").unwrap();
    let error = with(Some(directory.path()), false);
    assert!(matches!(&error, Error::Certificates { path, .. } if path.ends_with("key.pem")), "{error}");
    fs::remove_file(directory.path().join("ca.pem")).unwrap();
    let error = with(Some(directory.path()), false);
    assert!(matches!(&error, Error::Certificates { path, .. } if path.ends_with("ca.pem")), "{error}");
    drop(engine);
}

#[test]
fn names_without_a_tag_are_not_written() {
    let spool = tempfile::tempdir().unwrap();
    let digest = Digest::of(b"");
    for name in [digest.to_string(), format!("busybox@{digest}")] {
        let error = open_destination("unix:///nonexistent", &name, spool.path()).unwrap_err();
        assert!(error.to_string().contains("a destination is NAME:TAG"), "{error}");
    }
}
