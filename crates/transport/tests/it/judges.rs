//! Other tools read what destinations write, and write the same.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use vmroot_model::Digest;
use vmroot_testkit::skip;

use crate::copying::{KINDS, Workplace, read_all};

/// Runs a program in the workplace. Fails the test if the program fails.
fn run(workplace: &Workplace, program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    let output = command.args(arguments).current_dir(workplace.directory()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
    output
}

fn skopeo(workplace: &Workplace, arguments: &[&str]) -> Output {
    run(workplace, "skopeo", &[&["--insecure-policy", "--override-arch", "arm64", "--tmpdir", "."], arguments].concat())
}

fn skopeo_copy(workplace: &Workplace, from: &str, to: &str) {
    skopeo(workplace, &["copy", "--quiet", "--all", from, to]);
}

/// Returns the files below a directory of the workplace, by their relative paths.
fn files(workplace: &Workplace, directory: &str) -> BTreeMap<String, Vec<u8>> {
    fn add(root: &Path, directory: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                add(root, &path, files);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let (root, mut files) = (workplace.path(directory), BTreeMap::new());
    add(&root, &root, &mut files);
    files
}

/// Returns the members of a tar in their order: name, mode, link target and content.
fn members(workplace: &Workplace, file: &str) -> Vec<(String, u32, Option<String>, Vec<u8>)> {
    let bytes = workplace.read(file);
    let mut archive = tar::Archive::new(&bytes[..]);
    let members = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let target = entry.link_name().unwrap().map(|target| target.to_str().unwrap().to_owned());
        (name, entry.header().mode().unwrap() & 0o7777, target, content)
    });
    members.collect()
}

/// Asserts that two sets of files are equal, except that the indexes of older versions of skopeo have no media type, and
/// their version files a space.
fn assert_equal_layouts(mut ours: BTreeMap<String, Vec<u8>>, mut theirs: BTreeMap<String, Vec<u8>>) {
    let index = |files: &mut BTreeMap<String, Vec<u8>>| {
        let mut index: Value = serde_json::from_slice(&files.remove("index.json").unwrap()).unwrap();
        index.as_object_mut().unwrap().remove("mediaType");
        index
    };
    let version = |files: &mut BTreeMap<String, Vec<u8>>| -> Value {
        serde_json::from_slice(&files.remove("oci-layout").unwrap()).unwrap()
    };
    assert_eq!(index(&mut ours), index(&mut theirs));
    assert_eq!(version(&mut ours), version(&mut theirs));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    assert!(ours == theirs);
}

#[test]
fn skopeo_writes_the_same_layouts_and_directories() {
    if skip::needs_program("skopeo") {
        return;
    }
    let workplace = Workplace::new();
    for kind in KINDS {
        let from = format!("oci:source:{kind}");
        workplace.copy(&from, &format!("oci:ours:{kind}"));
        skopeo_copy(&workplace, &from, &format!("oci:theirs:{kind}"));
        workplace.copy(&from, &format!("dir:our-{kind}"));
        skopeo_copy(&workplace, &from, &format!("dir:their-{kind}"));
        assert!(files(&workplace, &format!("our-{kind}")) == files(&workplace, &format!("their-{kind}")), "{kind}");
        workplace.copy(&from, &format!("oci-archive:our-{kind}.tar:a/b:c"));
        skopeo_copy(&workplace, &from, &format!("oci-archive:their-{kind}.tar:a/b:c"));
        let [ours, theirs] = ["our", "their"].map(|who| members(&workplace, &format!("{who}-{kind}.tar")));
        let names = |members: &[(String, u32, Option<String>, Vec<u8>)]| -> Vec<(String, u32)> {
            members.iter().map(|(name, mode, ..)| (name.clone(), *mode)).collect()
        };
        assert_eq!(names(&ours), names(&theirs));
        let contents = |members: Vec<(String, u32, Option<String>, Vec<u8>)>| {
            members.into_iter().filter(|it| !it.0.ends_with('/')).map(|it| (it.0, it.3)).collect()
        };
        assert_equal_layouts(contents(ours), contents(theirs));
    }
    assert_equal_layouts(files(&workplace, "ours"), files(&workplace, "theirs"));
    // A name that moves, an image without a name, and one that gets a name later.
    for (from, to) in [("list", ":image"), ("image", ""), ("artifact", ":list"), ("image", ":again")] {
        workplace.copy(&format!("oci:source:{from}"), &format!("oci:ours{to}"));
        skopeo_copy(&workplace, &format!("oci:source:{from}"), &format!("oci:theirs{to}"));
        assert_equal_layouts(files(&workplace, "ours"), files(&workplace, "theirs"));
    }
    // An older image is replaced.
    workplace.copy("oci:source:image", "dir:our-list");
    skopeo_copy(&workplace, "oci:source:image", "dir:their-list");
    assert!(files(&workplace, "our-list") == files(&workplace, "their-list"));
}

