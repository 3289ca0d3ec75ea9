//! `docs/json.md`: the fields of each verb's JSON are those of its table, and have the types of the table.

mod page;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::process::Command;

use serde_json::Value;
use vmroot_testkit::image::Index;
use vmroot_testkit::layer::Encoding;
use vmroot_testkit::registry::{Auth, Registry};
use vmroot_testkit::skip;

use crate::program::Program;
use crate::samples::{image, index, serve, serve_index};
use page::Page;

/// The images of the tests: one for amd64, and a list.
struct Samples {
    program: Program,
    registry: Registry,
    list: Index,
    one: String,
    several: String,
    /// The commands that failed.
    failures: RefCell<Vec<String>>,
}

impl Samples {
    fn new() -> Self {
        let (program, registry, list) = (Program::new(), Registry::start(), index());
        let one = serve(&registry, &image("amd64"), "one");
        let several = serve_index(&registry, &list, "several");
        Self { program, registry, list, one, several, failures: RefCell::default() }
    }

    /// Runs a command with `--json` in the home directory, and returns what it prints.
    fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let mut command = self.program.command(arguments.iter().copied().chain(["--json"]));
        command.env("COSIGN_PASSWORD", "secret").env("GNUPGHOME", self.program.path("gnupg"));
        let output: crate::program::CommandOutput = command.current_dir(self.program.path("")).output().unwrap().into();
        let parsed = serde_json::from_slice(&output.stdout).ok().filter(|_| output.status.code() == Some(code));
        parsed.unwrap_or_else(|| {
            self.failures.borrow_mut().push(format!("{arguments:?}: {code} expected: {output}"));
            Value::Null
        })
    }

    /// Returns a document of a registry that refers to an image.
    fn put_referrer(&self) {
        let subject = &self.list.document;
        let document = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/example",
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "size": 2,
                "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},
            "layers": [],
            "subject": {"mediaType": subject.media_type.to_string(), "size": subject.bytes.len(), "digest": subject.digest},
        });
        let bytes = document.to_string().into_bytes();
        self.registry.put_manifest(
            crate::samples::REPOSITORY,
            None,
            "application/vnd.oci.image.manifest.v1+json",
            &bytes,
        );
    }
}

