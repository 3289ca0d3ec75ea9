//! `diff`.

use std::collections::BTreeSet;

use vmroot_testkit::dockerd::Dockerd;
use vmroot_testkit::image::docker_archive::{self, Layout};
use vmroot_testkit::image::oci_layout::{self, Item};
use vmroot_testkit::image::{Image, ImageBuilder};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::skip;

use crate::program::Program;

fn lower() -> Layer {
    Layer::new([
        Entry::directory("etc"),
        Entry::file("etc/motd", "old").mtime(1, 0),
        Entry::file("etc/kept", "kept").mtime(1, 0),
        Entry::directory("opt"),
        Entry::file("opt/tool", "tool"),
        Entry::symlink("link", "opt"),
        Entry::file(b"odd \xff\n\tname", "odd"),
    ])
}

fn upper() -> [Layer; 2] {
    [
        Layer::new([
            Entry::file("etc/motd", "new").mode(0o600),
            Entry::file("etc/kept", "kept").mtime(2, 0),
            Entry::file("etc/added", "added").mtime(2, 0),
        ]),
        Layer::new([Entry::whiteout("opt"), Entry::symlink("link", "etc"), Entry::file(b"odd \xff\n\tname", "odder")]),
    ]
}

fn images() -> (Image, Image) {
    let old = ImageBuilder::new().layer(&lower()).build();
    let new = ImageBuilder::new().layer(&lower()).layers(&upper()).build();
    (old, new)
}

/// Returns a program and the names of two images in a layout.
fn program() -> (Program, String, String) {
    let program = Program::new();
    let (old, new) = images();
    let layout = program.path("layout");
    std::fs::create_dir(&layout).unwrap();
    oci_layout::write(&layout, &[(Item::Image(&old), Some("old")), (Item::Image(&new), Some("new"))]).unwrap();
    let name = |tag: &str| format!("oci:{}:{tag}", layout.display());
    (program, name("old"), name("new"))
}

#[test]
fn lines_have_a_letter_the_path_and_the_attributes() {
    let (program, old, new) = program();
    let diff = |more: &[&str]| program.run(["diff", "--arch=amd64", &old, &new].iter().chain(more));
    let expected: &[u8] = b"A /etc/added\nC /etc/motd (content, mode)\nC /link (target)\n\
        C /odd \xff\n\tname (content)\nD /opt\nD /opt/tool\n";
    let answer = diff(&[]);
    assert_eq!((answer.stdout.as_slice(), answer.status.code()), (expected, Some(0)), "{answer}");
    assert_eq!(diff(&["--exit-code"]).status.code(), Some(1));
    let times = diff(&["--times"]).stdout;
    assert!(times.starts_with(b"A /etc/added\nC /etc/kept (mtime)\nC /etc/motd (content, mode, mtime)\n"));
    assert_eq!(program.ok(["diff", "--exit-code", "--arch=amd64", &new, &new]), "");
    let reverse = program.run(["diff", "--arch=amd64", &new, &old]).stdout;
    assert!(reverse.starts_with(b"D /etc/added\n") && reverse.ends_with(b"A /opt\nA /opt/tool\n"));
}

#[test]
fn layers_are_those_of_the_new_image() {
    let (program, old, new) = program();
    let (_, image) = images();
    let lines = program.run(["diff", "--layers", "--arch=amd64", &old, &new]).stdout;
    let lines = String::from_utf8_lossy(&lines).into_owned();
    let layer =
        |number: usize| format!("[layer {} of {} {}]", number + 1, image.layers.len(), image.layers[number].digest);
    assert!(lines.contains(&format!("A /etc/added {}\n", layer(1))), "{lines}");
    assert!(lines.contains(&format!("C /etc/motd (content, mode) {}\n", layer(1))), "{lines}");
    assert!(lines.contains(&format!("D /opt/tool {}\n", layer(2))), "{lines}");
    let json = program.json(["diff", "--json", "--per-layer", "--arch=amd64", &old, &new]);
    let opt = json.as_array().unwrap().iter().find(|change| change["path"] == "/opt").unwrap();
    assert_eq!((&opt["change"], &opt["layer"]["layer"]), (&"removed".into(), &2.into()));
    assert_eq!(opt["layer"]["diffId"], image.layers[2].diff_id.to_string());
    // The layers of the old image never had these paths, so none of them removed it.
    let json = program.json(["diff", "--json", "--layers", "--arch=amd64", &new, &old]);
    let added = json.as_array().unwrap().iter().find(|change| change["path"] == "/etc/added").unwrap();
    assert_eq!((&added["change"], &added["layer"]), (&"removed".into(), &serde_json::Value::Null));
}