#[test]
fn skopeo_writes_the_same_docker_archive() {
    if skip::needs_program("skopeo") {
        return;
    }
    let workplace = Workplace::new();
    for name in ["", ":example.com/a/b:1", ":busybox"] {
        for file in ["ours.tar", "theirs.tar"] {
            let _ = fs::remove_file(workplace.path(file));
        }
        workplace.copy("dir:plain", &format!("docker-archive:ours.tar{name}"));
        skopeo_copy(&workplace, "dir:plain", &format!("docker-archive:theirs.tar{name}"));
        let [ours, theirs] = ["ours.tar", "theirs.tar"].map(|file| members(&workplace, file));
        let without_mode = |members: Vec<(String, u32, Option<String>, Vec<u8>)>| -> Vec<_> {
            members.into_iter().map(|(name, _, target, content)| (name, target, content)).collect()
        };
        assert!(without_mode(ours) == without_mode(theirs), "{name:?}");
    }
    // The manifest that is created for an archive is the same, too.
    let raw = skopeo(&workplace, &["inspect", "--raw", "docker-archive:ours.tar"]).stdout;
    assert_eq!(
        String::from_utf8(workplace.source("docker-archive:ours.tar").manifest(None).unwrap().bytes).unwrap(),
        String::from_utf8(raw).unwrap()
    );
    workplace.copy("docker-archive:theirs.tar", "dir:ours");
    skopeo_copy(&workplace, "docker-archive:ours.tar", "dir:theirs");
    assert!(files(&workplace, "ours") == files(&workplace, "theirs"));
    let tags = skopeo(&workplace, &["list-tags", "docker-archive:ours.tar"]).stdout;
    let tags: Value = serde_json::from_slice(&tags).unwrap();
    assert_eq!(tags["Tags"], serde_json::json!(["docker.io/library/busybox:latest"]));
}

#[test]
fn skopeo_reads_all_of_them() {
    if skip::needs_program("skopeo") {
        return;
    }
    let workplace = Workplace::new();
    for kind in KINDS {
        let from = format!("oci:source:{kind}");
        let original = workplace.source(&from).manifest(None).unwrap().bytes;
        for to in [format!("oci:layout:{kind}"), format!("oci-archive:{kind}.tar:{kind}"), format!("dir:dir-{kind}")] {
            workplace.copy(&from, &to);
            let raw = skopeo(&workplace, &["inspect", "--raw", &to]).stdout;
            assert_eq!(Digest::of(&raw), Digest::of(&original), "{to}");
            skopeo_copy(&workplace, &to, "dir:back");
            assert!(read_all(&*workplace.source("dir:back")) == read_all(&*workplace.source(&from)), "{to}");
        }
    }
    // Skopeo keeps our entries when it adds its own, and we keep its.
    skopeo_copy(&workplace, "oci:source:image", "oci:layout:theirs");
    workplace.copy("oci:source:list", "oci:layout:ours");
    for (name, kind) in [("image", "image"), ("list", "list"), ("theirs", "image"), ("ours", "list")] {
        let raw = skopeo(&workplace, &["inspect", "--raw", &format!("oci:layout:{name}")]).stdout;
        assert!(raw == workplace.source(&format!("oci:source:{kind}")).manifest(None).unwrap().bytes, "{name}");
    }
}

