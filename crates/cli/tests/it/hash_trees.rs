//! `export --verity` and `verity`: hash trees of disk images, with `veritysetup` as the judge.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use vmroot_testkit::registry::Registry;
use vmroot_testkit::skip;

use crate::program::Program;
use crate::samples::{image, serve};

/// An image in a registry, and a program with a cache.
struct Test {
    program: Program,
    _registry: Registry,
    image: String,
}

impl Test {
    fn new() -> Self {
        let registry = Registry::start();
        let image = serve(&registry, &image("amd64"), "v1");
        Self { program: Program::new(), _registry: registry, image }
    }

    fn path(&self, name: &str) -> String {
        self.program.path(name).display().to_string()
    }

    fn export(&self, name: &str, format: &str, verity: &str, more: &[&str]) -> Value {
        let (out, format, verity) = (self.path(name), format!("--format={format}"), format!("--verity={verity}"));
        let first = ["export", &self.image, &out, "--arch=amd64", "--json", &format, &verity];
        self.program.json(first.iter().chain(more))
    }

    fn verify(&self, disk: &str, tree: &str, hash: &str) -> crate::program::CommandOutput {
        self.program.run(["verity", "verify", &self.path(disk), &self.path(tree), hash])
    }
}

fn root_hash(report: &Value) -> String {
    report["verity"]["rootHash"].as_str().unwrap_or_else(|| panic!("{report}")).to_owned()
}

/// Returns the exit status of `veritysetup verify`, or `None` if it is not installed.
fn veritysetup(disk: &Path, tree: &Path, hash: &str, offset: u64) -> Option<bool> {
    let program = Path::new("/usr/sbin/veritysetup");
    if !program.exists() && skip::needs_program("veritysetup") {
        return None;
    }
    let mut command = Command::new(if program.exists() { program } else { Path::new("veritysetup") });
    let output = command.arg("verify").arg(format!("--hash-offset={offset}")).args([disk, tree]).arg(hash).output();
    Some(output.unwrap().status.success())
}

#[test]
fn each_disk_image_has_the_tree_of_veritysetup() {
    let test = Test::new();
    let formats = ["erofs", "ext4", "squashfs"];
    let installed = !skip::needs_program("sqfstar");
    for format in formats.into_iter().filter(|format| *format != "squashfs" || installed) {
        let (tree, appended) = (format!("{format}.verity"), format!("{format}.one"));
        let report = test.export(format, format, &test.path(&tree), &[]);
        let hash = root_hash(&report);
        assert_eq!(report["files"], serde_json::json!([test.path(&tree)]));
        let (disk, tree_path) = (test.program.path(format), test.program.path(&tree));
        assert!(veritysetup(&disk, &tree_path, &hash, 0).is_none_or(|valid| valid), "{format}");
        test.verify(format, &tree, &hash).ok();
        // The tree after the image, and again: all bytes are equal.
        let report = test.export(&appended, format, "append", &[]);
        assert_eq!(root_hash(&report), hash, "{format}");
        let offset = report["verity"]["hashOffset"].as_u64().unwrap();
        let (one, image) = (fs::read(test.program.path(&appended)).unwrap(), fs::read(&disk).unwrap());
        assert_eq!(report["bytes"], one.len());
        assert!(one.starts_with(&image) && one.len() as u64 > offset, "{format}");
        let one = test.program.path(&appended);
        assert!(veritysetup(&one, &one, &hash, offset).is_none_or(|valid| valid), "{format}");
        test.verify(&appended, &appended, &hash).ok();
        // A wrong block.
        let file = fs::File::options().read(true).write(true).open(&disk).unwrap();
        file.write_all_at(b"x", 4096 + 77).unwrap();
        let message = test.verify(format, &tree, &hash).fails(5);
        assert!(message.contains("block 1 of the image does not match its hash"), "{message}");
        assert!(veritysetup(&disk, &tree_path, &hash, 0).is_none_or(|valid| !valid), "{format}");
    }
}