#[test]
fn json_has_both_sides() {
    let (program, old, new) = program();
    let json = program.json(["diff", "--json", "--arch=amd64", &old, &new]);
    let changes = json.as_array().unwrap();
    assert_eq!(changes.len(), 6);
    let motd = changes.iter().find(|change| change["path"] == "/etc/motd").unwrap();
    assert_eq!(motd["change"], "changed");
    assert_eq!(motd["fields"], serde_json::json!(["content", "mode"]));
    assert_eq!((&motd["old"]["mode"], &motd["new"]["mode"]), (&"0644".into(), &"0600".into()));
    assert!(motd.get("layer").is_none());
    let added = &changes[0];
    assert_eq!((&added["old"], &added["new"]["size"]), (&serde_json::Value::Null, &5.into()));
    assert!(changes.iter().any(|change| change["path"] == r"/odd \xff\n\tname"), "{json}");
    assert_eq!(program.json(["diff", "--json", "--arch=amd64", &old, &old]), serde_json::json!([]));
}

#[test]
fn prebaked_directories_are_compared() {
    let (program, old, new) = program();
    let prebaked = format!("prebaked:{}", program.path("prebaked").display());
    program.ok(["export", "--arch=amd64", "--format=prebaked", &new, program.path("prebaked").to_str().unwrap()]);
    assert_eq!(program.ok(["diff", "--arch=amd64", &prebaked, &new]), "");
    assert!(program.run(["diff", "--arch=amd64", &old, &prebaked]).stdout.starts_with(b"A /etc/added\n"));
    let message = program.fails(2, ["diff", "--layers", "--arch=amd64", &old, &prebaked]);
    assert!(message.contains("--layers"), "{message}");
    program.fails(3, ["diff", "--arch=amd64", &old, "oci:/missing:x"]);
}

/// Compares with a container's changes in a real engine.
#[test]
fn docker_diff_finds_the_same_files() {
    if Dockerd::is_missing() || skip::needs_program("docker") {
        return;
    }
    let program = Program::new();
    let engine = Dockerd::start(&[]);
    let (old, _) = images();
    let archive = program.file("old.tar", docker_archive::write(&[(&old, &["test/old:1"])], Layout::Docker24));
    engine.docker(&["load", "-i", archive.to_str().unwrap()]);
    engine.docker(&["create", "--name=container", "test/old:1", "/bin/true"]);
    let directory = program.path("files");
    std::fs::create_dir_all(directory.join("etc/deep")).unwrap();
    std::fs::write(directory.join("etc/motd"), "other").unwrap();
    std::fs::write(directory.join("etc/deep/file"), "x").unwrap();
    engine.docker(&["cp", &format!("{}/.", directory.display()), "container:/"]);
    let of_docker = engine.docker(&["diff", "container"]);
    engine.docker(&["commit", "container", "test/new:1"]);
    let saved = program.path("new.tar");
    engine.docker(&["save", "-o", saved.to_str().unwrap(), "test/new:1"]);
    let (old, new) = (format!("docker-archive:{}", archive.display()), format!("docker-archive:{}", saved.display()));
    let ours = program.ok(["diff", "--arch=amd64", &old, &new]);
    let lines = |text: &str, letter: &str| -> BTreeSet<String> {
        let lines = text.lines().filter(|line| line.starts_with(letter));
        lines.map(|line| line.split_whitespace().nth(1).unwrap().to_owned()).collect()
    };
    assert_eq!(lines(&ours, "A"), lines(&of_docker, "A"), "{ours}\n{of_docker}");
    assert_eq!(lines(&ours, "D"), lines(&of_docker, "D"), "{ours}\n{of_docker}");
    // Docker also lists directories whose modification time has changed.
    assert!(lines(&ours, "C").is_subset(&lines(&of_docker, "C")), "{ours}\n{of_docker}");
    assert!(lines(&ours, "C").contains("/etc/motd"), "{ours}");
}
