//! The chain from a signature to the root of a guest: `provenance`, `verity verify IMAGE`, `boot --policy --verity`.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use vmroot_model::Digest;
use vmroot_testkit::guest::Guest;
use vmroot_testkit::registry::Registry;
use vmroot_testkit::skip;

use crate::program::{CommandOutput, Program};
use crate::samples::{image, index, serve, serve_index};

/// The image of the README, which a guest can run.
const DEMO: &str = concat!("oci:", env!("CARGO_MANIFEST_DIR"), "/../../testdata/demo:demo");

/// A registry, a program with a cache, and two key pairs.
struct Lab {
    program: Program,
    registry: Registry,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { program: Program::new(), registry: Registry::start() };
        lab.program.file("passphrase", "secret\n");
        for name in ["release", "other"] {
            let (prefix, passphrase) = (lab.text(name), lab.text("passphrase"));
            lab.program.ok(["generate-sigstore-key", "--output-prefix", &prefix, "--passphrase-file", &passphrase]);
        }
        lab
    }

    fn text(&self, name: &str) -> String {
        self.program.path(name).display().to_string()
    }

    /// Signs an image, and returns the digest that was signed.
    fn sign(&self, name: &str) -> String {
        let mut command = self.program.command(["sign", "--key", &self.text("release.private"), name]);
        let signed: CommandOutput = command.env("COSIGN_PASSWORD", "secret").output().unwrap().into();
        signed.ok().trim_end().to_owned()
    }

    fn attest(&self, name: &str) {
        self.program.file("predicate.json", "{}");
        let (key, predicate) = (self.text("release.private"), self.text("predicate.json"));
        let arguments = ["attest", "--key", &key, "--type=spdxjson", "--predicate", &predicate, name];
        let attested: CommandOutput =
            self.program.command(arguments).env("COSIGN_PASSWORD", "secret").output().unwrap().into();
        attested.ok();
    }

    /// Writes a policy that needs a signature by a key.
    fn policy(&self, key: &str) -> String {
        let requirement = json!({"type": "vmrootBundleSigned", "keyPath": self.text(key)});
        let policy = json!({"default": [requirement]}).to_string();
        self.program.file(&format!("{key}.json"), policy).display().to_string()
    }
}

/// Returns the values of the lines with a name.
fn values<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    values.map(str::trim_start).collect()
}

#[test]
fn the_chain_leads_from_the_signature_to_the_root_hash() {
    let lab = Lab::new();
    let list = index();
    let name = serve_index(&lab.registry, &list, "list");
    let signed = lab.sign(&name);
    assert_eq!(signed, list.document.digest.to_string());
    let policy = lab.policy("release.pub");
    let provenance = |more: &[&str]| lab.program.ok([&["provenance", &name, "--arch=amd64"], more].concat());
    let with_policy = ["--policy", &policy];
    let text = provenance(&with_policy);
    let inspected = lab.program.json(["inspect", &name, "--arch=amd64", "--json"]);
    let word = |name: &str| inspected[name].as_str().unwrap().to_owned();
    assert_eq!(values(&text, "index"), [&*signed]);
    assert_eq!(values(&text, "manifest"), [&*word("manifest")]);
    assert_eq!(values(&text, "config"), [format!("{} (the id)", word("id"))]);
    let layers = inspected["layers"].as_array().unwrap();
    let layer =
        |layer: &Value| format!("{}, diff id {}", layer["digest"].as_str().unwrap(), layer["diffId"].as_str().unwrap());
    assert_eq!(values(&text, "layer"), layers.iter().map(layer).collect::<Vec<_>>());
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer["diffId"].as_str().unwrap()).collect();
    let chain_id = Digest::of(diff_ids.join(" ").as_bytes()).to_string();
    assert_eq!(values(&text, "chain id"), [&*chain_id]);
    let verified = values(&text, "verified");
    assert!(verified.len() == 1 && verified[0].starts_with(&format!("{signed} (the index), by public key ")), "{text}");
    assert_eq!(values(&text, "kept verdict").len(), 2, "{text}");
    // The root hash is that of an export, in each format and with each salt.
    let exported = |format: &str, more: &[&str]| {
        let (out, format) = (lab.text(&format!("out.{format}.{}", more.len())), format!("--format={format}"));
        let first = ["export", &name, &out, "--arch=amd64", "--json", "--verity=append", &format];
        lab.program.json(first.iter().chain(more))["verity"]["rootHash"].as_str().unwrap().to_owned()
    };
    assert_eq!(values(&text, "root hash"), [format!("{} (erofs-meta)", exported("erofs-meta", &[]))]);
    for (format, more) in [("erofs", &[][..]), ("ext4", &["--verity-salt=0a0b"]), ("ext4", &["--label=x", "--free=1M"])]
    {
        let arguments = [&["--format", format, "--json", "--insecure-policy"][..], more].concat();
        let found: Value = serde_json::from_str(&provenance(&arguments)).unwrap();
        assert_eq!(found["verity"]["rootHash"], exported(format, more), "{format} {more:?}");
        assert_eq!((&found["format"], &found["policy"]), (&json!(format), &Value::Null));
    }
    // Without a policy, the kept verdict is printed as such.
    let open = provenance(&["--no-root-hash", "--insecure-policy"]);
    assert_eq!(values(&open, "policy"), ["none, no signature was verified"]);
    assert!(values(&open, "root hash").is_empty() && values(&open, "kept verdict").len() == 2, "{open}");
    let refused = lab.program.fails(5, ["provenance", &name, "--arch=amd64", "--policy", &lab.policy("other.pub")]);
    assert!(refused.contains("vmrootBundleSigned"), "{refused}");
    let usage = lab.program.fails(2, ["provenance", &name, "--format=erofs", "--label=x"]);
    assert!(usage.contains("--label is for --format ext4"), "{usage}");
    lab.program.fails(2, ["provenance", "prebaked:x"]);
}

