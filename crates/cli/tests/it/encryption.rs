//! Encrypted layers, in both directions with real skopeo, through OCI layouts and Debian's docker-registry.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use vmroot_testkit::image::oci_layout::{self, Item};
use vmroot_testkit::image::{Compression, Image, ImageBuilder, IndexBuilder};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::newer::Newer;
use vmroot_testkit::skip;

use crate::docker_registry::DockerRegistry;
use crate::program::Program;

/// Recipients in the notation of skopeo, and the files with the keys.
const FORMS: [(&str, &[&str]); 4] = [
    ("jwe:rsa.pub.pem", &["rsa.pkcs8.pem"]),
    ("jwe:p256.pub.pem", &["p256.pkcs8.pem"]),
    ("pkcs7:rsa.crt.pem", &["rsa.pkcs8.pem", "rsa.crt.pem"]),
    ("pgp:ann@example.org", &["ann.secret.pgp"]),
];

/// Returns the path of a file of the crate `encryption`.
fn key(name: &str) -> String {
    format!("{}/../encryption/tests/keys/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn recipient(text: &str) -> String {
    match text.split_once(':').unwrap() {
        ("pgp", _) => format!("--encryption-key={text}"),
        (scheme, file) => format!("--encryption-key={scheme}:{}", key(file)),
    }
}

fn decryption_keys(files: &[&str]) -> Vec<String> {
    files.iter().map(|file| format!("--decryption-key={}", key(file))).collect()
}

fn image(architecture: &str) -> Image {
    let builder = ImageBuilder::new().platform(&format!("linux/{architecture}")).compression(Compression::Gzip);
    let layer = |name: &str| Layer::new([Entry::file(name, name.repeat(1000))]);
    builder.layer(&layer("base")).layer(&layer(architecture)).build()
}

/// A program, a home of gpg with the public keys, and a layout with an image and a list.
struct Lab {
    program: Program,
    gnupg: TempDir,
}

impl Lab {
    fn new() -> Self {
        let gnupg = tempfile::tempdir().unwrap();
        let mut import = Command::new("gpg");
        import.env("GNUPGHOME", gnupg.path()).args(["--batch", "--quiet", "--import"]).arg(key("ann.asc"));
        assert!(import.output().unwrap().status.success());
        let lab = Self { program: Program::new(), gnupg };
        let list = IndexBuilder::new().image(image("amd64")).image(image("arm64")).build();
        let single = image("amd64");
        std::fs::create_dir(lab.path("plain")).unwrap();
        let items = [(Item::Image(&single), Some("v1")), (Item::Index(&list), Some("list"))];
        oci_layout::write(&lab.path("plain"), &items).unwrap();
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.program.path(name)
    }

    fn oci(&self, name: &str) -> String {
        let (directory, tag) = name.split_once(':').unwrap();
        format!("oci:{}:{tag}", self.path(directory).display())
    }

    fn skopeo(&self, options: &[String], from: &str, to: &str) {
        let mut command = Command::new("skopeo");
        command.env("GNUPGHOME", self.gnupg.path()).args(["--insecure-policy", "copy", "--quiet"]);
        command.args(["--src-tls-verify=false", "--dest-tls-verify=false"]).args(options).args([from, to]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{options:?} {from} {to}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn vmroot(&self, options: &[String], from: &str, to: &str) -> Value {
        let arguments = ["copy", "--json"].iter().map(|it| (*it).to_owned()).chain(options.iter().cloned());
        let arguments = arguments.chain([from.to_owned(), to.to_owned()]);
        let output = self.program.command(arguments).env("GNUPGHOME", self.gnupg.path()).output().unwrap();
        assert!(output.status.success(), "{options:?} {from} {to}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Returns the digests and types of the layers of an image.
    fn layers(&self, name: &str) -> Vec<(String, String)> {
        let manifest: Value = serde_json::from_str(&self.program.ok(["inspect", "--raw", name])).unwrap();
        let layer = |layer: &Value| {
            let text = |member: &str| layer[member].as_str().unwrap().to_owned();
            (text("digest"), text("mediaType"))
        };
        manifest["layers"].as_array().unwrap().iter().map(layer).collect()
    }
}

fn is_missing() -> bool {
    skip::needs_program("skopeo") || skip::needs_program("gpg") || skip::needs_program("docker-registry")
}

#[test]
fn skopeo_and_vmroot_decrypt_what_the_other_encrypts() {
    if is_missing() {
        return;
    }
    let (lab, registry) = (Lab::new(), DockerRegistry::start());
    let plain = lab.layers(&lab.oci("plain:v1"));
    for (number, (text, files)) in FORMS.into_iter().enumerate() {
        let (encryption, decryption) = ([recipient(text)], decryption_keys(files));
        let in_registry = |by: &str| format!("docker://{}/{by}:{number}", registry.host);
        lab.skopeo(&encryption, &lab.oci("plain:v1"), &in_registry("skopeo"));
        lab.vmroot(&encryption, &lab.oci("plain:v1"), &in_registry("vmroot"));
        let ours = format!("ours{number}:v1");
        let theirs = format!("theirs{number}:v1");
        lab.vmroot(&decryption, &in_registry("skopeo"), &lab.oci(&ours));
        lab.skopeo(&decryption, &in_registry("vmroot"), &lab.oci(&theirs));
        for (by, copied) in [("skopeo", ours), ("vmroot", theirs)] {
            let encrypted = lab.layers(&in_registry(by));
            assert!(encrypted.iter().all(|(_, media_type)| media_type.ends_with("+gzip+encrypted")), "{encrypted:?}");
            assert_eq!(lab.layers(&lab.oci(&copied)), plain, "{text}, encrypted by {by}");
        }
    }
}

/// As with the machine's skopeo, for which the newer one has other libraries, and for keys of more kinds.
#[test]
fn a_newer_skopeo_agrees() {
    let Some(newer) = Newer::find() else { return };
    if is_missing() {
        return;
    }
    let (lab, registry) = (Lab::new(), DockerRegistry::start());
    let plain = lab.layers(&lab.oci("plain:v1"));
    let from = format!("docker://{}/plain:v1", registry.host);
    lab.vmroot(&[], &lab.oci("plain:v1"), &from);
    let forms: [(&[&str], &[&str]); 6] = [
        (&["jwe:rsa.pub.pem"], &["rsa.pkcs8.pem"]),
        (&["jwe:p256.pub.pem"], &["p256.pkcs8.pem"]),
        (&["jwe:p384.pub.pem"], &["p384.pkcs8.pem"]),
        (&["jwe:p521.pub.pem"], &["p521.pkcs8.pem"]),
        (&["pkcs7:rsa.crt.pem"], &["rsa.pkcs8.pem", "rsa.crt.pem"]),
        (&["jwe:rsa.pub.pem", "pkcs7:rsa.crt.pem", "jwe:p256.pub.pem"], &["p256.pkcs8.pem"]),
    ];
    for (number, (recipients, files)) in forms.into_iter().enumerate() {
        let names = recipients.iter().map(|recipient| recipient.split_once(':').unwrap().1);
        for name in names.chain(files.iter().copied()) {
            newer.write(name, std::fs::read(key(name)).unwrap());
        }
        let skopeo = |options: Vec<String>, from: &str, to: &str| {
            let mut command = newer.command("skopeo");
            command.args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"]);
            let output = command.args(&options).args([from, to]).output().unwrap();
            assert!(output.status.success(), "{options:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        let in_registry = |by: &str| format!("docker://{}/{by}:{number}", registry.host);
        let encryption = recipients.iter().map(|it| format!("--encryption-key={it}")).collect();
        skopeo(encryption, &from, &in_registry("skopeo"));
        let encryption: Vec<_> = recipients.iter().map(|it| recipient(it)).collect();
        lab.vmroot(&encryption, &from, &in_registry("vmroot"));
        let decryption = files.iter().map(|file| format!("--decryption-key={file}")).collect();
        skopeo(decryption, &in_registry("vmroot"), &in_registry("theirs"));
        lab.vmroot(&decryption_keys(files), &in_registry("skopeo"), &in_registry("ours"));
        for by in ["skopeo", "vmroot"] {
            let encrypted = lab.layers(&in_registry(by));
            assert!(encrypted.iter().all(|(_, media_type)| media_type.ends_with("+gzip+encrypted")), "{encrypted:?}");
        }
        for decrypted in ["theirs", "ours"] {
            assert_eq!(lab.layers(&in_registry(decrypted)), plain, "{recipients:?}, {decrypted}");
        }
    }
}

#[test]
fn a_pull_decrypts_and_a_run_without_a_key_says_so() {
    if is_missing() {
        return;
    }
    let lab = Lab::new();
    let recipients = ["jwe:p256.pub.pem", "jwe:rsa.pub.pem"].map(recipient);
    lab.skopeo(&recipients, &lab.oci("plain:v1"), &lab.oci("encrypted:v1"));
    let name = lab.oci("encrypted:v1");
    let message = lab.program.fails(4, ["pull", &name]);
    assert!(message.contains("no key for that is given") && message.contains("--decryption-key"), "{message}");
    let message = lab.program.fails(4, ["pull", &format!("--decryption-key={}", key("p384.pkcs8.pem")), &name]);
    assert!(message.contains("none of the given keys"), "{message}");
    let options = [format!("--decryption-key={}", key("p256.pkcs8.pem"))];
    let id = lab.program.ok(["pull", &options[0], &name]);
    assert_eq!(lab.program.ok(["cat", id.trim(), "base"]), "base".repeat(1000));
    // The archive has the ciphertext, and load needs the key, too.
    let archive = lab.path("saved.tar").display().to_string();
    lab.program.ok(["save", "--format", "oci-archive", "-o", &archive, id.trim()]);
    let message = lab.program.fails(1, ["save", "--format", "docker-archive-v24", "-o", "x.tar", id.trim()]);
    assert!(message.contains("encrypted layers") && message.contains("oci-archive"), "{message}");
    let other = Program::new();
    other.fails(4, ["load", "-i", &archive]);
    let password = lab.program.file("password", "secret\n").display().to_string();
    let legacy = key("rsa.legacy-aes256.pem");
    other.ok(["load", "-i", &archive, &format!("--decryption-key={legacy}:file={password}")]);
    assert_eq!(other.ok(["cat", id.trim(), "amd64"]), "amd64".repeat(1000));
    // Encrypted layers of the cache stay encrypted in a copy.
    lab.vmroot(&[], &format!("vmroot:{}", id.trim()), &lab.oci("again:v1"));
    assert_eq!(lab.layers(&lab.oci("again:v1")), lab.layers(&name));
}

#[test]
fn lists_and_positions_are_those_of_skopeo() {
    if is_missing() {
        return;
    }
    let lab = Lab::new();
    let encryption = recipient("jwe:p256.pub.pem");
    let options = |more: &[&str]| -> Vec<String> {
        [encryption.clone()].into_iter().chain(more.iter().map(|it| (*it).to_owned())).collect()
    };
    for more in [&["--encrypt-layer=0"][..], &["--encrypt-layer", "-1"], &["--encrypt-layer=0,1"], &[]] {
        for (program, directory) in [("skopeo", "theirs"), ("vmroot", "ours")] {
            let to = lab.oci(&format!("{directory}:v1"));
            match program {
                "skopeo" => lab.skopeo(&options(more), &lab.oci("plain:v1"), &to),
                _ => drop(lab.vmroot(&options(more), &lab.oci("plain:v1"), &to)),
            }
        }
        let types = |name: &str| lab.layers(&lab.oci(name)).into_iter().map(|(_, it)| it).collect::<Vec<_>>();
        assert_eq!(types("ours:v1"), types("theirs:v1"), "{more:?}");
    }
    lab.vmroot(&options(&["--all"]), &lab.oci("plain:list"), &lab.oci("list:v1"));
    let keys = decryption_keys(&["p256.pkcs8.pem"]);
    lab.skopeo(&[keys[0].clone(), "--all".to_owned()], &lab.oci("list:v1"), &lab.oci("back:v1"));
    for platform in ["linux/amd64", "linux/arm64"] {
        let files = lab.program.ok(["ls", "--platform", platform, &lab.oci("back:v1")]);
        assert!(files.contains("base"), "{files}");
    }
}

#[test]
fn mistakes_are_explained() {
    let lab = Program::new();
    let rsa = key("rsa.pub.pem");
    for (arguments, reason) in [
        (vec!["copy", "--encrypt-layer", "-1", "oci:a", "oci:b"], "--encryption-key"),
        (vec!["copy", "--encryption-key=x", "oci:a", "oci:b"], "expected jwe:FILE"),
        (vec!["copy", "--encryption-key=pkcs11:x", "oci:a", "oci:b"], "not supported"),
        (vec!["copy", "--decryption-key=provider:x", "oci:a", "oci:b"], "not supported"),
        (vec!["copy", &*format!("--decryption-key={rsa}"), "oci:a", "oci:b"], "no private key"),
        (vec!["pull", &*format!("--decryption-key={}", key("rsa.pbkdf2.pem")), "oci:a"], "no password"),
        (vec!["pull", &*format!("--decryption-key={}:x", key("rsa.pbkdf2.pem")), "oci:a"], "is wrong"),
        (vec!["gc", "--decryption-key=x"], "does not decrypt layers"),
    ] {
        let message = lab.fails(2, &arguments);
        assert!(message.contains(reason), "{arguments:?}: {message}");
    }
}
