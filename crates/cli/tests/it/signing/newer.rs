//! Keys of all kinds, annotations, lists and several signatures, judged by cosign and skopeo of a newer Debian, and the
//! reverse.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use vmroot::sigstore::PrivateKey;
use vmroot_testkit::newer::Newer;
use vmroot_testkit::registry::Registry;

use super::Lab;
use crate::samples::{index, noisy, serve, serve_index};

/// Kinds of keys with the options of `openssl genpkey`.
const KINDS: [(&str, &[&str]); 5] = [
    ("p256", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ("p384", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
    ("p521", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"]),
    ("rsa", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
    ("ed25519", &["-algorithm", "ED25519"]),
];

/// The programs, a registry, and a sample image.
struct Judges {
    lab: Lab,
    newer: Newer,
    sample: String,
}

impl Judges {
    fn find() -> Option<Self> {
        let newer = Newer::find()?;
        let lab = Lab::new();
        lab.registries_d("use-sigstore-attachments: true");
        fs::create_dir(newer.path("registries.d")).unwrap();
        newer.write("registries.d/all.yaml", "default-docker:\n  use-sigstore-attachments: true\n");
        let sample = lab.sample();
        Some(Self { lab, newer, sample })
    }

    fn run(&self, program: &str, arguments: &[&str]) -> (bool, String) {
        let mut command = self.newer.command("env");
        let output = command.arg("COSIGN_PASSWORD=secret").arg(program).args(arguments).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn ok(&self, program: &str, arguments: &[&str]) {
        let (success, message) = self.run(program, arguments);
        assert!(success, "{program} {arguments:?}: {message}");
    }

    /// Makes a key with openssl. The files are `NAME.key`, which vmroot has encrypted as cosign does, and `NAME.pub`. Cosign
    /// 2.5 imports no such keys but those of Ed25519.
    fn add_key(&self, name: &str, options: &[&str]) {
        let output = Command::new("openssl").arg("genpkey").args(options).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let key = PrivateKey::read(&output.stdout, None).unwrap();
        let files = [("key", key.to_encrypted_pem(b"secret")), ("pub", key.public().to_pem())];
        for (extension, text) in files {
            fs::write(self.lab.path(&format!("{name}.{extension}")), &text).unwrap();
            self.newer.write(&format!("{name}.{extension}"), text);
        }
    }

    /// Copies the sample to the registry.
    fn add_image(&self, repository: &str) -> String {
        let name = self.lab.name(repository);
        self.lab.vmroot(&["copy", &self.sample, &format!("docker://{name}")]).ok();
        name
    }

    fn cosign_sign(&self, key: &str, options: &[&str], name: &str) {
        let key = format!("--key={key}.key");
        let arguments = ["sign", "-y", &key, "--tlog-upload=false", "--allow-insecure-registry"];
        self.ok("cosign", &[&arguments[..], options, &[name]].concat());
    }

    fn cosign_verifies(&self, key: &str, options: &[&str], name: &str) -> bool {
        let key = format!("--key={key}.pub");
        let arguments = ["verify", &key, "--insecure-ignore-tlog", "--allow-insecure-registry"];
        self.run("cosign", &[&arguments[..], options, &[name]].concat()).0
    }

    fn vmroot_sign(&self, key: &str, name: &str) {
        self.lab.vmroot(&["sign", "--key", &self.lab.text(&format!("{key}.key")), name]).ok();
    }

    fn vmroot_verifies(&self, key: &str, name: &str) -> bool {
        let key = self.lab.text(&format!("{key}.pub"));
        self.lab.vmroot(&["verify-signature", "--key", &key, name]).status.success()
    }

    fn requirement(&self, key: &str) -> Value {
        use base64::Engine as _;

        let data = fs::read(self.lab.path(&format!("{key}.pub"))).unwrap();
        let data = base64::engine::general_purpose::STANDARD.encode(data);
        json!({"type": "sigstoreSigned", "keyData": data, "signedIdentity": {"type": "matchRepository"}})
    }

    /// Returns whether skopeo and vmroot accept an image by a policy that needs a key.
    fn accepted(&self, key: &str, name: &str) -> (bool, bool) {
        let policy = self.lab.policy(&self.requirement(key));
        self.newer.write("policy.json", fs::read(&policy).unwrap());
        let _ = fs::remove_dir_all(self.newer.path("copy"));
        let from = format!("docker://{name}");
        let skopeo = ["--policy=policy.json", "--registries.d=registries.d", "copy", "--src-tls-verify=false"];
        let by_skopeo = self.run("skopeo", &[&skopeo[..], &["--override-arch=amd64", &from, "dir:copy"]].concat()).0;
        (by_skopeo, self.lab.is_pulled(name, &policy))
    }
}

/// Signatures by keys of each kind, made by each program, have the same verdicts everywhere.
#[test]
fn keys_of_all_kinds_go_both_ways() {
    let Some(judges) = Judges::find() else { return };
    for (kind, options) in KINDS {
        judges.add_key(kind, options);
        let (theirs, ours) = (judges.add_image(&format!("theirs-{kind}")), judges.add_image(&format!("ours-{kind}")));
        judges.cosign_sign(kind, &[], &theirs);
        judges.vmroot_sign(kind, &ours);
        for name in [&theirs, &ours] {
            assert!(judges.cosign_verifies(kind, &[], name), "cosign, {name}");
            assert!(judges.vmroot_verifies(kind, name), "vmroot, {name}");
            assert_eq!(judges.accepted(kind, name), (true, true), "skopeo and vmroot, {name}");
        }
    }
    // Each key vouches for its own image only.
    let name = judges.add_image("other");
    judges.cosign_sign("rsa", &[], &name);
    assert!(!judges.vmroot_verifies("p256", &name) && !judges.cosign_verifies("p256", &[], &name));
    assert_eq!(judges.accepted("p256", &name), (false, false));
}

/// Several signers, annotations, a signature that is made again, and a tag that moves.
#[test]
fn signatures_of_several_keys_add_up() {
    let Some(judges) = Judges::find() else { return };
    for kind in [0, 3] {
        judges.add_key(KINDS[kind].0, KINDS[kind].1);
    }
    let name = judges.add_image("several");
    judges.cosign_sign("p256", &["-a", "stage=test"], &name);
    judges.cosign_sign("rsa", &[], &name);
    judges.cosign_sign("rsa", &[], &name);
    judges.vmroot_sign("p256", &name);
    for key in ["p256", "rsa"] {
        assert!(judges.cosign_verifies(key, &[], &name) && judges.vmroot_verifies(key, &name), "{key}");
        assert_eq!(judges.accepted(key, &name), (true, true), "{key}");
    }
    // vmroot keeps the annotated one of cosign.
    assert!(judges.cosign_verifies("p256", &["-a", "stage=test"], &name));
    assert!(!judges.cosign_verifies("rsa", &["-a", "stage=test"], &name));
    // A copy has all of them, also through a layout.
    let (layout, again) = (format!("oci:{}:x", judges.lab.text("layout")), judges.lab.name("again"));
    judges.lab.vmroot(&["copy", &format!("docker://{name}"), &layout]).ok();
    judges.lab.vmroot(&["copy", &layout, &format!("docker://{again}")]).ok();
    assert!(judges.cosign_verifies("p256", &["-a", "stage=test"], &again) && judges.vmroot_verifies("rsa", &again));
    // cosign finds those of a layout by its own marks.
    let copied = Command::new("cp").arg("-r").arg(judges.lab.path("layout")).arg(judges.newer.path("layout")).status();
    assert!(copied.unwrap().success());
    assert!(judges.cosign_verifies("rsa", &["--local-image"], "layout"));
    assert!(!judges.cosign_verifies("rsa", &["--local-image", "-a", "stage=test"], "layout"));
    // The tag moves to an image that nobody has signed.
    let source = Registry::start();
    let other = serve(&source, &noisy(1, 1000), "v1");
    judges.lab.vmroot(&["copy", &format!("docker://{other}"), &format!("docker://{name}")]).ok();
    assert!(!judges.cosign_verifies("rsa", &[], &name) && !judges.vmroot_verifies("rsa", &name));
}

/// A signature of a list covers its images for vmroot. For containers/image, the images need their own.
#[test]
fn lists_are_signed_alone_or_with_their_images() {
    let Some(judges) = Judges::find() else { return };
    judges.add_key(KINDS[0].0, KINDS[0].1);
    let source = Registry::start();
    let list = format!("docker://{}", serve_index(&source, &index(), "v1"));
    let (alone, recursive) = (judges.lab.name("alone"), judges.lab.name("recursive"));
    for name in [&alone, &recursive] {
        judges.lab.vmroot(&["copy", "--all", &list, &format!("docker://{name}")]).ok();
        assert_eq!(judges.accepted("p256", name), (false, false));
    }
    judges.cosign_sign("p256", &[], &alone);
    judges.cosign_sign("p256", &["--recursive"], &recursive);
    for name in [&alone, &recursive] {
        assert!(judges.cosign_verifies("p256", &[], name) && judges.vmroot_verifies("p256", name), "{name}");
    }
    assert_eq!(judges.accepted("p256", &alone), (false, true));
    assert_eq!(judges.accepted("p256", &recursive), (true, true));
}
