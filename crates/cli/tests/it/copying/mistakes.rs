//! Mistakes in calls of `copy`: the message names the cause and the remedy.

use std::fs;

use crate::program::Program;

/// The demo image, a list of two architectures.
const DEMO: &str = concat!("oci:", env!("CARGO_MANIFEST_DIR"), "/../../testdata/demo:demo");

#[test]
fn mistakes_are_explained() {
    let program = Program::new();
    let path = |name: &str| program.path(name).display().to_string();
    let file = program.file("file", "no image").display().to_string();
    fs::create_dir(program.path("full")).unwrap();
    fs::write(program.path("full/file"), "").unwrap();
    let two = format!("oci:{}", path("two"));
    program.ok(["copy", "--quiet", DEMO, &format!("{two}:first")]);
    program.ok(["copy", "--quiet", "--all", DEMO, &format!("{two}:second")]);
    let new = format!("dir:{}", path("new"));
    let cases: [(i32, &[&str], &[&str]); 22] = [
        (2, &["alpine", &new], &["\"alpine\"", "it has no TRANSPORT:", "docker://alpine", "vmroot:alpine"]),
        (2, &[DEMO, &path("x")], &["it has no TRANSPORT:"]),
        (2, &[DEMO], &["<DESTINATION>"]),
        (2, &[DEMO, "docker://Upper/Case"], &["must be lowercase"]),
        (2, &[DEMO, "dir:"], &["the path is empty"]),
        (2, &[DEMO, "tarball:x"], &["read-only"]),
        (2, &["--dest-compress-format=gzip", "--dest-compress-level=30", DEMO, &new], &["no level 30", "1 to 9"]),
        (2, &["--dest-compress-format=lz4", DEMO, &new], &["lz4", "gzip, zstd"]),
        (2, &["--dest-creds=:x", DEMO, &new], &["--dest-creds: the user is empty"]),
        (2, &["--dest-password=x", DEMO, &new], &["--dest-password requires --dest-username"]),
        (2, &["--dest-no-creds", "--dest-creds=a:b", DEMO, &new], &["only one of --dest-creds"]),
        (2, &["--all", "--platform=linux/amd64", DEMO, &new], &["--all", "--platform"]),
        (3, &["--platform=linux/mips", DEMO, &new], &["amd64, arm64", "mips"]),
        (3, &["oci:/nonexistent:x", &new], &["/nonexistent"]),
        (3, &[&format!("{two}:third"), &new], &["no image third in", "first", "second"]),
        (3, &["--src-authfile=/nonexistent", DEMO, &new], &["--src-authfile /nonexistent", "No such file"]),
        (1, &[&two, &new], &["more than one image", "first", "second"]),
        (1, &[DEMO, &format!("dir:{file}")], &[&file, "it is not a directory"]),
        (1, &[DEMO, &format!("oci:{file}:x")], &[&file, "it is not a directory"]),
        (1, &[DEMO, &format!("docker-archive:{file}")], &[&file, "remove what is there"]),
        (1, &[DEMO, &format!("dir:{}", path("full"))], &["full", "it has files"]),
        (1, &["--all", DEMO, &format!("docker-archive:{}", path("archive"))], &["with --platform"]),
    ];
    for (code, arguments, parts) in cases {
        let text = program.fails(code, ["copy"].iter().chain(arguments));
        for part in parts {
            assert!(text.contains(part), "{arguments:?}: {text}");
        }
        assert!(!program.path("new").exists(), "{arguments:?}");
    }
}

#[test]
fn a_destination_is_named_once() {
    let program = Program::new();
    let archive = format!("docker-archive:{}", program.path("archive").display());
    let text = program.fails(1, ["copy", "--format=oci", DEMO, &archive]);
    assert_eq!(text.matches(&archive).count(), 1, "{text}");
    assert!(text.contains("leave out --format"), "{text}");
}

#[test]
fn an_unreachable_registry_is_named() {
    let program = Program::new();
    let text = program.fails(1, ["copy", "--retry-times=0", DEMO, "docker://127.0.0.1:1/image:v1"]);
    assert!(text.contains("127.0.0.1:1") && text.contains("the connection was refused"), "{text}");
}

#[test]
fn a_malformed_file_about_a_store_prevents_no_other_work() {
    let program = Program::new();
    let file = program.file("storage.conf", "[storage");
    let run = |arguments: &[&str]| {
        program.command(arguments).env("CONTAINERS_STORAGE_CONF", &file).output().expect("the program starts")
    };
    let new = format!("dir:{}", program.path("new").display());
    for arguments in [&["images"][..], &["copy", "--quiet", DEMO, &new], &["inspect", DEMO]] {
        let output = run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let output = run(&["inspect", "containers-storage:alpine"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("storage.conf in "), "{text}");
}

#[test]
fn losses_are_notes_and_in_the_report() {
    let program = Program::new();
    let signed = format!("dir:{}", program.path("signed").display());
    program.ok(["copy", "--quiet", "--arch=amd64", DEMO, &signed]);
    let other = format!("dir:{}", program.path("other").display());
    let output = program.run(["copy", "--json", "--format=v2s2", &signed, &other]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let loss = "zstd layers become gzip layers";
    assert!(output.stderr.contains(loss), "{}", output.stderr);
    assert!(report["notes"].to_string().contains(loss), "{report}");
    // Files whose names are not those of signatures are left out. Signatures are carried without a look at their contents.
    for name in ["signature-1", "signature-2", "not-a-signature-1", "signature-x"] {
        program.file(&format!("signed/{name}"), "x");
    }
    program.ok(["copy", "--quiet", &signed, &other]);
    let exists = |name: &str| program.path("other").join(name).exists();
    assert!(exists("signature-1") && exists("signature-2") && !exists("not-a-signature-1") && !exists("signature-x"));
    program.ok(["copy", "--quiet", "--remove-signatures", &signed, &format!("dir:{}", program.path("bare").display())]);
    assert!(!program.path("bare").join("signature-1").exists());
}
