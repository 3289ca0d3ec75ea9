//! Failures of files, archives, registries and caches.

use std::ffi::OsStr;
use std::fs;

use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::registry::{Auth, CA_PEM, Fault, PlainAnswer, Registry, Rule};
use vmroot_testkit::skip;

use super::Transcript;
use crate::docker_registry::DockerRegistry;
use crate::program::Program;
use crate::samples::{image, serve};

const DEMO: &str = concat!("oci:", env!("CARGO_MANIFEST_DIR"), "/../../testdata/demo");

/// Files of the wrong kind, and files and directories that are confused.
#[test]
fn files() {
    let program = Program::new();
    program.file("text", "root:x:0:0:root:/root:/bin/bash\n".repeat(40));
    program.file("page.html", "<!DOCTYPE html><html><body>Not Found</body></html>");
    program.file("disk.qcow2", [&b"QFI\xfb"[..], &[0; 2000]].concat());
    program.file("package.zip", b"PK\x03\x04............................");
    program.file("empty", "");
    program.file("cut.tar", &Layer::new([Entry::file("f", "x".repeat(4000))]).to_tar(&Encoding::default())[..2000]);
    fs::create_dir(program.path("directory")).unwrap();
    fs::create_dir(program.path("full")).unwrap();
    program.file("full/file", "");
    let mut transcript = Transcript::new(&program).replace(DEMO, "oci:demo");
    for file in ["text", "page.html", "disk.qcow2", "package.zip", "empty", "cut.tar", "directory", "missing"] {
        transcript.run(["load", file]);
        transcript.run(["layer", "index", file, "--output", "index"]);
    }
    for verb in [
        &["commit", DEMO, "text", "--arch=amd64"][..],
        &["commit", DEMO, "directory", "--arch=amd64"],
        &["export", DEMO, "out.tar", "--layer", "disk.qcow2", "--arch=amd64"],
        &["pull", "docker-archive:-"],
        &["load", "docker-archive:-"],
        &["pull", "docker-archive:text"],
        &["pull", "oci-archive:text"],
        &["pull", "docker-archive:directory"],
        &["pull", "oci:text"],
        &["pull", "oci:directory"],
        &["pull", "dir:directory"],
        &["pull", "tarball:text"],
        &["pull", "sif:text"],
        &["ls", "prebaked:directory"],
        &["ls", "prebaked:text"],
        &["boot", DEMO, "--kernel", "text"],
        &["boot", DEMO, "--kernel", "directory"],
        &["boot", DEMO, "--kernel", "missing"],
        &["export", DEMO, "directory", "--format=ext4"],
        &["export", DEMO, "text", "--format=dir"],
        &["export", DEMO, "full", "--format=dir"],
        &["export", DEMO, "missing/out.tar"],
        &["export", DEMO, "text/out.tar"],
        &["mount", DEMO, "missing"],
        &["mount", DEMO, "text"],
        &["umount", "missing"],
        &["umount", "directory"],
        &["virtiofs", DEMO, "--socket=text"],
        &["manifest-digest", "directory"],
        &["manifest-digest", "missing"],
        &["man", "text"],
        &["save", "demo", "-o", "missing/x.tar"],
        &["pull", "localhost:1/x", "--authfile=missing"],
        &["pull", "localhost:1/x", "--ca-file=missing"],
        &["pull", "localhost:1/x", "--ca-file=text"],
        &["images", "--cache", "text"],
    ] {
        transcript.run(verb);
    }
    transcript.check("files");
}

/// Disk images, their hash trees, and root hashes that are none.
#[test]
fn hash_trees() {
    let program = Program::new();
    program.file("disk", [0; 8192]);
    program.file("other", [0; 4096]);
    let mut transcript = Transcript::new(&program);
    transcript.run(["verity", "format", "disk"]);
    transcript.run(["verity", "format", "disk"]);
    transcript.run(["verity", "format", "disk", "--quiet", "--force"]);
    let hash = program.ok([OsStr::new("verity"), "format".as_ref(), "-qf".as_ref(), program.path("disk").as_os_str()]);
    let hash = hash.trim();
    transcript.run(["verity", "verify", "disk", "disk.verity", hash]);
    for (tree, hash) in [
        ("disk.verity", "abcd"),
        ("disk.verity", "xyz"),
        ("disk.verity", &hash.replace(['0', '1'], "2")),
        ("disk", hash),
        ("other", hash),
        ("missing", hash),
    ] {
        transcript.run(["verity", "verify", "disk", tree, hash]);
    }
    transcript.run(["verity", "dump", "disk"]);
    transcript.run(["verity", "dump", "other"]);
    transcript.check("hash_trees");
}

