//! `disk create|grow|clone|info`, with e2fsck and the kernel as judges.

use std::fs;
use std::path::Path;
use std::process::Command;

use vmroot_testkit::mounted::{Mounted, run};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::skip;

use crate::program::Program;
use crate::samples::{image, serve};

fn check(path: &Path) {
    if !skip::needs_program("e2fsck") {
        run(Command::new("e2fsck").arg("-fn").arg(path));
    }
}

#[test]
fn a_disk_is_made_grown_copied_and_described() {
    let program = Program::new();
    let path = |name: &str| program.path(name);
    assert_eq!(program.ok(["disk", "create", "data", "--size=64M", "--label=data"]), "");
    assert_eq!(program.ok(["disk", "grow", "data", "--size=9G"]), "");
    assert_eq!(program.ok(["disk", "clone", "data", "copy", "--random-id"]), "");
    let [data, copy] = ["data", "copy"].map(|name| program.json(["disk", "info", name, "--json"]));
    for (name, info) in [("data", &data), ("copy", &copy)] {
        check(&path(name));
        assert_eq!(info["size"], 9_u64 << 30);
        assert_eq!(info["label"], "data");
        assert_eq!(info["journal"], "clean");
        assert_eq!(info["upper"], false);
        assert!(info["allocated"].as_u64().unwrap() < 1 << 20, "{info}");
    }
    assert_ne!(data["uuid"], copy["uuid"]);
    let text = program.ok(["disk", "info", "data"]);
    assert!(text.contains("File system     9.00 GiB"), "{text}");
    assert!(text.contains("Journal         4.00 MiB, clean\nState           clean\nLast mount      never\n"), "{text}");

    let exists = program.fails(1, ["disk", "create", "data", "--size=8M"]);
    assert!(exists.contains("hint: --force replaces its contents"), "{exists}");
    let smaller = program.fails(2, ["disk", "grow", "data", "--size=8G"]);
    assert!(smaller.contains("it has 9663676416 bytes already, and 8589934592 are fewer"), "{smaller}");
    let small = program.fails(1, ["disk", "create", "tiny", "--size=4K"]);
    assert!(small.contains("hint: --size "), "{small}");
    fs::write(path("text"), "no disk\n").unwrap();
    let other = program.fails(5, ["disk", "info", "text"]);
    assert!(other.contains("no disk with an ext4 file system; it seems to be text"), "{other}");
    program.fails(3, ["disk", "info", "absent"]);
}

#[test]
fn a_disk_with_a_root_is_writable_and_has_its_size() {
    let registry = Registry::start();
    let name = serve(&registry, &image("amd64"), "v1");
    let program = Program::new();
    for size in ["64M", "100G"] {
        let arguments =
            ["disk", "create", "root", "--force", "--json", "--arch=amd64", "--from", &name, "--size", size];
        let info = program.json(arguments);
        check(&program.path("root"));
        assert!(info["free"].as_u64().unwrap() > info["size"].as_u64().unwrap() / 2, "{info}");
        assert_eq!(info["journal"], "clean");
        if skip::needs_root() {
            continue;
        }
        let mounted = Mounted::new(&program.path("root"), "ext4", "rw");
        assert!(mounted.path().join("etc/motd").exists() && !mounted.path().join("doomed").exists());
        fs::write(mounted.path().join("new"), "new").unwrap();
        drop(mounted);
        check(&program.path("root"));
    }
}