#[test]
fn erofs_meta_has_one_hash_for_its_joined_disk() {
    let test = Test::new();
    let report = test.export("meta", "erofs-meta", "append", &[]);
    let hash = root_hash(&report);
    test.verify("meta.vmdk", "meta.verity", &hash).ok();
    // The joined disk, byte for byte.
    let mut joined = fs::read(test.program.path("meta.head")).unwrap();
    for path in fs::read_to_string(test.program.path("meta.devices")).unwrap().lines() {
        joined.extend(fs::read(path).unwrap());
    }
    let disk = test.program.file("joined", &joined);
    assert_eq!(joined.len() as u64, report["verity"]["dataBlocks"].as_u64().unwrap() * 4096);
    assert!(veritysetup(&disk, &test.program.path("meta.verity"), &hash, 0).is_none_or(|valid| valid));
    assert_eq!(test.program.ok(["verity", "format", "--force", disk.to_str().unwrap()]).trim_end(), hash);
    let vmdk = fs::read_to_string(test.program.path("meta.vmdk")).unwrap();
    assert!(vmdk.contains("FLAT \"meta.verity\" 0\n"), "{vmdk}");
    // With a file of its own, the descriptors are as without a tree.
    let other = test.export("other", "erofs-meta", &test.path("tree"), &[]);
    assert_eq!(root_hash(&other), hash);
    let vmdk = fs::read_to_string(test.program.path("other.vmdk")).unwrap();
    assert!(!vmdk.contains("tree"), "{vmdk}");
}

#[test]
fn the_config_has_the_tree_and_text_is_the_root_hash() {
    let test = Test::new();
    let config = format!("--config-out={}", test.path("config.json"));
    let report = test.export("one", "erofs", "append", &[&config]);
    let written: Value = serde_json::from_slice(&fs::read(test.program.path("config.json")).unwrap()).unwrap();
    assert_eq!(written["verity"], report["verity"]);
    assert_eq!(written["entrypoint"][0], "/usr/bin/tool");
    let out = test.path("two");
    let text = test.program.ok(["export", &test.image, &out, "--arch=amd64", "--format=erofs", "--verity=append"]);
    assert_eq!(text, format!("{}\n", root_hash(&report)));
    // Another salt is another root hash.
    let salted = test.export("three", "erofs", "append", &["--verity-salt=-"]);
    assert_ne!(root_hash(&salted), root_hash(&report));
    assert_eq!(salted["verity"]["salt"], "-");
    test.verify("three", "three", &root_hash(&salted)).ok();
}

#[test]
fn impossible_trees_are_refused_before_the_pull() {
    let test = Test::new();
    let export = |format: &str, more: &[&str]| {
        let out = test.path("out");
        let first = ["export", "none.invalid/x", &out, "--arch=amd64", format];
        test.program.run(first.iter().chain(more))
    };
    let message = export("--format=tar", &["--verity=append"]).fails(2);
    assert!(message.contains("--verity is for --format erofs, erofs-meta, ext4 and squashfs"), "{message}");
    export("--format=erofs", &["--verity-salt=00"]).fails(2);
    export("--format=erofs", &["--verity=append", "--verity-salt=0"]).fails(2);
    let out = format!("--verity={}", test.path("out"));
    let message = export("--format=erofs", &[&out]).fails(2);
    assert!(message.contains("is also another output"), "{message}");
    let existing = test.program.file("existing", "x");
    let message = export("--format=erofs", &[&format!("--verity={}", existing.display())]).fails(1);
    assert!(message.contains("--force replaces"), "{message}");
    assert!(!test.program.path("out").exists());
}

#[test]
fn trees_of_other_disks() {
    let test = Test::new();
    let disk = test.program.file("disk", vec![9; 5000]);
    let disk = disk.to_str().unwrap();
    let message = test.program.run(["verity", "format", disk]).fails(1);
    assert!(message.contains("no whole number of blocks") && message.contains("hint: `truncate"), "{message}");
    assert!(!test.program.path("disk.verity").exists());
    let hash = test.program.ok(["verity", "format", disk, "--append", "--hash=sha512", "--salt=0a0b"]);
    let text = test.program.ok(["verity", "dump", disk]);
    assert!(text.contains("data blocks      2\n") && text.contains("salt             0a0b\n"), "{text}");
    let verified = test.program.ok(["verity", "verify", disk, disk, hash.trim_end()]);
    assert!(verified.contains("2 blocks, 8.00 KiB, verified"), "{verified}");
    let message = test.program.run(["verity", "format", disk, "--append"]).fails(1);
    assert!(message.contains("a hash tree follows the image already"), "{message}");
    let message = test.program.run(["verity", "verify", disk, disk, "00"]).fails(2);
    assert!(message.contains("it has 2 digits, and one of sha512 has 128") && message.contains("hint: "), "{message}");
    let other = test.program.file("other", vec![0; 8192]);
    let message = test.program.run(["verity", "dump", other.to_str().unwrap()]).fails(1);
    assert!(message.contains("no superblock of dm-verity"), "{message}");
}