/// Images of file systems in place of archives, and files that are named as images.
#[test]
fn disk_images() {
    let program = Program::new();
    // As mkfs.erofs and mkfs.ext4 write them: the first 1024 bytes are zeros, and look like an empty tar.
    program.file("root.erofs", [&[0; 1024][..], b"\xe2\xe1\xf5\xe0", &[7; 3000]].concat());
    program.file("root.ext4", [&[0; 1080][..], b"\x53\xef", &[7; 3000]].concat());
    program.file("root.squashfs", [&b"hsqs"[..], &[7; 3000]].concat());
    program.file("image.tar", Layer::new([Entry::file("f", "")]).to_tar(&Encoding::default()));
    program.ok(["load", DEMO.strip_prefix("oci:").unwrap(), "--all-platforms"]);
    let mut transcript = Transcript::new(&program).replace(DEMO, "oci:demo").replace(&DEMO[4..], "demo");
    for file in ["root.erofs", "root.ext4", "root.squashfs"] {
        let tarball = format!("tarball:{file}");
        transcript.run(["load", file]);
        transcript.run(["layer", "index", file, "--output", "index"]);
        transcript.run(["pull", &tarball]);
        transcript.run(["commit", "demo", file, "--arch=amd64"]);
        transcript.run(["export", "demo", "out.tar", "--layer", file, "--arch=amd64"]);
        transcript.run(["ls", file, "--pull=never"]);
    }
    for words in ["ls image.tar / --pull=never", "inspect image.tar --pull=never", "config ./image.tar", "ls ./missing"]
    {
        transcript.run(words.split(' '));
    }
    fs::create_dir(program.path("layout")).unwrap();
    program.file("layout/index.json", "{}");
    transcript.run(["ls", "layout", "--pull=never"]);
    transcript.run(["load", &DEMO[4..], "--platform=linux/s390x"]);
    transcript.run(["inspect", "demo", "--format={{.Config}}", "--arch=amd64"]);
    transcript.run(["inspect", "demo", "--config", "--format={{.Config.Nonsense}}", "--arch=amd64"]);
    transcript.run(["history", "demo", "--format={{.Nonsense}}", "--arch=amd64"]);
    transcript.run(["logout", "registry.example"]);
    transcript.check("disk_images");
}

/// Registries that refuse, fail, or are not there.
#[test]
fn registries() {
    let registry = Registry::start();
    let built = image("amd64");
    let reference = serve(&registry, &built, "v1");
    let program = Program::new();
    let mut transcript = Transcript::new(&program).replace(registry.host(), "[REGISTRY]");
    let missing = reference.replace(":v1", ":v2");
    let other = format!("{}/test/none:v1", registry.host());
    transcript.run(["pull", &missing]);
    transcript.run(["ls", &missing]);
    transcript.run(["inspect", &missing]);
    transcript.run(["ls", &other]);
    transcript.run(["tags", &other]);
    transcript.run(["pull", &reference, "--platform=linux/s390x"]);
    transcript.run(["delete", &missing]);
    registry.misbehave(Rule::on(&built.layers[1].digest.to_string()).fault(Fault::Corrupt(100)));
    transcript.run(["pull", &reference, "--arch=amd64", "--retries=0"]);
    registry.behave();
    registry.require(Auth::basic("user", "secret"));
    transcript.run(["pull", &reference]);
    transcript.run(["ls", &reference]);
    transcript.run(["copy", &format!("docker://{reference}"), "oci:layout"]);
    transcript.run(["pull", &reference, "--creds=user:wrong"]);
    transcript.run(["copy", &format!("docker://{reference}"), "oci:layout", "--src-creds=user:wrong"]);
    transcript.run(["login", &registry.host(), "--username=user", "--password=wrong"]);
    transcript.run(["logout", &registry.host()]);
    transcript.check("registries");
}

/// A port on which nothing listens.
#[test]
fn closed_port() {
    let host = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let program = Program::new();
    let mut transcript =
        Transcript::new(&program).replace(host.to_string(), "[REGISTRY]").replace(host.port().to_string(), "[PORT]");
    let image = format!("{host}/team/app:1");
    for verb in [&["pull"][..], &["ls"], &["inspect"], &["tags"], &["export", "--format=tar"], &["config"]] {
        let out = if verb[0] == "export" { Some("out.tar") } else { None };
        transcript
            .run(verb.iter().copied().take(1).chain([image.as_str()]).chain(out).chain(verb.iter().copied().skip(1)));
    }
    transcript.run(["copy", &format!("docker://{image}"), "oci:layout"]);
    transcript.run(["login", &host.to_string(), "--username=a", "--password=b"]);
    transcript.check("closed_port");
}

