//! `lease`: images whose files stay.

use std::thread;
use std::time::Duration;

use serde_json::json;
use vmroot_testkit::registry::Registry;

use crate::program::{Program, wait_until};
use crate::samples::{image, serve};

#[test]
fn a_lease_keeps_an_image_until_it_is_released() {
    let registry = Registry::start();
    let image = image("amd64");
    let reference = serve(&registry, &image, "v1");
    let program = Program::new();
    program.ok(["pull", &reference, "--arch=amd64"]);
    assert_eq!(program.ok(["lease", "create", "--id=job-7", &reference]), "job-7\n");
    let leases = program.json(["lease", "list", "--json"]);
    assert_eq!((&leases[0]["id"], &leases[0]["expires"]), (&json!("job-7"), &json!(null)), "{leases}");
    assert_eq!(leases[0]["images"][0]["reference"], json!(reference));
    assert!(program.ok(["lease", "ls"]).contains("never"));

    let message = program.fails(2, ["lease", "create", "--id=job-7", &reference]);
    assert!(message.contains("job-7"), "{message}");

    let message = program.fails(1, ["rm", &reference]);
    assert!(message.contains("the lease job-7"), "{message}");
    let collected = program.json(["gc", "--unused", "--json"]);
    assert_eq!(collected["images"], json!([]));
    assert_eq!(collected["kept"][0]["heldBy"][0]["id"], "job-7", "{collected}");
    program.ok(["rm", "--force", &reference]);
    let collected = program.json(["gc", "--json"]);
    assert_eq!((&collected["files"], &collected["heldBy"][0]["id"]), (&json!([]), &json!("job-7")));

    program.ok(["lease", "release", "job-7"]);
    program.fails(3, ["lease", "release", "job-7"]);
    assert_eq!(program.json(["lease", "list", "--json"]), json!([]));
    assert_ne!(program.json(["gc", "--json"])["files"], json!([]));
    assert_eq!(program.json(["df", "--json"])["blobs"]["files"], 0);
}

#[test]
fn a_lease_expires() {
    let registry = Registry::start();
    let reference = serve(&registry, &image("amd64"), "v1");
    let program = Program::new();
    program.ok(["pull", &reference, "--arch=amd64"]);
    let id = program.ok(["lease", "create", "--expire=1s", &reference]).trim().to_owned();
    assert!(program.cache().join(format!("leases/{id}.json")).exists());
    thread::sleep(Duration::from_millis(1100));
    wait_until("the end of the lease", || program.json(["lease", "list", "--json"]) == json!([]));
    assert_eq!(program.json(["gc", "--unused", "--json"])["images"][0]["reason"], "unused");
    assert!(!program.cache().join(format!("leases/{id}.json")).exists());
}

#[test]
fn ids_of_leases_are_checked() {
    let program = Program::new();
    program.ok(["images"]);
    for id in ["../x", "", "a/b", ".x"] {
        program.fails(2, ["lease", "release", id]);
    }
    program.fails(3, ["lease", "create", "--id=x", "missing:1"]);
    let registry = Registry::start();
    let reference = serve(&registry, &image("amd64"), "v1");
    program.ok(["pull", &reference, "--arch=amd64"]);
    let message = program.fails(2, ["lease", "create", "--id=../x", &reference]);
    assert!(message.contains("../x"), "{message}");
}
