//! `rm`, `gc`, `df` and `verify` on an undamaged cache.

use std::fs;
use std::process::Stdio;

use serde_json::json;
use vmroot_testkit::image::ImageBuilder;
use vmroot_testkit::registry::{Fault, Registry, Rule};

use crate::program::{Program, wait_for, wait_until};
use crate::samples::{base, image, noisy, serve, top};

#[test]
fn rm_by_name_and_by_id() {
    let registry = Registry::start();
    let image = image("amd64");
    let (first, second) = (serve(&registry, &image, "v1"), serve(&registry, &image, "v2"));
    let program = Program::new();
    let pull = || program.ok(["pull", &first, &second, "--arch=amd64"]);
    pull();
    assert_eq!(program.ok(["rm", &first]), format!("{first}\n"));
    assert_eq!(program.ok(["cat", &second, "etc/motd", "--pull=never"]), "amd64\n");
    program.fails(3, ["rm", &first]);
    pull();
    assert_eq!(program.ok(["rm", &image.config_digest.hex()[..12]]), format!("{first}\n{second}\n"));
    program.fails(3, ["cat", &second, "etc/motd", "--pull=never"]);
    assert_eq!(program.json(["images", "--json"]), json!([]));
}

#[test]
fn gc_removes_only_unneeded_files() {
    let registry = Registry::start();
    let kept = image("amd64");
    let removed = ImageBuilder::new().layers([&base(), &top("other")]).build();
    let (kept_name, removed_name) = (serve(&registry, &kept, "kept"), serve(&registry, &removed, "removed"));
    let program = Program::new();
    program.ok(["pull", &kept_name, "--arch=amd64"]);
    let before = program.json(["df", "--json"]);
    program.ok(["pull", &removed_name, "--arch=amd64"]);
    assert_eq!(program.json(["gc", "--json"])["files"], json!([]), "all files are needed");
    program.ok(["rm", &removed_name]);

    let would = program.json(["gc", "-n", "--json"]);
    // Manifest, config and a layer; index and contents; a root. The base layer is shared.
    assert_eq!(would["files"].as_array().unwrap().len(), 6, "{would}");
    assert_eq!(would["dryRun"], true);
    for file in would["files"].as_array().unwrap() {
        assert!(fs::exists(file.as_str().unwrap()).unwrap(), "{file} is still there");
    }
    let did = program.json(["gc", "--json"]);
    assert_eq!((&did["files"], &did["bytes"]), (&would["files"], &would["bytes"]));
    assert_eq!(program.json(["df", "--json"]), before);
    assert_eq!(program.json(["verify", "--json"])["findings"], json!([]));
    assert_eq!(program.ok(["cat", &kept_name, "etc/motd", "--pull=never"]), "amd64\n");

    program.ok(["rm", &kept_name]);
    assert!(program.ok(["gc"]).starts_with("freed "));
    let empty = program.json(["df", "--json"]);
    for area in ["blobs", "unfinished", "layers", "roots", "images"] {
        assert_eq!(empty[area]["files"], 0, "{empty}");
    }
}

#[test]
fn gc_runs_beside_a_pull() {
    let registry = Registry::start();
    let image = noisy(1, 100_000);
    let reference = serve(&registry, &image, "v1");
    registry.misbehave(Rule::on("/blobs/").fault(Fault::Slow(10_000, std::time::Duration::from_millis(40))));
    let program = Program::new();
    let mut pull = program.command(["pull", &reference, "--arch=amd64"]).stdout(Stdio::null()).spawn().unwrap();
    wait_until("the pull to begin", || registry.count(&image.layers[0].digest.to_string()) > 0);
    let collected = program.json(["gc", "--json"]);
    assert_eq!(collected["files"], json!([]));
    let holder = &collected["heldBy"][0];
    assert_eq!((&holder["pid"], &holder["purpose"]), (&json!(pull.id()), &json!("vmroot pull")), "{collected}");
    assert!(wait_for(&mut pull).success());
    assert_eq!(registry.count(&image.layers[0].digest.to_string()), 1);
    assert_eq!(program.json(["gc", "--json"])["files"], json!([]));
    assert_eq!(program.json(["verify", "--json"])["findings"], json!([]));
}

#[test]
fn files_of_killed_processes_are_removed() {
    let registry = Registry::start();
    let program = Program::new();
    program.ok(["pull", &serve(&registry, &image("amd64"), "v1"), "--arch=amd64"]);
    let partial = program.cache().join(format!("blobs/sha256/{}.partial", "0".repeat(64)));
    let temporary =
        ["blobs/sha256", "layers/v1", "roots/v1", "images"].map(|area| program.cache().join(area).join(".tmp-x"));
    // The file of a process that was killed.
    let of_user = program.cache().join("uses/1-0.use");
    for path in temporary.iter().chain([&partial, &of_user]) {
        fs::write(path, "half").unwrap();
    }
    assert_eq!(
        program.json(["df", "--json"])["unfinished"]["files"],
        1,
        "temporary files are removed when the cache is opened"
    );
    assert!(temporary.iter().chain([&of_user]).all(|path| !path.exists()));
    assert_eq!(program.json(["gc", "-n", "--json"])["files"], json!([partial]));
    assert!(partial.exists());
    assert_eq!(program.json(["gc", "--json"])["files"], json!([partial]));
    assert!(!partial.exists());
}

#[test]
fn verify_prints_counts() {
    let registry = Registry::start();
    let reference = serve(&registry, &image("amd64"), "v1");
    let program = Program::new();
    program.ok(["pull", &reference, "--arch=amd64"]);
    let found = program.json(["verify", "--json"]);
    let counts =
        ["blobs", "partials", "layers", "roots", "images", "metadata"].map(|name| found[name].as_u64().unwrap());
    assert_eq!((counts, &found["findings"]), ([4, 0, 2, 1, 1, 0], &json!([])));
    let states = ["damaged", "repaired", "quarantined", "lost"].map(|name| found[name].as_u64().unwrap());
    assert_eq!((states, &found["repair"]), ([0; 4], &json!(false)));
    assert!(found["bytes"].as_u64().unwrap() > 20_000, "{found}");
    assert_eq!(program.ok(["verify"]), "4 blobs, 2 layers, 1 root and 1 image checked, 0 damaged\n");
    assert!(program.ok(["df"]).contains("layers"));
}