/// Runs each verb, and compares its output with the page in both directions.
#[test]
fn page_and_output_have_the_same_fields() {
    let mut page = Page::read();
    let samples = Samples::new();
    let (one, several) = (samples.one.as_str(), samples.several.as_str());
    let repository = one.rsplit_once(':').unwrap().0;
    // Images into the cache.
    page.check("pull", &samples.json(0, &["pull", one, "--arch=amd64"]));
    let both = samples.json(0, &["pull", one, several, "--arch=amd64"]);
    assert_eq!(both.as_array().map(Vec::len), Some(2), "{both}: {:?}", samples.failures);
    both.as_array().unwrap().iter().for_each(|image| page.check("pull", image));
    samples.json(0, &["pull", several, "--arch=arm64"]);
    page.check("images", &samples.json(0, &["images"]));
    page.check("save", &samples.json(0, &["save", several, "--output=saved.tar", "--arch=arm64"]));
    let changed = samples
        .json(0, &["commit", several, "--arch=arm64", "--change=CMD [\"x\"]", "--change=LABEL a=b", "--tag", several]);
    page.check("commit", &changed);
    page.check("config", &samples.json(0, &["config", several, "--arch=arm64"]));
    page.check("load", &samples.json(0, &["load", "saved.tar", "--arch=arm64"]));
    // The cache's images.
    for image in [one, several] {
        page.check("inspect", &samples.json(0, &["inspect", image, "--arch=amd64"]));
        page.check("config", &samples.json(0, &["config", image, "--arch=amd64"]));
        page.check("history", &samples.json(0, &["history", image, "--arch=amd64"]));
    }
    page.check("tag", &samples.json(0, &["tag", one, "name:1", "--arch=amd64"]));
    page.check("tag", &samples.json(0, &["tag", several, "name:1", "--arch=arm64"]));
    samples.program.ok(["untag", "name:1", "--platform=linux/arm64"]);
    samples.program.ok(["tag", one, "name:2", "--arch=amd64"]);
    page.check("tag", &samples.json(0, &["tag", several, "name:2", "--arch=amd64"]));
    page.check("untag", &samples.json(0, &["untag", "name:2", "--arch=amd64"]));
    // Files of an image.
    let etc = |verb: &'static [&'static str]| {
        verb.iter().map(|word| if *word == "IMAGE" { one } else { *word }).chain(["--arch=amd64"]).collect::<Vec<_>>()
    };
    page.check("ls", &samples.json(0, &etc(&["ls", "IMAGE", "-R"])));
    for path in ["etc", "null", "bin"] {
        page.check("stat", &samples.json(0, &["stat", one, path, "--arch=amd64"]));
        page.check("why", &samples.json(0, &["why", one, path, "--arch=amd64"]));
    }
    page.check("why", &samples.json(0, &etc(&["why", "IMAGE", "doomed"])));
    page.check("why", &samples.json(0, &etc(&["why", "IMAGE", "bin/tool"])));
    page.check("readlink", &samples.json(0, &etc(&["readlink", "IMAGE", "bin"])));
    page.check("resolve", &samples.json(0, &etc(&["resolve", "IMAGE", "bin/tool"])));
    fs::create_dir(samples.program.path("extra")).unwrap();
    samples.program.file("extra/file", "");
    samples.program.ok([
        "export",
        one,
        samples.program.path("pre").to_str().unwrap(),
        "--format=prebaked",
        "--arch=amd64",
    ]);
    let other = vmroot_testkit::image::ImageBuilder::new().layer(&crate::samples::base()).build();
    let other = serve(&samples.registry, &other, "other");
    page.check("diff", &samples.json(0, &["diff", one, &other, "--arch=amd64"]));
    page.check("export", &samples.json(0, &["export", one, "out.cpio", "--arch=amd64"]));
    page.check("export", &samples.json(0, &["export", one, "out.erofs", "--format=erofs-meta", "--arch=amd64"]));
    let mut root_hash = String::new();
    for verity in ["append", "tree"] {
        let option = format!("--verity={verity}");
        let out = format!("{verity}.erofs");
        let exported = samples.json(0, &["export", one, &out, "--arch=amd64", &option]);
        exported["verity"]["rootHash"].as_str().unwrap_or_default().clone_into(&mut root_hash);
        page.check("export", &exported);
    }
    page.check("cp", &samples.json(0, &["cp", &format!("{one}:/etc/motd"), "copied", "--arch=amd64"]));
    // Mounts, where they are possible.
    let can_mount = !crate::mounted::cannot_mount();
    if can_mount {
        let place = samples.program.path("place");
        fs::create_dir(&place).unwrap();
        let place = place.to_str().unwrap();
        page.check("mount", &samples.json(0, &["mount", one, place, "--detach", "--driver=fuse", "--arch=amd64"]));
        page.check("mounts", &samples.json(0, &["mounts"]));
        page.check("umount", &samples.json(0, &["umount", place]));
    }
    // Another image takes a name.
    page.check("tag", &samples.json(0, &["tag", &other, "name:1", "--arch=amd64"]));
    // The cache.
    page.check("df", &samples.json(0, &["df"]));
    page.check("df IMAGE", &samples.json(0, &["df", one, "--arch=amd64"]));
    page.check("verify", &samples.json(0, &["verify"]));
    page.check("lease create", &samples.json(0, &["lease", "create", one, "--id=job", "--expire=1h", "--arch=amd64"]));
    page.check("lease list", &samples.json(0, &["lease", "list"]));
    page.check("gc", &samples.json(0, &["gc", "--unused", "--max-size=1T"]));
    let id = samples.json(0, &["inspect", one, "--arch=amd64"])["id"].as_str().unwrap_or_default().to_owned();
    page.check("rm", &samples.json(0, &["rm", &id, "--force"]));
    page.check("gc", &samples.json(0, &["gc"]));
    page.check("lease release", &samples.json(0, &["lease", "release", "job"]));
    samples.program.ok(["gc"]);
    samples.program.ok(["pull", several, "--arch=amd64"]);
    damage(&samples);
    page.check("verify", &samples.json(5, &["verify"]));
    // Registries.
    samples.put_referrer();
    page.check("tags", &samples.json(0, &["tags", repository]));
    page.check("list-tags", &samples.json(0, &["list-tags", &format!("docker://{repository}")]));
    page.check("digest", &samples.json(0, &["digest", one]));
    page.check("referrers", &samples.json(0, &["referrers", several]));
    page.check("repos", &samples.json(0, &["repos", &samples.registry.host()]));
    page.check("instances", &samples.json(0, &["instances", repository]));
    page.check("tag in a registry", &samples.json(0, &["tag", "--remote", one, "more"]));
    let source = format!("docker://{several}");
    page.check("copy", &samples.json(0, &["copy", "--all", &source, "oci:copy:v1"]));
    for more in [&[][..], &["--dry-run"]] {
        let arguments = [&["sync", "--src=docker", "--dest=dir", one, "mirror"], more].concat();
        page.check("sync", &samples.json(0, &arguments));
    }
    page.check("delete", &samples.json(0, &["delete", "oci:copy:v1"]));
    page.check("registries explain", &samples.json(0, &["registries", "explain", one]));
    page.check("registries explain", &samples.json(0, &["registries", "explain", "alpine"]));
    let has_gnupg = check_signatures(&samples, &mut page);
    samples.registry.require(Auth::basic("user", "secret"));
    let host = samples.registry.host();
    page.check("login", &samples.json(0, &["login", &host, "--username=user", "--password=secret"]));
    page.check("logout", &samples.json(0, &["logout", &host]));
    // Files.
    samples.program.file("layer.tar", crate::samples::base().to_tar(&Encoding::default()));
    page.check("layer index", &samples.json(0, &["layer", "index", "layer.tar", "--output=index"]));
    let index = fs::read_dir(samples.program.path("index")).unwrap().map(|entry| entry.unwrap().path());
    let index = index.into_iter().find(|path| path.extension().is_some_and(|it| it == "idx")).unwrap();
    page.check("layer verify", &samples.json(0, &["layer", "verify", index.to_str().unwrap()]));
    page.check("disk create", &samples.json(0, &["disk", "create", "data.ext4", "--size=16M"]));
    page.check("disk grow", &samples.json(0, &["disk", "grow", "data.ext4", "--size=32M"]));
    page.check("disk clone", &samples.json(0, &["disk", "clone", "data.ext4", "copy.ext4"]));
    page.check("disk info", &samples.json(0, &["disk", "info", "copy.ext4"]));
    page.check("disk ls", &samples.json(0, &["disk", "ls", "copy.ext4"]));
    page.check("disk create", &samples.json(0, &["disk", "create", "bare.ext4", "--size=1M", "--no-journal"]));
    page.check("disk info", &samples.json(0, &["disk", "info", "bare.ext4"]));
    samples.program.file("disk", [7; 8192]);
    let formatted = samples.json(0, &["verity", "format", "disk"]);
    page.check("verity format", &formatted);
    samples.program.file("one", [7; 8192]);
    page.check("verity format", &samples.json(0, &["verity", "format", "one", "--append"]));
    let hash = formatted["rootHash"].as_str().unwrap();
    page.check("verity verify", &samples.json(0, &["verity", "verify", "disk", "disk.verity", hash]));
    page.check("verity verify", &samples.json(0, &["verity", "verify", "one", "one", hash]));
    let of_image = ["verity", "verify", one, "append.erofs", &root_hash, "--arch=amd64"];
    page.check("verity verify", &samples.json(0, &of_image));
    page.check("verity dump", &samples.json(0, &["verity", "dump", "one"]));
    page.check("manifest-digest", &samples.json(0, &["manifest-digest", "copy/index.json"]));
    let error = samples.program.run(["--json", "no-such-command"]).stderr;
    page.check("Errors", &serde_json::from_str(&error).unwrap());

    assert!(samples.failures.borrow().is_empty(), "{}", samples.failures.borrow().join("\n"));
    page.assert_same(|title| {
        !can_mount && ["mount", "mounts", "umount"].contains(&title) || !has_gnupg && title.starts_with("standalone-")
    });
    let verbs: BTreeSet<String> = crate::snapshots::verbs(&samples.program).into_iter().collect();
    let with: BTreeSet<String> =
        page.titles().iter().map(|title| title.split(' ').next().unwrap().to_owned()).collect();
    let unknown: Vec<_> = with.iter().filter(|verb| !verbs.contains(*verb) && *verb != "Errors").collect();
    assert!(unknown.is_empty(), "docs/json.md has sections of {unknown:?}");
    let missing: Vec<_> = verbs.iter().filter(|verb| !with.contains(*verb) && !page.without.contains(*verb)).collect();
    assert!(missing.is_empty(), "docs/json.md has no section of {missing:?}");
}

