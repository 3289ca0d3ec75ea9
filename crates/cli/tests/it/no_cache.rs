//! Directories without a cache: commands that only read create none, and say so.

use std::fs;

use vmroot_testkit::registry::Registry;

use crate::program::Program;
use crate::samples::{image, serve};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/demo");

/// A program whose cache is missing, or an empty directory.
fn without_cache() -> [Program; 2] {
    let empty = Program::new();
    fs::create_dir(empty.cache()).unwrap();
    [Program::new(), empty]
}

#[track_caller]
fn assert_no_cache(program: &Program, verb: &[&str]) {
    let files = fs::read_dir(program.cache()).map_or(0, Iterator::count);
    assert_eq!(files, 0, "{verb:?} makes a cache");
}

#[test]
fn lists_of_a_missing_cache_are_empty() {
    for program in without_cache() {
        let note = format!("there is no cache in {}", program.cache().display());
        for (verb, printed) in [
            (&["images", "--json"][..], "[]\n"),
            (&["images", "--quiet"], ""),
            (&["lease", "list", "--json"], "[]\n"),
            (&["gc"], "freed 0 B in 0 files\n"),
        ] {
            let output = program.run(verb);
            assert!(output.status.success(), "{verb:?}: {output}");
            assert_eq!(String::from_utf8_lossy(&output.stdout), printed, "{verb:?}");
            let is_silent = verb.contains(&"--quiet");
            assert_eq!(output.stderr.contains(&note), !is_silent, "{verb:?}: {output}");
            assert_no_cache(&program, verb);
        }
        assert_eq!(program.json(["df", "--json"])["blobs"]["files"], 0);
        program.ok(["df", "-v"]);
        // Other tests have mounts at the same time, so its lines are not compared.
        program.ok(["mounts"]);
        assert_no_cache(&program, &["df", "mounts"]);
    }
}

#[test]
fn images_of_a_missing_cache_are_not_found() {
    let registry = Registry::start();
    let reference = serve(&registry, &image("amd64"), "v1");
    for program in without_cache() {
        for verb in [
            &["ls", "demo", "--pull=never"][..],
            &["inspect", "demo", "--pull=never"],
            &["history", "demo", "--pull=never"],
            &["ls", "0123456789ab"],
            &["verify"],
            &["rm", "demo"],
            &["untag", "demo"],
            &["save", "demo"],
            &["df", "demo"],
            &["lease", "create", "demo"],
            &["lease", "release", "job"],
        ] {
            let message = program.fails(3, verb);
            assert!(message.contains(&format!("there is no cache in {}", program.cache().display())), "{message}");
            assert!(message.contains("--cache and VMROOT_CACHE"), "{verb:?}: {message}");
            assert_no_cache(&program, verb);
        }
        // These ask the registry, and need no cache.
        for verb in [
            &["inspect", &reference, "--arch=amd64"][..],
            &["config", &reference, "--arch=amd64"],
            &["digest", &reference],
            &["inspect", &format!("oci:{DEMO}"), "--arch=amd64"],
        ] {
            program.ok(verb);
            assert_no_cache(&program, verb);
        }
    }
}

/// An image that is pulled needs a cache.
#[test]
fn a_pull_creates_the_cache() {
    let registry = Registry::start();
    let reference = serve(&registry, &image("amd64"), "v1");
    let program = Program::new();
    let output = program.run(["ls", &reference, "--arch=amd64"]);
    assert!(output.status.success(), "{output}");
    assert!(!output.stderr.contains("no cache"), "{output}");
    program.ok(["ls", &reference, "--arch=amd64", "--pull=never"]);
}

/// Empty variables count as unset, as in other tools.
#[test]
fn empty_variables_are_unset() {
    let program = Program::new();
    for name in [
        "VMROOT_CACHE",
        "VMROOT_SHARED_CACHE",
        "VMROOT_MAX_CACHE_SIZE",
        "VMROOT_PROGRESS",
        "VMROOT_CREDS",
        "VMROOT_SERVE_DETACHED",
        "SOURCE_DATE_EPOCH",
    ] {
        for verb in ["images", "pull", "commit"] {
            let output = program.command([verb, "oci:/missing", "x"]).env(name, "").output().unwrap();
            assert_ne!(output.status.code(), Some(2), "{name} {verb}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    let output = program.command(["images"]).env("VMROOT_PROGRESS", "loud").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("(from VMROOT_PROGRESS)"));
    let default = program.path(".cache/vmroot");
    assert!(program.command(["load", DEMO, "--arch=amd64"]).env("VMROOT_CACHE", "").status().unwrap().success());
    assert!(default.join("blobs").is_dir());
}

/// A command that fails leaves no cache that it has made, and never removes a directory of the user.
#[test]
fn a_failed_command_leaves_no_new_cache() {
    let registry = Registry::start();
    let missing = format!("{}/test/none:v1", registry.host());
    for program in without_cache() {
        let existed = program.cache().exists();
        for verb in [&["ls", &missing][..], &["pull", &missing], &["load", "/missing"], &["export", &missing, "x.tar"]]
        {
            program.fails(3, verb);
            if !existed {
                assert!(!program.cache().exists(), "{verb:?}");
            }
        }
        assert_eq!(program.cache().exists(), existed);
    }
}
