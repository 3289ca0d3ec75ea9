//! Signatures and policies, with skopeo, podman and GnuPG as judges, and a real registry.

mod newer;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use vmroot_testkit::image::{ImageBuilder, Index, IndexBuilder};
use vmroot_testkit::newer::Newer;
use vmroot_testkit::registry::{Auth, Bearer, Features, Registry};

use crate::docker_registry::DockerRegistry;
use crate::program::Program;
use crate::samples::{image, index, serve, serve_index};

/// A registry, a home of GnuPG with a key, a sigstore key pair, and a lookaside.
struct Lab {
    registry: DockerRegistry,
    program: Program,
    gnupg: TempDir,
    fingerprint: String,
}

impl Lab {
    fn new() -> Self {
        let gnupg = tempfile::tempdir().unwrap();
        let program = Program::new();
        let lab = Self { registry: DockerRegistry::start(), program, gnupg, fingerprint: String::new() };
        lab.gpg(&["--quick-generate-key", "--passphrase", "", "Release <release@example.org>", "rsa2048", "sign"]);
        let listed = lab.gpg(&["--with-colons", "--list-keys"]);
        let fingerprint = listed.lines().find_map(|line| line.strip_prefix("fpr:::::::::")).unwrap();
        let fingerprint = fingerprint.trim_end_matches(':').to_owned();
        fs::write(lab.path("release.gpg"), lab.gpg_bytes(&["--export"])).unwrap();
        fs::create_dir_all(lab.path("registries.d")).unwrap();
        fs::write(lab.path("passphrase"), "secret\n").unwrap();
        let lab = Self { fingerprint, ..lab };
        let prefix = lab.text("cosign");
        lab.program.ok([
            "generate-sigstore-key",
            "--output-prefix",
            &prefix,
            "--passphrase-file",
            &lab.text("passphrase"),
        ]);
        lab.registries_d(&format!("lookaside: file://{}", lab.text("lookaside")));
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.program.path(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn gpg_bytes(&self, arguments: &[&str]) -> Vec<u8> {
        let output =
            Command::new("gpg").args(["--homedir"]).arg(self.gnupg.path()).arg("--batch").args(arguments).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn gpg(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.gpg_bytes(arguments)).unwrap()
    }

    /// Writes the section of all registries in registries.d.
    fn registries_d(&self, lines: &str) {
        let lines: String = lines.lines().map(|line| format!("  {line}\n")).collect();
        fs::write(self.path("registries.d").join("all.yaml"), format!("default-docker:\n{lines}")).unwrap();
    }

    /// Writes a policy with a requirement for all images of registries. Other transports are open.
    fn policy(&self, requirement: &Value) -> String {
        let open = json!([{"type": "insecureAcceptAnything"}]);
        let policy = json!({"default": open, "transports": {"docker": {"": [requirement]}}});
        fs::write(self.path("policy.json"), policy.to_string()).unwrap();
        self.text("policy.json")
    }

    fn signed_by(&self) -> Value {
        json!({"type": "signedBy", "keyType": "GPGKeys", "keyPath": self.text("release.gpg")})
    }

    fn sigstore_signed(&self) -> Value {
        json!({"type": "sigstoreSigned", "keyPath": self.text("cosign.pub")})
    }

    fn name(&self, repository: &str) -> String {
        format!("{}/{repository}:1", self.registry.host)
    }

    fn skopeo(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("skopeo");
        command.arg("--registries.d").arg(self.path("registries.d")).args(arguments);
        command.env("HOME", self.path("")).env("GNUPGHOME", self.gnupg.path()).output().unwrap()
    }

    fn skopeo_ok(&self, arguments: &[&str]) {
        let output = self.skopeo(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn vmroot(&self, arguments: &[&str]) -> crate::program::CommandOutput {
        let mut all: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
        if !["standalone-sign", "standalone-verify"].contains(&arguments[0]) {
            all.push(format!("--registries.d={}", self.text("registries.d")));
        }
        let mut command = self.program.command(&all);
        command.env("GNUPGHOME", self.gnupg.path()).env("COSIGN_PASSWORD", "secret").output().unwrap().into()
    }

    /// Writes a sample image as `dir:`.
    fn sample(&self) -> String {
        let source = Registry::start();
        let name = serve(&source, &image("amd64"), "v1");
        let sample = format!("dir:{}", self.text("sample"));
        self.program.ok(["copy", "--quiet", &format!("docker://{name}"), &sample]);
        sample
    }

    fn is_pulled(&self, name: &str, policy: &str) -> bool {
        let output = self.vmroot(&["pull", "--arch=amd64", "--policy", policy, name]);
        if !output.status.success() {
            assert_eq!(output.status.code(), Some(5), "{output}");
            let images = self.program.json(["images", "--json"]);
            assert!(!images.to_string().contains(name), "{images}");
        }
        output.status.success()
    }

    fn is_copied_by_skopeo(&self, name: &str, policy: &str) -> bool {
        let _ = fs::remove_dir_all(self.path("copy"));
        let (from, to) = (format!("docker://{name}"), format!("dir:{}", self.text("copy")));
        self.skopeo(&["--policy", policy, "copy", "--src-tls-verify=false", &from, &to]).status.success()
    }
}

#[test]
fn openpgp_signatures_go_both_ways_with_skopeo() {
    let lab = Lab::new();
    let sample = lab.sample();
    let policy = lab.policy(&lab.signed_by());
    let (by_skopeo, by_vmroot, unsigned) = (lab.name("skopeo"), lab.name("vmroot"), lab.name("unsigned"));
    let sign = format!("--sign-by={}", lab.fingerprint);
    let to = |name: &str| format!("docker://{name}");
    lab.skopeo_ok(&["--insecure-policy", "copy", "--dest-tls-verify=false", &sign, &sample, &to(&by_skopeo)]);
    lab.vmroot(&["copy", &sign, &sample, &to(&by_vmroot)]).ok();
    lab.vmroot(&["copy", &sample, &to(&unsigned)]).ok();
    for (name, expected) in [(&by_skopeo, true), (&by_vmroot, true), (&unsigned, false)] {
        assert_eq!(lab.is_copied_by_skopeo(name, &policy), expected, "skopeo, {name}");
        assert_eq!(lab.is_pulled(name, &policy), expected, "vmroot, {name}");
    }
    // The cache can be asked again without the registry and the lookaside.
    fs::remove_dir_all(lab.path("lookaside")).unwrap();
    let check = lab.program.ok(["policy", "check", "--policy", &policy, &by_skopeo]);
    assert!(check.contains("verdict:      accepted") && check.contains(&lab.fingerprint), "{check}");
    let reject = lab.path("reject.json");
    fs::write(&reject, r#"{"default":[{"type":"reject"}]}"#).unwrap();
    let refused = lab.program.run(["policy", "check", "--policy", &reject.display().to_string(), &by_skopeo]);
    assert!(String::from_utf8_lossy(&refused.stdout).contains("requirements: reject"), "{refused}");
    assert!(refused.status.code() == Some(5) && refused.stderr.contains("rejects"), "{refused}");
}

/// Debian 12 builds skopeo without sigstore, so the judges of [`newer_programs_agree`] come from a newer release.
#[test]
fn sigstore_signatures_are_made_and_verified() {
    let lab = Lab::new();
    lab.registries_d("use-sigstore-attachments: true");
    let sample = lab.sample();
    let policy = lab.policy(&lab.sigstore_signed());
    let (signed, unsigned) = (lab.name("signed"), lab.name("unsigned"));
    let sign = [
        format!("--sign-by-sigstore-private-key={}", lab.text("cosign.private")),
        format!("--sign-passphrase-file={}", lab.text("passphrase")),
    ];
    let to = |name: &str| format!("docker://{name}");
    lab.vmroot(&["copy", &sign[0], &sign[1], &sample, &to(&signed)]).ok();
    lab.vmroot(&["copy", &sample, &to(&unsigned)]).ok();
    assert!(lab.is_pulled(&signed, &policy) && !lab.is_pulled(&unsigned, &policy));
    // An image that is signed later is accepted.
    let digest = lab.vmroot(&["sign", "--key", &lab.text("cosign.private"), &unsigned]).ok();
    let verified = lab.vmroot(&["verify-signature", "--key", &lab.text("cosign.pub"), &unsigned]).ok();
    assert_eq!(verified, digest);
    assert!(lab.is_pulled(&unsigned, &policy));
    // A bundle alone meets the requirement of its own.
    let bundle = lab.name("bundle");
    lab.vmroot(&["copy", &sample, &to(&bundle)]).ok();
    lab.vmroot(&["verify-signature", "--key", &lab.text("cosign.pub"), &bundle]).fails(5);
    lab.vmroot(&["sign", "--form=bundle", "--key", &lab.text("cosign.private"), &bundle]).ok();
    let own = lab.policy(&json!({"type": "vmrootBundleSigned", "keyPath": lab.text("cosign.pub")}));
    assert!(lab.is_pulled(&bundle, &own));
    // A registry without a list of referrers is not asked for one.
    let log = lab.vmroot(&["-vv", "pull", "--arch=amd64", "--policy", &own, &bundle]).stderr;
    let requests = |part: &str| log.lines().filter(|line| line.contains("GET ") && line.contains(part)).count();
    assert_eq!((requests("/referrers/"), requests("/manifests/sha256-")), (0, 1), "{log}");
    let explained = lab.vmroot(&["policy", "explain", "--arch=amd64", "--policy", &own, &bundle]).ok();
    assert!(explained.contains("vmrootBundleSigned") && explained.contains("accepted"), "{explained}");
    // An attestation by the key is no signature, and a signature is no attestation.
    let attested = lab.name("attested");
    lab.vmroot(&["copy", &sample, &to(&attested)]).ok();
    fs::write(lab.path("predicate.json"), r#"{"a":1}"#).unwrap();
    let predicate = lab.text("predicate.json");
    let key = lab.text("cosign.private");
    lab.vmroot(&["attest", "--key", &key, "--type=spdxjson", "--predicate", &predicate, &attested]).ok();
    assert!(!lab.is_pulled(&attested, &own));
    let listed = lab.vmroot(&["attestations", "--key", &lab.text("cosign.pub"), &attested]).ok();
    assert!(listed.lines().count() == 1 && listed.contains("https://spdx.dev/Document"), "{listed}");
    let message = lab.vmroot(&["attestations", "--key", &lab.text("cosign.pub"), &bundle]).fails(3);
    assert!(message.contains("no attestation that the keys verify"), "{message}");
}

/// What vmroot signs, cosign and skopeo verify, and the reverse.
#[test]
fn newer_programs_agree() {
    let Some(newer) = Newer::find() else { return };
    let lab = Lab::new();
    lab.registries_d("use-sigstore-attachments: true");
    let sample = lab.sample();
    fs::create_dir(newer.path("registries.d")).unwrap();
    newer.write("registries.d/all.yaml", "default-docker:\n  use-sigstore-attachments: true\n");
    for file in ["cosign.private", "cosign.pub", "passphrase"] {
        newer.write(file, fs::read(lab.path(file)).unwrap());
    }
    let key_data = base64::engine::general_purpose::STANDARD.encode(fs::read(lab.path("cosign.pub")).unwrap());
    let policy = |identity: &str| {
        let identity = json!({"type": identity});
        lab.policy(&json!({"type": "sigstoreSigned", "keyData": key_data, "signedIdentity": identity}))
    };
    let run = |program: &str, arguments: &[&str]| {
        let mut command = newer.command("env");
        let output = command.arg("COSIGN_PASSWORD=secret").arg(program).args(arguments).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let ok = |program: &str, arguments: &[&str]| {
        let (success, message) = run(program, arguments);
        assert!(success, "{program} {arguments:?}: {message}");
    };
    let to = |name: &str| format!("docker://{name}");
    let (ours, theirs, cosigns) = (lab.name("ours"), lab.name("theirs"), lab.name("cosigns"));
    let unsigned = lab.name("unsigned");
    for name in [&ours, &theirs, &cosigns, &unsigned] {
        lab.vmroot(&["copy", &sample, &to(name)]).ok();
    }
    lab.vmroot(&["sign", "--key", &lab.text("cosign.private"), &ours]).ok();
    let verify = ["verify", "--key=cosign.pub", "--insecure-ignore-tlog", "--allow-insecure-registry"];
    ok("cosign", &[&verify[..], &[&ours]].concat());
    assert!(!run("cosign", &[&verify[..], &[&unsigned]].concat()).0);
    newer.write("policy.json", fs::read(policy("matchRepoDigestOrExact")).unwrap());
    let skopeo = ["--policy=policy.json", "--registries.d=registries.d", "copy", "--src-tls-verify=false"];
    ok("skopeo", &[&skopeo[..], &[&to(&ours), "dir:ours"]].concat());
    assert!(!run("skopeo", &[&skopeo[..], &[&to(&unsigned), "dir:unsigned"]].concat()).0);
    // The other way.
    let sign = [
        "--insecure-policy",
        "--registries.d=registries.d",
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        "--sign-by-sigstore-private-key=cosign.private",
        "--sign-passphrase-file=passphrase",
    ];
    ok("skopeo", &[&sign[..], &[&to(&theirs), &to(&theirs)]].concat());
    assert!(lab.is_pulled(&theirs, &policy("matchRepoDigestOrExact")));
    let sign = ["sign", "-y", "--key=cosign.private", "--tlog-upload=false", "--allow-insecure-registry"];
    ok("cosign", &[&sign[..], &[&cosigns]].concat());
    assert!(lab.is_pulled(&cosigns, &policy("matchRepository")));
    // What cosign saves as a layout has its signatures.
    ok("cosign", &["save", "--dir=saved", "--allow-insecure-registry", &cosigns]);
    let saved = format!("oci:{}", newer.path("saved").display());
    let identity = json!({"type": "exactRepository", "dockerRepository": cosigns.trim_end_matches(":1")});
    let requirement = json!({"type": "sigstoreSigned", "keyData": key_data, "signedIdentity": identity});
    fs::write(lab.path("layout.json"), json!({"default": [requirement]}).to_string()).unwrap();
    lab.vmroot(&["pull", "--arch=amd64", "--policy", &lab.text("layout.json"), &saved]).ok();
    lab.vmroot(&["pull", "--arch=amd64", "--policy", &lab.text("layout.json"), &sample]).fails(5);
}

/// `copy` carries signatures as skopeo does, and refuses to change what they sign.
#[test]
fn copies_carry_signatures() {
    let lab = Lab::new();
    let (sample, signed) = (lab.sample(), format!("docker://{}", lab.name("signed")));
    let sign = format!("--sign-by={}", lab.fingerprint);
    lab.skopeo_ok(&["--insecure-policy", "copy", "--dest-tls-verify=false", &sign, &sample, &signed]);
    let copy = format!("dir:{}", lab.text("carried"));
    lab.vmroot(&["copy", &signed, &copy]).ok();
    let message = fs::read(lab.path("carried").join("signature-1")).unwrap();
    // Both programs read the message in the directory.
    let other = format!("docker://{}", lab.name("other"));
    lab.vmroot(&["copy", &copy, &other]).ok();
    let stored = find(&lab.path("lookaside"), "other@sha256=").join("signature-1");
    assert_eq!(fs::read(stored).unwrap(), message);
    lab.skopeo_ok(&["--insecure-policy", "copy", &copy, &format!("dir:{}", lab.text("again"))]);
    assert_eq!(fs::read(lab.path("again").join("signature-1")).unwrap(), message);
    let layout = format!("oci:{}:x", lab.text("layout"));
    let refused = lab.vmroot(&["copy", &signed, &layout]).fails(1);
    assert!(refused.contains("signatures") && refused.contains("--remove-signatures"), "{refused}");
    let refused = lab.vmroot(&["copy", "--format=v2s2", &signed, &copy]);
    assert!(!lab.skopeo(&["--insecure-policy", "copy", "--src-tls-verify=false", &signed, &layout]).status.success());
    drop(refused);
    lab.vmroot(&["copy", "--remove-signatures", &signed, &layout]).ok();
}

/// Messages of each program are verified by the other, and by GnuPG.
#[test]
fn standalone_messages_are_those_of_skopeo() {
    let lab = Lab::new();
    lab.sample();
    let manifest = lab.path("sample").join("manifest.json").display().to_string();
    let (ours, theirs) = (lab.text("ours"), lab.text("theirs"));
    let name = "registry.example/app:1";
    lab.vmroot(&["standalone-sign", &manifest, name, &lab.fingerprint, "-o", &ours]).ok();
    lab.skopeo_ok(&["standalone-sign", &manifest, name, &lab.fingerprint, "-o", &theirs]);
    let key_file = lab.text("release.gpg");
    for signature in [&ours, &theirs] {
        lab.gpg(&["--verify", signature]);
        lab.skopeo_ok(&["standalone-verify", &manifest, name, &lab.fingerprint, signature]);
        let verified = lab.vmroot(&["standalone-verify", &manifest, name, &lab.fingerprint, signature]).ok();
        assert!(verified.contains(&lab.fingerprint), "{verified}");
        lab.vmroot(&["standalone-verify", "--public-key-file", &key_file, &manifest, name, "any", signature]).ok();
        lab.vmroot(&["standalone-verify", &manifest, "registry.example/app:2", &lab.fingerprint, signature]).fails(5);
        lab.vmroot(&["standalone-verify", &manifest, name, &"0".repeat(40), signature]).fails(5);
    }
}

/// A policy that needs one sigstore signature costs at most three more requests than a pull without one. At a registry with
/// neither a list of referrers nor the headers of distribution, a bundle costs four.
#[test]
fn a_needed_signature_costs_few_requests() {
    let lab = Lab::new();
    lab.registries_d("use-sigstore-attachments: true");
    let key = lab.text("cosign.private");
    let predicate = lab.path("predicate.json");
    fs::write(&predicate, "{}").unwrap();
    let (signed, bundled) =
        (lab.sigstore_signed(), json!({"type": "vmrootBundleSigned", "keyPath": lab.text("cosign.pub")}));
    for (referrers, distribution, auth) in [
        (true, false, None),
        (true, false, Some(Auth::Bearer(Bearer::default()))),
        (false, true, None),
        (false, true, Some(Auth::Bearer(Bearer::default()))),
        (false, false, None),
    ] {
        let registry = Registry::start();
        registry.configure(Features { referrers, distribution, ..Features::default() });
        let [old, new] =
            ["old", "new"].map(|tag| serve(&registry, &image(if tag == "old" { "amd64" } else { "arm64" }), tag));
        let list = serve_index(&registry, &index_of_others(), "list");
        auth.into_iter().for_each(|auth| registry.require(auth));
        lab.vmroot(&["sign", "--form=attachment", "--key", &key, &old]).ok();
        lab.vmroot(&["sign", "--form=bundle", "--key", &key, &new]).ok();
        lab.vmroot(&["sign", "--key", &key, &list]).ok();
        // Statements that are no signatures.
        for name in [&new, &list] {
            let attest = ["attest", "--key", &key, "--type=spdxjson", "--predicate", predicate.to_str().unwrap(), name];
            lab.vmroot(&attest).ok();
        }
        let count = |name: &str, requirement: &Value| {
            registry.clear_requests();
            let directory = format!("--registries.d={}", lab.text("registries.d"));
            let platform = if name == new { "--arch=arm64" } else { "--arch=amd64" };
            Program::new().ok(["pull", platform, "--policy", &lab.policy(requirement), &directory, name]);
            registry.requests().len()
        };
        for (name, requirement) in
            [(&old, &signed), (&old, &bundled), (&new, &bundled), (&list, &signed), (&list, &bundled)]
        {
            let without = count(name, &json!({"type": "insecureAcceptAnything"}));
            let with = count(name, requirement);
            let limit = if referrers || distribution || requirement == &signed { 3 } else { 4 };
            let paths: Vec<_> = registry.requests().into_iter().map(|request| request.path).collect();
            assert!(with <= without + limit, "{name}, {without} and {with} requests: {paths:#?}");
        }
    }
}

/// Returns a list of images that are not those of [`image`].
fn index_of_others() -> Index {
    let other = |architecture: &str| {
        ImageBuilder::new().platform(&format!("linux/{architecture}")).layer(&crate::samples::base()).build()
    };
    IndexBuilder::new().image(other("amd64")).image(other("arm64")).build()
}

/// Without a policy nothing is checked. An invalid one is an error of the commands that use images.
#[test]
fn every_way_in_obeys_the_policy() {
    let program = Program::new();
    let registry = Registry::start();
    let name = serve_index(&registry, &index(), "v1");
    let reject = program.file("reject.json", r#"{"default":[{"type":"reject"}]}"#).display().to_string();
    let layout = format!("oci:{}:demo", program.path("layout").display());
    program.ok(["copy", "--quiet", "--all", &format!("docker://{name}"), &layout]);
    let directory = program.path("layout").display().to_string();
    let copied = format!("dir:{}", program.path("copied").display());
    for arguments in [
        &["pull", &name][..],
        &["pull", &layout],
        &["load", &directory],
        &["ls", &name, "/"],
        &["copy", &layout, &copied],
        &["copy", "--all", &layout, &copied],
        &["sync", "--src=oci", "--dest=dir", &directory, &program.path("synced").display().to_string()],
        &["copy", &layout, "vmroot:x/y:1"],
    ] {
        let arguments = [arguments, &["--policy", &reject, "--arch=amd64"][..]].concat();
        let arguments: Vec<&str> = match arguments.contains(&"--all") {
            true => arguments.into_iter().filter(|it| *it != "--arch=amd64").collect(),
            false => arguments,
        };
        let error = program.fails(5, &arguments);
        assert!(error.contains("reject"), "{arguments:?}: {error}");
        let error = program.run([&arguments[..], &["--json"]].concat());
        let error: Value = serde_json::from_str(error.stderr.lines().last().unwrap()).unwrap();
        assert_eq!(error["kind"], "policy", "{arguments:?}");
        assert_eq!(program.json(["images", "--json"]), json!([]), "{arguments:?}");
        assert!(!program.path("copied").join("manifest.json").exists(), "{arguments:?}");
    }
    // An image of the cache is used only if the policy accepts it.
    program.ok(["pull", "--arch=amd64", &name]);
    program.ok(["ls", "--arch=amd64", &name, "/"]);
    program.fails(5, ["ls", "--arch=amd64", "--pull=never", "--policy", &reject, &name, "/"]);
    let broken = program.file("broken.json", r#"{"default":[]}"#).display().to_string();
    program.fails(1, ["pull", "--policy", &broken, &name]);
    program.fails(3, ["pull", "--policy", "/nonexistent", &name]);
    let explained = program.ok(["policy", "explain", "--policy", &reject, &name]);
    assert!(explained.contains("reject") && explained.contains("refused"), "{explained}");
    program.fails(5, ["pull", "--arch=amd64", "--require-signed", "--insecure-policy", &name]);
}

/// Finds a directory by the beginning of its name.
fn find(base: &Path, beginning: &str) -> PathBuf {
    let entries = fs::read_dir(base).unwrap().map(|entry| entry.unwrap());
    let mut found = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(beginning));
    found.next().unwrap_or_else(|| panic!("no {beginning} in {}", base.display())).path()
}

/// A passphrase that is missing or wrong is invalid usage, and the hint names the place of the right one.
#[test]
fn a_wrong_passphrase_says_where_the_right_one_belongs() {
    let program = Program::new();
    let prefix = program.path("key").display().to_string();
    let run = |passphrase: Option<&str>, arguments: &[&str]| -> crate::program::CommandOutput {
        let mut command = program.command(arguments);
        command.env_remove("COSIGN_PASSWORD").stdin(std::process::Stdio::null());
        passphrase.map(|passphrase| command.env("COSIGN_PASSWORD", passphrase));
        command.output().unwrap().into()
    };
    run(Some("right"), &["generate-sigstore-key", "--output-prefix", &prefix]).ok();
    let (key, file) = (format!("{prefix}.private"), program.file("passphrase", "wrong\n").display().to_string());
    let predicate = program.file("predicate.json", "{}").display().to_string();
    let attest = ["attest", "--key", &key, "--type=vuln", "--predicate", &predicate, "localhost:1/x"];
    for passphrase in [None, Some("wrong")] {
        for arguments in [&["sign", "--key", &key, "localhost:1/x"][..], &attest] {
            let message = run(passphrase, arguments).fails(2);
            assert!(message.contains("COSIGN_PASSWORD has the passphrase"), "{message}");
        }
    }
    let copy = ["copy", "dir:/missing", "dir:/missing", "--sign-by-sigstore-private-key", &key];
    for options in [&[][..], &["--sign-passphrase-file", &file]] {
        let message = run(None, &[&copy, options].concat()).fails(2);
        assert!(message.contains("--sign-passphrase-file FILE has the passphrase"), "{message}");
    }
}