/// Checks the verbs for signatures. Returns whether there is a program of GnuPG to generate a key.
fn check_signatures(samples: &Samples, page: &mut Page) -> bool {
    let one = samples.one.as_str();
    samples.program.file("passphrase", "secret\n");
    let generated = ["generate-sigstore-key", "--output-prefix=key", "--passphrase-file=passphrase"];
    page.check("generate-sigstore-key", &samples.json(0, &generated));
    page.check("sign", &samples.json(0, &["sign", "--key=key.private", one]));
    page.check("verify-signature", &samples.json(0, &["verify-signature", "--key=key.pub", one]));
    samples.program.file("predicate.json", "{}");
    let attest = ["attest", "--key=key.private", "--type=spdxjson", "--predicate=predicate.json", one];
    page.check("attest", &samples.json(0, &attest));
    page.check("attestations", &samples.json(0, &["attestations", "--key=key.pub", one]));
    let policy = |kind: &str, name: &str| {
        let path = samples.program.path("key.pub").display().to_string();
        let policy = serde_json::json!({"default": [{"type": kind, "keyPath": path}]});
        samples.program.file(name, policy.to_string()).display().to_string()
    };
    let bundle = policy("vmrootBundleSigned", "bundle.json");
    for policy in [&bundle, &policy("sigstoreSigned", "attachment.json")] {
        let explain = ["policy", "explain", "--arch=amd64", "--policy", policy, one];
        page.check("policy explain", &samples.json(0, &explain));
    }
    page.check("policy explain", &samples.json(0, &["policy", "explain", "--insecure-policy", one]));
    samples.json(0, &["pull", "--arch=amd64", "--policy", &bundle, one]);
    page.check("policy explain", &samples.json(0, &["policy", "check", "--arch=amd64", "--policy", &bundle, one]));

    let layout = "oci:attested:v1";
    samples.json(0, &["copy", "--referrers", &format!("docker://{one}"), layout]);
    for more in [&[one, "--policy", &bundle][..], &[layout, "--policy", &bundle], &[one, "--no-root-hash"]] {
        page.check("provenance", &samples.json(0, &[&["provenance", "--arch=amd64"], more].concat()));
    }

    fs::create_dir(samples.program.path("gnupg")).unwrap();
    let mut gpg = Command::new("gpg");
    gpg.arg("--homedir").arg(samples.program.path("gnupg"));
    gpg.args(["--batch", "--quick-generate-key", "--passphrase", "", "x@example.org", "rsa2048", "sign"]);
    if !gpg.output().is_ok_and(|output| output.status.success()) {
        skip::because("gpg is missing");
        return false;
    }
    let listed = samples.program.ok(["inspect", "--raw", "--arch=amd64", one]);
    samples.program.file("manifest.json", listed);
    let sign = ["standalone-sign", "manifest.json", "x.test/y:1", "x@example.org", "--output=signature"];
    page.check("standalone-sign", &samples.json(0, &sign));
    let exported = Command::new("gpg").arg("--homedir").arg(samples.program.path("gnupg")).arg("--export").output();
    samples.program.file("key.gpg", exported.unwrap().stdout);
    let verify = ["standalone-verify", "--public-key-file=key.gpg", "manifest.json", "x.test/y:1", "any", "signature"];
    page.check("standalone-verify", &samples.json(0, &verify));
    true
}

/// Changes a byte of the largest blob.
fn damage(samples: &Samples) {
    let blobs = samples.program.cache().join("blobs/sha256");
    let length = |path: &std::path::PathBuf| path.metadata().unwrap().len();
    let files = fs::read_dir(&blobs).unwrap().map(|entry| entry.unwrap().path());
    let largest = files.max_by_key(length).expect("the cache has blobs");
    let mut bytes = fs::read(&largest).unwrap();
    bytes[100] ^= 1;
    fs::remove_file(&largest).unwrap();
    fs::File::create(&largest).unwrap().write_all(&bytes).unwrap();
}
