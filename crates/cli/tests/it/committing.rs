//! `commit`.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use vmroot_testkit::dockerd::Dockerd;
use vmroot_testkit::image::oci_layout::{self, Item};
use vmroot_testkit::image::{Compression, ImageBuilder};
use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::skip;

use crate::docker_registry::DockerRegistry;
use crate::program::{Program, wait_for};

/// The members of a config's `config` that `--change` sets.
const MEMBERS: [&str; 11] = [
    "Cmd",
    "Entrypoint",
    "Env",
    "ExposedPorts",
    "Healthcheck",
    "Labels",
    "OnBuild",
    "StopSignal",
    "User",
    "Volumes",
    "WorkingDir",
];

fn base() -> Layer {
    Layer::new([Entry::directory("etc"), Entry::file("etc/motd", "base\n"), Entry::file("etc/gone", "x")])
}

fn top() -> Layer {
    Layer::new([Entry::directory("etc"), Entry::file("etc/motd", "top\n"), Entry::whiteout("etc/gone")])
}

/// Loads an image with a config, as `base:1`.
fn load_base(program: &Program) -> String {
    let image = ImageBuilder::new()
        .layer(&base())
        .setting("Cmd", json!(["/bin/sh"]))
        .setting("Env", json!(["PATH=/usr/bin:/bin", "A=1"]))
        .setting("ExposedPorts", json!({"80/tcp": {}}))
        .setting("Labels", json!({"one": "1"}))
        .setting("Volumes", json!({"/data": {}}))
        .setting("WorkingDir", "/srv/app");
    let layout = program.path("base");
    fs::create_dir(&layout).unwrap();
    oci_layout::write(&layout, &[(Item::Image(&image.build()), Some("docker.io/library/base:1"))]).unwrap();
    program.ok(["load", layout.to_str().unwrap()]).trim().to_owned()
}

fn config_of(program: &Program, image: &str) -> Value {
    serde_json::from_str(&program.ok(["config", "--raw", image])).unwrap()
}

/// Returns the members that changes set, without the empty ones.
fn members(config: &Value) -> Map<String, Value> {
    let is_set = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(object) => !object.is_empty(),
        _ => true,
    };
    let kept = MEMBERS.iter().filter_map(|&name| Some((name.to_owned(), config.get(name)?.clone())));
    kept.filter(|(_, value)| is_set(value)).collect()
}

#[test]
fn changes_are_those_of_docker() {
    if Dockerd::is_missing() {
        return;
    }
    let (program, engine) = (Program::new(), Dockerd::start(&[]));
    load_base(&program);
    program.ok(["copy", "vmroot:base:1", "docker-daemon:base:1", "--dest-daemon-host", &engine.host()]);
    let container = engine.docker(&["create", "base:1"]);
    for changes in [
        &["CMD [\"a\", \"b c\"]"][..],
        &["CMD a 'b c'"],
        &["ENTRYPOINT [\"e\"]"],
        &["CMD [\"c\"]", "ENTRYPOINT [\"e\"]"],
        &["ENTRYPOINT e $A"],
        &["ENV B=\"$A x\" PATH=$PATH:/opt A='$A'"],
        &["ENV OLD the  rest  of it"],
        &["ENV C=${NONE:-d} D=${A:+e}", "ENV E=$C$D"],
        &[r"ENV F=a\ b G=\$A"],
        &["EXPOSE 443 53/udp 8000-8002"],
        &["LABEL two=\"2 3\" one=$A", "LABEL \"a b\"=c"],
        &["ONBUILD RUN make  all"],
        &["USER nobody:nogroup"],
        &["VOLUME /a /b", "VOLUME [\"/c d\"]"],
        &["WORKDIR sub", "WORKDIR ../other/"],
        &["WORKDIR /x/../y"],
        &["HEALTHCHECK --interval=1m30s --retries=2 CMD curl -f localhost"],
        &["HEALTHCHECK CMD [\"a\", \"b\"]"],
        &["HEALTHCHECK NONE"],
        &["user 7", "  eNv  X=1  "],
    ] {
        let options = changes.iter().flat_map(|&change| ["--change", change]);
        let id = engine
            .docker(&["commit"].into_iter().chain(options.clone()).chain([container.as_str()]).collect::<Vec<_>>());
        let of_docker = engine.docker(&["inspect", "--format", "{{json .Config}}", &id]);
        let id = program.ok(["commit", "base:1"].into_iter().chain(options));
        let own = config_of(&program, id.trim());
        let of_docker: Value = serde_json::from_str(&of_docker).unwrap();
        assert_eq!(members(&own["config"]), members(&of_docker), "{changes:?}");
    }
    engine.docker(&["rm", &container]);
}