#[test]
fn umoci_reads_a_layout() {
    if skip::needs_program("umoci") {
        return;
    }
    let workplace = Workplace::new();
    workplace.copy("oci:source:image", "oci:layout:one");
    workplace.copy("oci:source:image", "oci:layout:two");
    let list = run(&workplace, "umoci", &["list", "--layout", "layout"]).stdout;
    assert_eq!(String::from_utf8(list).unwrap(), "one\ntwo\n");
    run(&workplace, "umoci", &["raw", "unpack", "--rootless", "--image", "layout:one", "root"]);
    assert_eq!(workplace.list("root").iter().filter(|name| name.starts_with("file-1-")).count(), 3);
    let blobs = workplace.list("layout/blobs/sha256");
    run(&workplace, "umoci", &["gc", "--layout", "layout"]);
    assert_eq!(workplace.list("layout/blobs/sha256"), blobs, "all blobs are in use");
}

#[test]
fn buildah_reads_layouts_and_archives() {
    if skip::needs_program("buildah") {
        return;
    }
    let workplace = Workplace::new();
    let policy = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
    fs::write(workplace.path("policy.json"), policy).unwrap();
    let root = workplace.path("storage").to_str().unwrap().to_owned();
    let run_root = workplace.path("run").to_str().unwrap().to_owned();
    workplace.copy("oci:source:image", "oci:layout:one");
    workplace.copy("oci:source:image", "oci-archive:oci.tar:one");
    workplace.copy("dir:plain", "docker-archive:docker.tar:example.com/plain:1");
    for name in ["oci:layout:one", "oci-archive:oci.tar:one", "docker-archive:docker.tar"] {
        let store = ["--root", &root, "--runroot", &run_root, "--storage-driver", "vfs"];
        let pull = ["pull", "--quiet", "--signature-policy", "policy.json", "--arch", "arm64", name];
        let id = String::from_utf8(run(&workplace, "buildah", &[&store[..], &pull[..]].concat()).stdout).unwrap();
        let source = workplace.source(name);
        let config = &read_all(&*source)[1];
        assert_eq!(id.trim(), Digest::of(config).hex(), "{name}");
    }
}

#[test]
fn tar_programs_read_the_archives_without_a_complaint() {
    let workplace = Workplace::new();
    workplace.copy("oci:source:list", "oci-archive:oci.tar:one");
    workplace.copy("dir:plain", "docker-archive:docker.tar:a:1");
    for program in ["tar", "bsdtar"] {
        if skip::needs_program(program) {
            continue;
        }
        for file in ["oci.tar", "docker.tar"] {
            let output = run(&workplace, program, &["-tvf", file]);
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{program} {file}");
            let lines = String::from_utf8_lossy(&output.stdout).lines().count();
            assert_eq!(lines, members(&workplace, file).len(), "{program} {file}");
            let directory = format!("{program}-{file}");
            fs::create_dir(workplace.path(&directory)).unwrap();
            run(&workplace, program, &["-xf", file, "-C", &directory]);
        }
        // The unpacked archives are a layout and the parts of an image.
        let layout = format!("oci:{program}-oci.tar:one");
        assert!(read_all(&*workplace.source(&layout)) == read_all(&*workplace.source("oci:source:list")));
        for link in workplace.list(&format!("{program}-docker.tar")) {
            let layer = format!("{program}-docker.tar/{link}/layer.tar");
            if !link.contains('.') && link != "repositories" {
                assert_eq!(&workplace.read(&layer)[..5], b"file-", "{layer}");
            }
        }
    }
}