/// The verdict that is kept in the cache is a note. Signatures are verified again at each use.
#[test]
fn edited_files_of_the_cache_are_no_proof() {
    let lab = Lab::new();
    let (signed, unsigned) =
        (serve(&lab.registry, &image("amd64"), "signed"), serve(&lab.registry, &image("arm64"), "unsigned"));
    lab.sign(&signed);
    let policy = lab.policy("release.pub");
    lab.program.ok(["pull", "--arch=amd64", "--policy", &policy, &signed]);
    lab.program.ok(["pull", "--arch=arm64", &unsigned]);
    // The record of the unsigned image gets the signatures and the verdict of the other one, under its own digest.
    let record = |name: &str| -> (PathBuf, Value) {
        let records = fs::read_dir(lab.program.cache().join("images")).unwrap().map(|entry| entry.unwrap().path());
        let mut parsed = records.filter(|path| path.extension().is_some_and(|it| it == "json")).map(|path| {
            let sealed: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            (path, sealed["record"].clone())
        });
        parsed.find(|(_, record)| record["reference"] == name).unwrap()
    };
    let write = |path: &PathBuf, record: &Value| {
        let text = record.to_string();
        let sealed = format!(r#"{{"digest":"{}","record":{text}}}"#, Digest::of(text.as_bytes()));
        for path in [path.clone(), path.with_extension("copy")] {
            let _ = fs::remove_file(&path);
            fs::write(path, &sealed).unwrap();
        }
    };
    let (of_signed, of_unsigned) = (record(&signed).1, record(&unsigned));
    let digest = |record: &Value| record["manifest"]["digest"].as_str().unwrap().to_owned();
    let blob = |digest: &str| lab.program.cache().join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
    let document = fs::read_to_string(blob(of_signed["signatures"].as_str().unwrap())).unwrap();
    assert!(document.contains(&digest(&of_signed)));
    let document = document.replace(&digest(&of_signed), &digest(&of_unsigned.1));
    let forged = Digest::of(document.as_bytes()).to_string();
    fs::write(blob(&forged), document).unwrap();
    let mut edited = of_unsigned.1.clone();
    edited["signatures"] = json!(forged);
    write(&of_unsigned.0, &edited);
    let check = ["policy", "check", "--arch=arm64", "--policy", &policy, &unsigned];
    let refused = lab.program.run(check);
    assert!(refused.status.code() == Some(5) && refused.stderr.contains("for another digest"), "{refused}");
    let never = ["--pull=never", "--policy", &policy];
    lab.program.fails(5, [&["provenance", "--arch=arm64", &unsigned][..], &never].concat());
    lab.program.fails(5, [&["ls", "--arch=arm64", &unsigned][..], &never].concat());
    // Without a policy, the note is printed under its own name.
    let text = lab.program.ok(["provenance", "--arch=arm64", "--insecure-policy", &unsigned]);
    assert!(values(&text, "kept verdict")[0].starts_with(&format!("docker:{signed}: accepted")), "{text}");
    assert_eq!(values(&text, "policy"), ["none, no signature was verified"]);
    // A signed manifest over the layers of another image.
    let mut edited = of_signed.clone();
    edited["layers"] = of_unsigned.1["layers"].clone();
    write(&record(&signed).0, &edited);
    for verb in ["provenance", "config"] {
        let broken = lab.program.fails(5, [&[verb, "--arch=amd64", &signed][..], &never].concat());
        assert!(broken.contains("does not name"), "{broken}");
    }
    // A pull repairs it.
    lab.program.ok(["pull", "--arch=amd64", "--policy", &policy, &signed]);
    lab.program.ok([&["provenance", "--arch=amd64", &signed][..], &never].concat());
}

/// What a pull, a new name or an archive does to the signatures that were kept.
#[test]
fn kept_signatures_stay_with_the_image() {
    let lab = Lab::new();
    let name = serve(&lab.registry, &image("amd64"), "v1");
    let digest = lab.sign(&name);
    let policy = lab.policy("release.pub");
    lab.program.ok(["pull", "--arch=amd64", "--policy", &policy, &name]);
    let check = |name: &str| lab.program.run(["policy", "check", "--arch=amd64", "--policy", &policy, name]);
    // A pull without a policy reads no signatures, and keeps those that are there.
    lab.program.ok(["pull", "--arch=amd64", "--insecure-policy", &name]);
    assert!(check(&name).ok().contains(&digest));
    lab.program.ok(["tag", &name, "other.example/app:1"]);
    assert!(check("other.example/app:1").ok().contains(&digest));
    // An image with another name is judged under that of its origin, and not accepted for being renamed.
    let unsigned = serve(&lab.registry, &image("arm64"), "unsigned");
    lab.program.ok(["pull", "--arch=arm64", "--insecure-policy", &unsigned]);
    lab.program.ok(["tag", &unsigned, "renamed.example/app:1", "--arch=arm64"]);
    let list = ["ls", "renamed.example/app:1", "--arch=arm64", "--policy", &policy];
    let refused = lab.program.fails(5, list);
    assert!(refused.contains(&unsigned), "{refused}");
    let named = json!({"default": [{"type": "sigstoreSigned", "keyPath": lab.text("release.pub")}]});
    let named = lab.program.file("named.json", named.to_string()).display().to_string();
    fs::create_dir(lab.program.path("registries.d")).unwrap();
    lab.program.file("registries.d/all.yaml", "default-docker:\n  use-sigstore-attachments: true\n");
    let places = format!("--registries.d={}", lab.text("registries.d"));
    lab.program.ok(["pull", "--arch=amd64", "--policy", &named, &places, &name]);
    lab.program.ok(["tag", &name, "third.example/app:1"]);
    lab.program.ok(["policy", "check", "--arch=amd64", "--policy", &named, &name]);
    let judged = lab.program.ok(["policy", "check", "--arch=amd64", "--policy", &named, "third.example/app:1"]);
    assert!(judged.contains(&format!("docker:{name}")), "{judged}");
    // Within its repository, it is judged under the new name, which is not the signed one.
    let moved = name.replace(":v1", ":v2");
    lab.program.ok(["tag", &name, &moved]);
    let refused = lab.program.run(["policy", "check", "--arch=amd64", "--policy", &named, &moved]);
    assert_eq!(refused.status.code(), Some(5), "{refused}");
    // A prebaked directory has no signatures, so no policy is asked for it.
    let prebaked = lab.text("prebaked");
    lab.program.ok(["export", &name, &prebaked, "--arch=amd64", "--format=prebaked", "--policy", &policy]);
    let prebaked = format!("prebaked:{prebaked}");
    lab.program.ok(["ls", &prebaked, "--arch=amd64", "--policy", &policy]);
    let refused = lab.program.fails(5, ["ls", &prebaked, "--arch=amd64", "--policy", &policy, "--require-signed"]);
    assert!(refused.contains("not signed"), "{refused}");
    // An archive has no signatures.
    let saved = lab.text("saved.tar");
    lab.program.ok(["save", &name, "--arch=amd64", "--format=oci-archive", "-o", &saved]);
    let elsewhere = Program::new();
    elsewhere.ok(["load", &saved, "--arch=amd64"]);
    let text = elsewhere.ok(["provenance", "--arch=amd64", "--no-root-hash", &name]);
    assert_eq!(values(&text, "manifest"), [&*digest]);
    assert_eq!(values(&text, "origin").len(), 1, "{text}");
    assert!(values(&text, "kept verdict").is_empty(), "{text}");
    elsewhere.fails(5, ["load", &saved, "--arch=amd64", "--policy", &policy]);
    // A layout has them, and the attestations beside them.
    lab.attest(&name);
    let layout = format!("oci:{}:v1", lab.text("layout"));
    lab.program.ok(["copy", "--quiet", "--referrers", &format!("docker://{name}"), &layout]);
    let text = elsewhere.ok(["provenance", "--arch=amd64", "--no-root-hash", "--policy", &policy, &layout]);
    let attestations = values(&text, "attestation");
    assert!(attestations.len() == 1 && attestations[0].contains("https://spdx.dev/Document"), "{text}");
    assert!(values(&text, "verified")[0].starts_with(&format!("{digest} (the manifest)")), "{text}");
}

#[test]
fn a_disk_is_verified_against_its_image() {
    let lab = Lab::new();
    let (one, other) = (serve(&lab.registry, &image("amd64"), "one"), serve(&lab.registry, &image("arm64"), "other"));
    let installed = !skip::needs_program("sqfstar");
    let verify = |image: &str, arch: &str, disk: &str, hash: &str, more: &[&str]| {
        let first = ["verity", "verify", image, &lab.text(disk), hash, arch];
        lab.program.run(first.iter().chain(more))
    };
    for (format, more) in [
        ("erofs", &[][..]),
        ("erofs", &["--compress=lz4"]),
        ("ext4", &["--size=16M"]),
        ("erofs-meta", &[]),
        ("squashfs", &[]),
    ] {
        if format == "squashfs" && !installed {
            continue;
        }
        for verity in ["append", "beside"] {
            let out = format!("{format}.{}.{verity}", more.len());
            let tree = if verity == "append" { "append".to_owned() } else { lab.text(&format!("{out}.verity")) };
            let (format_option, tree_option) = (format!("--format={format}"), format!("--verity={tree}"));
            let path = lab.text(&out);
            let export = ["export", &one, &path, "--arch=amd64", &format_option, &tree_option];
            let hash = lab.program.ok(export.iter().chain(more));
            let hash = hash.trim_end();
            let disk = if format == "erofs-meta" { format!("{out}.vmdk") } else { out.clone() };
            let text = verify(&one, "--arch=amd64", &disk, hash, more).ok();
            assert!(text.contains("verified, the root of") && text.contains(&one), "{text}");
            let wrong = verify(&other, "--arch=arm64", &disk, hash, more).fails(5);
            assert!(wrong.contains("has the root hash") && wrong.contains("hint: "), "{wrong}");
            if !more.is_empty() {
                verify(&one, "--arch=amd64", &disk, hash, &[]).fails(5);
            }
            // A flipped bit of the disk.
            let changed = lab.text(if format == "erofs-meta" { "erofs-meta.0.beside.head" } else { &out });
            let Ok(file) = File::options().read(true).write(true).open(&changed) else { continue };
            let mut byte = [0];
            file.read_exact_at(&mut byte, 4096 + 5).unwrap();
            file.write_all_at(&[byte[0] ^ 1], 4096 + 5).unwrap();
            let found = verify(&one, "--arch=amd64", &disk, hash, more);
            if !(format == "erofs-meta" && verity == "append") {
                let message = found.fails(5);
                assert!(message.contains("block 1 of the image does not match its hash"), "{message}");
            }
        }
    }
    let hash = "00".repeat(32);
    lab.program.file("plain", [0; 4096]);
    lab.program.ok(["verity", "format", &lab.text("plain")]);
    let usage = verify(&one, "--arch=amd64", "plain", &hash, &[]).fails(2);
    assert!(usage.contains("--format"), "{usage}");
    let missing = verify(&one, "--arch=amd64", "release.pub", &hash, &["--format=ext4"]).fails(3);
    assert!(missing.contains("no hash tree"), "{missing}");
    let refused = ["--policy".to_owned(), lab.policy("release.pub")];
    verify(&one, "--arch=amd64", "plain", &hash, &["--format=ext4", &refused[0], &refused[1]]).fails(5);
}

/// A guest that needs a signature, with QEMU's translator.
struct BootLab {
    lab: Lab,
    guest: Guest,
    signed: String,
    unsigned: String,
}

impl BootLab {
    /// Returns `None` if the test has to be skipped.
    #[track_caller]
    fn new() -> Option<Self> {
        let guest = Guest::of("amd64")?;
        let lab = Lab::new();
        let names = ["signed", "unsigned"].map(|name| format!("{}/team/{name}:1", lab.registry.host()));
        for name in &names {
            lab.program.ok(["copy", "--quiet", "--all", DEMO, &format!("docker://{name}")]);
        }
        let [signed, unsigned] = names;
        // Equal images are in the repository of the signed one only.
        lab.sign(&signed);
        Some(Self { lab, guest, signed, unsigned })
    }

    fn arguments(&self, name: &str, policy: &str, more: &[&str]) -> Vec<String> {
        let kernel = self.guest.kernel().display().to_string();
        let first =
            ["boot", name, "--verity", "--progress=none", "--accel=tcg", "--kernel", &kernel, "--policy", policy];
        first.iter().chain(more).map(|argument| (*argument).to_owned()).collect()
    }
}

#[test]
fn a_guest_runs_only_on_a_signed_root() {
    let Some(test) = BootLab::new() else { return };
    let (lab, policy) = (&test.lab, test.lab.policy("release.pub"));
    let script = "cat /proc/cmdline /proc/mounts | grep -o -e 'vmroot.verity=[0-9a-f]*' -e '^[^ ]* / [a-z]*'; exit 3";
    let answer = lab.program.run(test.arguments(&test.signed, &policy, &["--", script]));
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.first().is_some_and(|line| line.len() == "vmroot.verity=".len() + 64), "{answer}");
    assert_eq!((answer.status.code(), lines.get(1)), (Some(3), Some(&"/dev/dm-0 / erofs")), "{answer}");
    // A program in the place of QEMU says whether a guest is started.
    let directory = lab.program.path("bin");
    fs::create_dir(&directory).unwrap();
    let started = lab.program.path("started");
    let qemu = lab.program.file("bin/qemu-system-x86_64", format!("#!/bin/sh\n: > {}\n", started.display()));
    fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap_or_default());
    let boot = |name: &str, policy: &str| -> (CommandOutput, bool) {
        let mut command = lab.program.command(test.arguments(name, policy, &[]));
        let output = command.env("PATH", &path).stdin(Stdio::null()).output().unwrap().into();
        (output, fs::remove_file(&started).is_ok())
    };
    assert!(boot(&test.signed, &policy).1, "the signed image is started");
    let reject = lab.program.file("reject.json", r#"{"default":[{"type":"reject"}]}"#).display().to_string();
    for (name, policy, reason) in [
        (&test.unsigned, &policy, "the image has none"),
        (&test.signed, &lab.policy("other.pub"), "any of the keys"),
        (&test.signed, &reject, "rejects"),
    ] {
        let (output, is_started) = boot(name, policy);
        let message = output.fails(5);
        assert!(message.contains(reason) && !is_started, "{is_started}: {message}");
    }
    for form in ["--via=virtiofs", "--via=cpio"] {
        let message = lab.program.run(test.arguments(&test.signed, &policy, &[form])).fails(1);
        assert!(message.contains("gives the guest no disk") && message.contains("hint: --via erofs-meta"), "{message}");
    }
}

