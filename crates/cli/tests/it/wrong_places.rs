//! Names, files and options in the wrong place: the message says what is wrong, and the hint helps.

use std::fs;

use vmroot_testkit::image::oci_layout::{self, Item};
use vmroot_testkit::registry::Registry;

use crate::program::{Program, wait_for};
use crate::samples::{image, index, serve};

const DEMO: &str = concat!("oci:", env!("CARGO_MANIFEST_DIR"), "/../../testdata/demo:demo");
const LAYOUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/demo");

fn with_demo() -> Program {
    let program = Program::new();
    program.ok(["pull", "--arch", "amd64", DEMO]);
    program
}

/// Runs a command in the directory of the program.
fn run_there(program: &Program, arguments: &[&str]) -> (Option<i32>, String) {
    let output = program.command(arguments).current_dir(program.path(".")).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_malformed_name_is_invalid_usage_in_save() {
    let program = with_demo();
    for name in ["demo:a:b", "/tmp/x.tar", "Demo"] {
        program.fails(2, ["save", name]);
    }
    program.fails(3, ["save", "demo", "nope"]);
}

#[test]
fn a_missing_upper_directory_is_not_found() {
    let program = with_demo();
    let message = program.fails(3, ["commit", "--arch", "amd64", "demo", "--from-upper", "nope"]);
    assert_eq!(message.matches("nope").count(), 1, "{message}");
    program.fails(1, ["commit", "--arch", "amd64", "demo", "--from-upper", "/etc/passwd"]);
}

#[test]
fn the_mountpoint_is_the_fault_if_the_image_is_here() {
    let program = with_demo();
    fs::create_dir(program.path("demo")).unwrap();
    let mount = |more: &[&str]| run_there(&program, &[&["mount", "--arch", "amd64"], more].concat());
    let (code, message) = mount(&["demo", "nonexist"]);
    assert_eq!(code, Some(3), "{message}");
    assert!(message.contains("nonexist: No such file") && message.contains("--mkdir creates"), "{message}");
    fs::create_dir(program.path("mn")).unwrap();
    for arguments in [&["mn", "demo:latest"], &["mn", "alpine:3.20"], &["mn", DEMO]] {
        let (code, message) = mount(&arguments[..]);
        assert_eq!(code, Some(2), "{arguments:?}: {message}");
        assert!(message.contains("mn is a directory"), "{message}");
    }
}

#[test]
fn only_a_missing_mountpoint_gets_the_hint_to_create_it() {
    let program = with_demo();
    fs::create_dir(program.path("mn")).unwrap();
    for arguments in [
        &["demo", "mn", "--add", "nope:/x"][..],
        &["demo", "mn", "--layer", "nope"],
        &["demo", "mn", "--init=nope"],
        &["oci:nope", "mn"],
    ] {
        let (code, message) = run_there(&program, &[&["mount", "--arch", "amd64"], arguments].concat());
        assert_eq!(code, Some(3), "{arguments:?}: {message}");
        assert!(message.contains("nope") && !message.contains("--mkdir"), "{arguments:?}: {message}");
    }
}

#[test]
fn load_has_hints_of_its_own() {
    let program = Program::new();
    let image = image("amd64");
    let directory = program.path("layout");
    fs::create_dir(&directory).unwrap();
    oci_layout::write(&directory, &[(Item::Image(&image), Some("demo:v1"))]).unwrap();
    let layout = directory.to_str().unwrap();
    let message = program.fails(3, ["load", layout, "--image", "nope"]);
    assert!(message.contains("--image NAME") && !message.contains("append"), "{message}");
    for arguments in [["load", layout, "--arch", "riscv64"], ["load", LAYOUT, "--arch", "riscv64"]] {
        let message = program.fails(3, arguments);
        assert!(message.contains("--platform linux/amd64 takes"), "{message}");
        assert!(!message.contains("vmroot pull"), "{message}");
    }
    program.ok(["load", LAYOUT, "--arch", "amd64"]);
    for verb in ["rm", "untag", "df"] {
        let message = program.fails(3, [verb, "--arch", "s390x", "demo"]);
        assert!(!message.contains("vmroot pull"), "{verb}: {message}");
    }
}

#[test]
fn load_prints_each_id() {
    let program = Program::new();
    let index = index();
    let directory = program.path("layout");
    fs::create_dir(&directory).unwrap();
    oci_layout::write(&directory, &[(Item::Index(&index), Some("v1"))]).unwrap();
    let ids = program.ok(["load", directory.to_str().unwrap(), "--all-platforms", "-q"]);
    let mut ids: Vec<&str> = ids.lines().collect();
    ids.sort_unstable();
    let mut expected: Vec<String> = index.images.iter().map(|image| image.config_digest.to_string()).collect();
    expected.sort_unstable();
    assert_eq!(ids, expected);
}

#[test]
fn images_without_names_are_noted_only_if_none_is_for_this_machine() {
    let host = if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
    let (own, other) = (image(host), image("s390x"));
    let load = |items: &[(Item<'_>, Option<&str>)]| {
        let program = Program::new();
        let directory = program.path("layout");
        fs::create_dir(&directory).unwrap();
        oci_layout::write(&directory, items).unwrap();
        let result = program.run(["load".as_ref(), directory.as_os_str()]);
        let stderr = result.stderr.clone();
        result.ok();
        stderr.contains("this machine's platform")
    };
    assert!(!load(&[(Item::Image(&own), None), (Item::Image(&other), None)]));
    assert!(load(&[(Item::Image(&other), None)]));
}

#[test]
fn names_of_the_cache_have_a_transport_or_none() {
    let program = with_demo();
    for (number, name) in [DEMO, "vmroot:demo", "docker://docker.io/library/demo"].into_iter().enumerate() {
        let archive = program.path(&format!("{number}.tar"));
        program.ok(["save", name, "-o", archive.to_str().unwrap()]);
        program.ok(["tag", "--arch", "amd64", "vmroot:demo", &format!("saved:{number}")]);
        assert!(fs::metadata(archive).unwrap().len() > 0);
    }
    program.ok(["tag", "--arch", "amd64", DEMO, "demo:more"]);
    program.ok(["untag", "docker://docker.io/library/demo:more", "vmroot:saved:0", "saved:1"]);
    let message = program.fails(2, ["untag", "oci:demo"]);
    assert!(message.contains("names of images in the cache"), "{message}");
    let message = program.fails(3, ["untag", "docker://demo:more"]);
    assert!(message.contains("no such image"), "{message}");
}

#[test]
fn a_prebaked_directory_is_no_image() {
    let program = with_demo();
    let directory = program.path("prebaked");
    program.ok(["export", "--arch", "amd64", "demo", directory.to_str().unwrap(), "--format", "prebaked"]);
    let name = format!("prebaked:{}", directory.display());
    for arguments in [
        &["pull", &name][..],
        &["inspect", &name],
        &["history", &name],
        &["why", &name, "/etc"],
        &["commit", &name, "--change", "ENV A=1"],
        &["save", &name],
        &["config", "--raw", &name],
    ] {
        let message = program.fails(2, arguments);
        assert!(message.contains("prebaked directory") && !message.contains("port number"), "{arguments:?}: {message}");
    }
    let config = program.json(["config", &name]);
    assert_eq!(config["layers"], program.json(["config", "--arch", "amd64", "demo"])["layers"]);
}

#[test]
fn a_store_without_the_image_is_not_damaged() {
    let program = Program::new();
    let store = program.path("store");
    fs::create_dir(&store).unwrap();
    let name = format!("containers-storage:[overlay@{0}+{0}]nope:1", store.display());
    let message = program.fails(3, ["pull", &name]);
    assert!(message.contains("podman images") && !message.contains("append"), "{message}");
}

#[test]
fn notes_of_tag_name_a_repository() {
    let program = with_demo();
    let id = program.ok(["images", "-q", "--no-trunc"]).trim().to_owned();
    for (source, repository) in [("demo", Some("demo")), (&id[7..19], None), (DEMO, None)] {
        let result = program.run(["tag", "--arch", "amd64", source, "other"]);
        match repository {
            Some(repository) => assert!(result.stderr.contains(&format!("{repository}:other")), "{result}"),
            None => assert!(!result.stderr.contains("A tag of"), "{result}"),
        }
        result.ok();
    }
    let registry = Registry::start();
    let message = program.fails(3, ["tag", &format!("{}/nope:1", registry.host()), "x"]);
    assert!(message.contains("is not in the cache"), "{message}");
}

#[test]
fn a_registry_is_no_repository() {
    let program = Program::new();
    for arguments in [
        &["tags", "localhost:5871"][..],
        &["registries", "explain", "localhost:5871"],
        &["sync", "--src", "docker", "--dest", "dir", "localhost:5871", "d"],
    ] {
        let message = program.fails(2, arguments);
        assert!(message.contains("`vmroot repos localhost:5871`"), "{arguments:?}: {message}");
    }
    // A port has digits only.
    let message = program.fails(2, ["tags", "demo.test:v1"]);
    assert!(message.contains("expected a repository"), "{message}");
}

#[test]
fn sync_accepts_the_transport_of_registries() {
    let program = Program::new();
    let registry = Registry::start();
    let name = serve(&registry, &image("amd64"), "v1");
    let directory = program.path("mirror");
    let source = format!("docker://{name}");
    program.ok(["sync", "--arch=amd64", "--src=docker", "--dest=dir", &source, directory.to_str().unwrap()]);
    assert!(directory.join("image:v1/manifest.json").exists());
}

#[test]
fn export_from_upper_lacks_its_output() {
    let message = Program::new().fails(2, ["export", "--from-upper", "upper"]);
    assert!(message.contains("<OUT> is missing"), "{message}");
    let message = Program::new().fails(2, ["export"]);
    assert!(message.contains("<IMAGE>"), "{message}");
}

#[test]
fn a_script_tells_errors_from_differences() {
    let program = with_demo();
    program.ok(["commit", "--arch", "amd64", "demo", "--from-upper", LAYOUT, "-t", "demo:more"]);
    let diff = |more: &[&str]| program.run([&["diff", "--arch", "amd64", "--exit-code"], more].concat());
    let different = diff(&["--quiet", "demo", "demo:more"]);
    assert_eq!((different.status.code(), different.stdout.len()), (Some(1), 0), "{different}");
    assert!(!diff(&["demo", "demo:more"]).stdout.is_empty());
    assert_eq!(diff(&["demo", "demo"]).status.code(), Some(0));
    // The registry cannot be reached.
    let unreachable = diff(&["demo", "127.0.0.1:1/x:1", "--retries=0"]);
    assert_eq!(unreachable.status.code(), Some(2), "{unreachable}");
    let error: serde_json::Value =
        serde_json::from_str(&diff(&["--json", "demo", "127.0.0.1:1/x:1", "--retries=0"]).stderr).unwrap();
    assert_eq!(error["exitCode"], 2);
}

#[test]
fn quiet_lists_have_ids_only() {
    let program = with_demo();
    assert_eq!(
        program.ok(["history", "-q", "--arch", "amd64", "demo"]),
        program.ok(["history", "--ids", "--arch", "amd64", "demo"])
    );
    let lease = program.ok(["lease", "create", "--arch", "amd64", "demo"]);
    assert_eq!(program.ok(["lease", "list", "-q"]), lease);
}

#[test]
fn an_archive_with_the_name_of_a_compressed_one_is_noted() {
    let program = with_demo();
    for (name, noted) in [("x.tar.gz", true), ("x.tar", false)] {
        let result = program.run(["save", "demo", "-o", program.path(name).to_str().unwrap()]);
        assert_eq!(result.stderr.contains("is a plain tar"), noted, "{result}");
        result.ok();
    }
}

#[test]
fn a_pull_for_several_platforms_prints_their_ids() {
    let program = Program::new();
    let ids = program.ok(["pull", "--platform=linux/amd64", "--platform=linux/arm64", DEMO]);
    assert_eq!(ids.lines().count(), 2, "{ids}");
    let images = program.json(["images", "--json"]);
    assert_eq!(images.as_array().unwrap().len(), 2, "{images}");
    let pulled = program.json(["pull", "--json", "--platform=linux/amd64", "--platform=linux/arm64", DEMO]);
    assert_eq!((&pulled[0]["platform"], &pulled[1]["platform"]), (&"linux/amd64".into(), &"linux/arm64".into()));
}

#[test]
fn a_timeout_of_work_that_waits_has_its_exit_code() {
    let program = with_demo();
    let socket = program.path("socket");
    let arguments = ["--command-timeout=2s", "virtiofs", "--arch=amd64", "demo", "--socket", socket.to_str().unwrap()];
    let mut child = program.start(arguments);
    assert_eq!(wait_for(&mut child).code(), Some(124));
}