/// A registry with TLS whose authority is unknown, and files that are no certificates.
#[test]
fn tls() {
    let registry = Registry::start_tls(PlainAnswer::BadRequest);
    let image = serve(&registry, &image("amd64"), "v1");
    let program = Program::new();
    program.file("authority.pem", CA_PEM);
    program.file("bundle.pem", "");
    let mut transcript = Transcript::new(&program).replace(registry.host(), "[REGISTRY]");
    transcript.run(["pull", &image, "--arch=amd64"]);
    transcript.run(["ls", &image, "--arch=amd64", "--tls-verify=true"]);
    transcript.run(["pull", &image, "--arch=amd64", "--ca-file=bundle.pem"]);
    transcript.run(["pull", &image, "--arch=amd64", "--plain-http"]);
    let plain = Registry::start();
    let mut transcript = transcript.replace(plain.host(), "[PLAIN]");
    transcript.run(["pull", &format!("{}/test/image:v1", plain.host()), "--tls-verify=true"]);
    transcript.check("tls");
    // The reason depends on which side closes first.
    for answer in [PlainAnswer::Alert, PlainAnswer::Close] {
        let registry = Registry::start_tls(answer);
        let image = serve(&registry, &crate::samples::image("amd64"), "v1");
        let message = program.fails(1, ["pull", &image, "--plain-http", "--retries=0"]);
        assert!(message.contains("speaks TLS") && message.contains("without --plain-http"), "{answer:?}: {message}");
    }
    program.ok(["pull", &image, "--arch=amd64", "--ca-file", program.path("authority.pem").to_str().unwrap()]);
}

/// A system without certificates of authorities.
#[test]
fn no_authorities() {
    let registry = Registry::start_tls(PlainAnswer::BadRequest);
    let image = serve(&registry, &image("amd64"), "v1");
    let program = Program::new();
    let authority = program.file("authority.pem", CA_PEM);
    let none = program.file("none.pem", "");
    let run = |arguments: &[&str]| {
        let mut command = program.command(arguments);
        // As rustls-native-certs and OpenSSL read them: these places replace those of the system.
        command.env("SSL_CERT_FILE", &none).env("SSL_CERT_DIR", program.path("none"));
        crate::program::CommandOutput::from(command.output().unwrap())
    };
    let message = run(&["pull", &image, "--arch=amd64", "--tls-verify=true"]).fails(1);
    for part in ["this system has no certificates of authorities", "ca-certificates", "--ca-file"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    run(&["pull", &image, "--arch=amd64", "--ca-file", authority.to_str().unwrap()]).ok();
    let certificates = program.path(&format!(".config/containers/certs.d/{}", registry.host()));
    fs::create_dir_all(&certificates).unwrap();
    fs::write(certificates.join("ca.crt"), CA_PEM).unwrap();
    run(&["pull", &image, "--arch=amd64"]).ok();
}

/// Debian's registry with a file of users: without credentials, with wrong ones, and with the right ones.
#[test]
fn registry_with_users() {
    if skip::needs_program("docker-registry") {
        return;
    }
    let registry = DockerRegistry::start_with_password();
    let program = Program::new();
    let image = format!("{}/team/app:1", registry.host);
    let mut transcript = Transcript::new(&program).replace(&registry.host, "[REGISTRY]").replace(DEMO, "oci:demo");
    let destination = format!("docker://{image}");
    transcript.run(["pull", &image]);
    transcript.run(["pull", &image, "--creds=user:wrong"]);
    transcript.run(["copy", DEMO, &destination, "--arch=amd64", "--quiet"]);
    transcript.run(["copy", DEMO, &destination, "--arch=amd64", "--quiet", "--dest-creds=user:wrong"]);
    transcript.run(["login", &registry.host, "--username=user", "--password=wrong"]);
    transcript.run(["login", &registry.host, "--username=user", "--password=secret"]);
    transcript.run(["copy", DEMO, &destination, "--arch=amd64", "--quiet"]);
    transcript.run(["pull", &image, "--arch=amd64"]);
    transcript.run(["pull", &image.replace(":1", ":2"), "--arch=amd64"]);
    transcript.check("registry_with_users");
}