/// The files of another machine, of which one bit is changed on the way.
#[test]
fn a_flipped_bit_ends_the_guest_with_the_block() {
    let Some(test) = BootLab::new() else { return };
    let directory = test.lab.program.path("machine");
    let output = format!("--output={}", directory.display());
    let policy = test.lab.policy("release.pub");
    let refused = test.lab.program.run(test.arguments(&test.unsigned, &policy, &[&output])).fails(5);
    assert!(refused.contains("the image has none") && !directory.exists(), "{refused}");
    let script = "cat /bin/* /sbin/* > /dev/null 2>&1; sleep 60";
    test.lab.program.ok(test.arguments(&test.signed, &policy, &[&output, "--", script]));
    let image = File::options().read(true).write(true).open(directory.join("root.img")).unwrap();
    let (mut byte, place) = ([0], 300 * 4096 + 99);
    image.read_exact_at(&mut byte, place).unwrap();
    image.write_all_at(&[byte[0] ^ 1], place).unwrap();
    let mut script = std::process::Command::new(directory.join("run.sh"));
    let console = script.stdin(Stdio::null()).output().unwrap().stdout;
    let console = String::from_utf8_lossy(&console);
    assert!(console.contains("[vmroot-init] error: block 300 of the root's disk does not match its hash"), "{console}");
    assert!(console.contains("[vmroot-init] exit code 125"), "{console}");
}
