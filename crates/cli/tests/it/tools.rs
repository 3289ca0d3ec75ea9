//! Images that skopeo, umoci and buildah write, and a root that umoci unpacks.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use vmroot_testkit::listing::Listing;
use vmroot_testkit::sample::noise;
use vmroot_testkit::skip;

use crate::program::Program;

/// Runs another program that must succeed, and returns its output.
fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split_whitespace()
}

/// Writes the files of the first layer into a root.
fn fill(root: &Path) {
    for directory in ["etc", "usr/bin", "var/cache/old"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
    fs::write(root.join("usr/bin/tool"), noise(1, 300_000)).unwrap();
    fs::set_permissions(root.join("usr/bin/tool"), Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(root.join("usr/bin/tool"), root.join("usr/bin/alias")).unwrap();
    fs::write(root.join("var/cache/old/file"), "deleted later").unwrap();
    symlink("usr/bin", root.join("bin")).unwrap();
    chown(root.join("etc/passwd"), Some(1000), Some(70_000)).unwrap();
}

/// Changes a root for the second layer.
fn change(root: &Path) {
    fs::remove_dir_all(root.join("var/cache/old")).unwrap();
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nnew:x:1:1::/:/bin/sh\n").unwrap();
    fs::write(root.join("etc/added"), noise(2, 10_000)).unwrap();
    fs::remove_file(root.join("bin")).unwrap();
    fs::create_dir(root.join("bin")).unwrap();
}

/// Creates an OCI layout with umoci: an image of two layers with the tag `v1`.
fn umoci_layout(program: &Program) -> String {
    let layout = program.path("layout").display().to_string();
    let image = format!("{layout}:v1");
    run("umoci", words(&format!("init --layout {layout}")));
    run("umoci", words(&format!("new --image {image}")));
    run("umoci", words(&format!("config --image {image} --architecture amd64 --os linux --config.user 1000")));
    for (number, edit) in [fill, change].into_iter().enumerate() {
        let bundle = program.path(&format!("bundle-{number}"));
        run("umoci", words(&format!("unpack --image {image} {}", bundle.display())));
        edit(&bundle.join("rootfs"));
        run("umoci", words(&format!("repack --image {image} {}", bundle.display())));
    }
    layout
}

/// Returns the tar of a root, which is equal for equal roots.
fn tar_of(program: &Program, image: &str) -> Vec<u8> {
    let answer = program.run(["export", image, "-", "--format=tar", "--arch=amd64"]);
    assert!(answer.status.success(), "{answer}");
    answer.stdout
}

#[test]
fn root_matches_the_one_that_umoci_unpacks() {
    if skip::needs_root() || skip::needs_program("umoci") {
        return;
    }
    let program = Program::new();
    let layout = umoci_layout(&program);
    let unpacked = program.path("unpacked");
    run("umoci", words(&format!("unpack --image {layout}:v1 {}", unpacked.display())));
    let exported = program.path("exported");
    let arguments = ["export", &format!("oci:{layout}:v1"), exported.to_str().unwrap(), "--format=dir", "--arch=amd64"];
    program.ok(arguments);
    let listing = |directory: &Path| Listing::of_directory(directory).unwrap();
    listing(&unpacked.join("rootfs")).assert_same(&listing(&exported));
}

#[test]
fn images_in_every_form_of_skopeo_are_the_same() {
    if skip::needs_root() || skip::needs_program("umoci") || skip::needs_program("skopeo") {
        return;
    }
    let program = Program::new();
    let layout = umoci_layout(&program);
    let source = format!("oci:{layout}:v1");
    let expected = tar_of(&program, &source);
    let path = |name: &str| program.path(name).display().to_string();
    let forms = [
        ("docker-archive", format!("docker-archive:{}:skopeo/image:v1", path("docker.tar")), ""),
        ("oci-archive", format!("oci-archive:{}:v1", path("oci.tar")), ""),
        ("oci", format!("oci:{}:v1", path("oci")), ""),
        ("oci zstd", format!("oci:{}:v1", path("zstd")), "--dest-compress-format zstd"),
        ("dir", format!("dir:{}", path("dir")), ""),
        ("docker schema 2", format!("dir:{}", path("schema2")), "--format v2s2"),
        ("plain layers", format!("dir:{}", path("plain")), "--dest-decompress"),
    ];
    for (what, form, options) in forms {
        run("skopeo", words(&format!("--insecure-policy copy -q {options} {source} {form}")));
        // In an empty cache of its own.
        let fresh = Program::new();
        assert!(tar_of(&fresh, &form) == expected, "{what}");
        let id = fresh.ok(["pull", &form, "--arch=amd64"]);
        assert_eq!(fresh.json(["images", "--json"])[0]["id"], id.trim(), "{what}");
        let checked = fresh.ok(["verify"]);
        assert!(checked.ends_with(" 0 damaged\n"), "{what}: {checked}");
    }
    for archive in ["docker.tar", "oci.tar", "oci"] {
        let fresh = Program::new();
        let id = fresh.ok(["load", &path(archive), "--arch=amd64"]);
        assert!(tar_of(&fresh, id.trim()) == expected, "{archive}");
    }
}

#[test]
fn images_of_buildah() {
    if skip::needs_root() || skip::needs_program("buildah") {
        return;
    }
    let program = Program::new();
    let source = program.path("source");
    fs::create_dir(&source).unwrap();
    fill(&source);
    let storage = format!(
        "--root {} --runroot {} --storage-driver vfs",
        program.path("storage").display(),
        program.path("run").display()
    );
    let buildah = |line: &str| run("buildah", words(&format!("{storage} {line}"))).trim().to_owned();
    let container = buildah("from scratch");
    buildah(&format!("copy -q {container} {} /", source.display()));
    buildah(&format!("config --arch amd64 --os linux --entrypoint [\"/usr/bin/tool\"] --env A=b {container}"));
    let layout = program.path("layout").display().to_string();
    let policy = program.file("policy.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#);
    for (what, format) in [("oci", "oci"), ("docker", "docker")] {
        let out = format!("oci-archive:{layout}-{what}.tar:v1");
        buildah(&format!("commit -q --format {format} --signature-policy {} {container} {out}", policy.display()));
        let config = program.json(["config", &out, "--arch=amd64"]);
        assert_eq!(config["entrypoint"], serde_json::json!(["/usr/bin/tool"]), "{what}");
        let exported = program.path(what);
        program.ok(["export", &out, exported.to_str().unwrap(), "--format=dir", "--arch=amd64"]);
        assert_eq!(fs::read(exported.join("usr/bin/alias")).unwrap(), noise(1, 300_000), "{what}");
        assert_eq!(fs::read_link(exported.join("bin")).unwrap(), Path::new("usr/bin"), "{what}");
    }
    buildah(&format!("rm {container}"));
}

#[test]
fn demo_image_copied_by_skopeo() {
    if skip::needs_program("skopeo") {
        return;
    }
    let program = Program::new();
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/demo");
    let index = fs::read_to_string(Path::new(demo).join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let name = index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"].as_str();
    let source = name.map_or_else(|| format!("oci:{demo}"), |name| format!("oci:{demo}:{name}"));
    for architecture in ["amd64", "arm64"] {
        let archive = format!("oci-archive:{}:demo", program.path(architecture).display());
        let override_arch = format!("--override-arch {architecture} --insecure-policy copy -q {source} {archive}");
        run("skopeo", words(&override_arch));
        let architecture_flag = format!("--arch={architecture}");
        let tar = |image: &str| {
            let answer = program.run(["export", image, "-", "--format=tar", &architecture_flag]);
            assert!(answer.status.success(), "{answer}");
            answer.stdout
        };
        assert!(tar(&source) == tar(&archive), "{architecture}");
    }
}