#[test]
fn a_layer_in_any_compression_becomes_an_image_that_can_be_read_and_pushed() {
    let program = Program::new();
    load_base(&program);
    let plain = top().to_tar(&Encoding::default());
    let form = |compression: Compression| compression.compress(&plain);
    let forms = [
        ("plain", plain.clone(), "gzip"),
        ("gzip", form(Compression::Gzip), "gzip"),
        ("zstd", form(Compression::Zstd), "zstd"),
        ("xz", form(Compression::Xz), "gzip"),
    ];
    let mut ids = Vec::new();
    for (name, bytes, kept) in &forms {
        let file = program.file(&format!("{name}.tar"), bytes);
        let arguments = ["commit", "base:1", file.to_str().unwrap(), "-t", name, "--timestamp", "1700000000"];
        let id = program.ok(arguments.into_iter().chain(["-a", "me", "-m", "why"]));
        assert_eq!(program.ok(["cat", name, "/etc/motd"]), "top\n");
        program.fails(3, ["cat", name, "/etc/gone"]);
        let described = program.json(["inspect", name, "--json"]);
        let layers = described["layers"].as_array().unwrap();
        assert!(layers[1]["mediaType"].as_str().unwrap().ends_with(kept), "{layers:?}");
        assert_eq!(described["config"]["history"].as_array().unwrap().last().unwrap()["comment"], "why");
        assert_eq!(described["config"]["author"], "me");
        ids.push(id);
    }
    // The id depends on the plain bytes only.
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let standard_input =
        program.run_with_input(["commit", "base:1", "-", "--timestamp", "1700000000", "-a", "me", "-m", "why"], &plain);
    assert_eq!(standard_input.ok(), ids[0]);
    if skip::needs_program("docker-registry") {
        return;
    }
    let registry = DockerRegistry::start();
    for (name, ..) in &forms {
        let pushed = format!("{}/{name}:v1", registry.host);
        program.ok(["copy", "--dest-tls-verify=false", &format!("vmroot:{name}"), &format!("docker://{pushed}")]);
        let other = Program::new();
        assert_eq!(other.ok(["pull", "--plain-http", &pushed]), ids[0], "{name}");
        assert_eq!(other.ok(["cat", &pushed, "/etc/motd"]), "top\n");
    }
}

#[test]
fn changes_of_a_view_become_the_layer() {
    if skip::needs_root() {
        return;
    }
    let program = Program::new();
    load_base(&program);
    let changes = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = |name: &str| changes.path().join(name);
    for name in ["lower", "upper", "work", "view"] {
        fs::create_dir(path(name)).unwrap();
    }
    program.ok(["export", "base:1", path("lower").to_str().unwrap(), "--format", "dir"]);
    let (upper, work, view) = (path("upper"), path("work"), path("view"));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let options = ["--upper", &text(&upper), "--work", &text(&work), "--detach"];
    program.ok(["mount", "base:1", &text(&view)].into_iter().chain(options));
    fs::write(view.join("etc/motd"), "changed\n").unwrap();
    fs::remove_file(view.join("etc/gone")).unwrap();
    fs::create_dir(view.join("new")).unwrap();
    fs::write(view.join("new/file"), "new").unwrap();
    program.ok(["umount", &text(&view)]);
    let id = program.ok(["commit", "base:1", "--from-upper", &text(&upper), "-t", "changed"]);
    assert_eq!(program.ok(["cat", "changed", "/etc/motd"]), "changed\n");
    assert_eq!(program.ok(["cat", id.trim(), "/new/file"]), "new");
    program.fails(3, ["stat", "changed", "/etc/gone"]);
}

#[test]
fn wrong_commits_change_nothing() {
    let program = Program::new();
    load_base(&program);
    let broken = program.file("broken.tar", vec![7; 4096]);
    let broken = broken.to_str().unwrap();
    let before = program.ok(["images", "--json"]);
    assert!(program.fails(2, ["commit", "base:1"]).contains("nothing to commit"));
    assert!(program.fails(2, ["commit", "base:1", "--change", "RUN x"]).contains("RUN is not a valid change"));
    assert!(program.fails(2, ["commit", "base:1", "--change", "STOPSIGNAL x"]).contains("not a signal"));
    assert!(program.fails(2, ["commit", "base:1", broken, "-t", "A"]).contains("--tag"));
    assert!(program.fails(5, ["commit", "base:1", broken]).contains("broken.tar"));
    assert!(program.fails(3, ["commit", "base:1", "/missing.tar"]).contains("/missing.tar"));
    program.fails(3, ["commit", "none:1", "--change", "USER x", "--pull", "never"]);
    assert_eq!(program.ok(["images", "--json"]), before);
}

/// A layer without entries, and no layer, add only to the history.
#[test]
fn steps_without_files_have_no_layer() {
    let program = Program::new();
    let parent = load_base(&program);
    let file = program.file("empty.tar", [0; 1024]);
    let id = program.ok(["commit", "base:1", file.to_str().unwrap(), "--created-by", "nothing"]);
    let (own, parent) = (config_of(&program, id.trim()), config_of(&program, &parent));
    assert_eq!(own["rootfs"], parent["rootfs"]);
    let step = own["history"].as_array().unwrap().last().unwrap();
    assert_eq!((&step["empty_layer"], &step["created_by"]), (&json!(true), &json!("nothing")));
}

#[test]
fn killed_commits_leave_a_whole_store() {
    let program = Program::new();
    load_base(&program);
    let large =
        Layer::new((0..200).map(|number| Entry::file(format!("f{number}"), vec![b'a' + (number % 26) as u8; 20_000])));
    let file = program.file("large.tar", large.to_tar(&Encoding::default()));
    for delay in 0..40 {
        let mut child = program.start(["commit", "base:1", file.to_str().unwrap(), "-t", "large:1"]);
        std::thread::sleep(std::time::Duration::from_millis(delay * 3));
        let _ = child.kill();
        wait_for(&mut child);
        program.ok(["verify"]);
        if program.run(["ls", "large:1", "--pull", "never"]).status.success() {
            assert_eq!(program.ok(["cat", "large:1", "/f7"]).len(), 20_000);
        }
    }
    program.ok(["commit", "base:1", file.to_str().unwrap(), "-t", "large:1"]);
    program.ok(["gc"]);
    assert_eq!(program.ok(["cat", "large:1", "/f199", "--pull", "never"]).len(), 20_000);
}
