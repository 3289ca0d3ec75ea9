//! `disk create|grow|clone|info`, with e2fsck and the kernel as judges.

use std::fs;
use std::path::Path;
use std::process::Command;

use vmroot_testkit::mounted::{Mounted, run as run_program};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::skip;

use crate::program::{CommandOutput, Program};
use crate::samples::{image, serve};

fn check(path: &Path) {
    if !skip::needs_program("e2fsck") {
        run_program(Command::new("e2fsck").arg("-fn").arg(path));
    }
}

/// Runs a command in the directory of the program.
fn run(program: &Program, arguments: &[&str]) -> CommandOutput {
    program.command(arguments).current_dir(program.path(".")).output().unwrap().into()
}

fn json(program: &Program, arguments: &[&str]) -> serde_json::Value {
    serde_json::from_str(&run(program, arguments).ok()).unwrap()
}

#[test]
fn a_disk_is_made_grown_copied_and_described() {
    let program = Program::new();
    let path = |name: &str| program.path(name);
    assert_eq!(run(&program, &["disk", "create", "data", "--size=64M", "--label=data"]).ok(), "");
    assert_eq!(run(&program, &["disk", "grow", "data", "--size=9G"]).ok(), "");
    assert_eq!(run(&program, &["disk", "clone", "data", "copy", "--random-id"]).ok(), "");
    let [data, copy] = ["data", "copy"].map(|name| json(&program, &["disk", "info", name, "--json"]));
    for (name, info) in [("data", &data), ("copy", &copy)] {
        check(&path(name));
        assert_eq!(info["size"], 9_u64 << 30);
        assert_eq!(info["label"], "data");
        assert_eq!(info["journal"], "clean");
        assert_eq!(info["upper"], false);
        assert!(info["allocated"].as_u64().unwrap() < 1 << 20, "{info}");
    }
    assert_ne!(data["uuid"], copy["uuid"]);
    let text = run(&program, &["disk", "info", "data"]).ok();
    assert!(text.contains("File system     9.00 GiB"), "{text}");
    assert!(text.contains("Journal         4.00 MiB, clean\nState           clean\nLast mount      never\n"), "{text}");

    let exists = run(&program, &["disk", "create", "data", "--size=8M"]).fails(1);
    assert!(exists.contains("hint: --force replaces its contents"), "{exists}");
    let smaller = run(&program, &["disk", "grow", "data", "--size=8G"]).fails(2);
    assert!(smaller.contains("it has 9663676416 bytes already, and 8589934592 are fewer"), "{smaller}");
    let small = run(&program, &["disk", "create", "tiny", "--size=4K"]).fails(1);
    assert!(small.contains("hint: --size "), "{small}");
    fs::write(path("text"), "no disk\n").unwrap();
    let other = run(&program, &["disk", "info", "text"]).fails(5);
    assert!(other.contains("no disk with an ext4 file system; it seems to be text"), "{other}");
    run(&program, &["disk", "info", "absent"]).fails(3);
}

#[test]
fn a_disk_with_a_root_is_writable_and_has_its_size() {
    let registry = Registry::start();
    let name = serve(&registry, &image("amd64"), "v1");
    let program = Program::new();
    for size in ["64M", "100G"] {
        let arguments =
            ["disk", "create", "root", "--force", "--json", "--arch=amd64", "--from", &name, "--size", size];
        let info = json(&program, &arguments);
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
