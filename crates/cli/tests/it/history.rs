//! `history`.

use serde_json::{Value, json};
use vmroot_testkit::dockerd::Dockerd;
use vmroot_testkit::image::docker_archive::{self, Layout};
use vmroot_testkit::image::oci_layout::{self, Item};
use vmroot_testkit::image::{Compression, Format, Image, ImageBuilder};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::sample::noise;
use vmroot_testkit::skip;

use crate::program::Program;

fn layers() -> [Layer; 3] {
    [
        Layer::new([
            Entry::directory("bin"),
            Entry::file("bin/tool", noise(1, 12_345)),
            Entry::hard_link("bin/alias", "bin/tool"),
            Entry::symlink("link", "bin/tool"),
            Entry::file("replaced", noise(2, 1000)),
            Entry::file("empty", ""),
        ]),
        Layer::new([Entry::file("replaced", noise(3, 500)), Entry::sparse_file("sparse", 1 << 20, vec![])]),
        Layer::new([Entry::whiteout("bin/tool"), Entry::fifo("pipe"), Entry::directory("only-directories")]),
    ]
}

fn steps() -> Vec<Value> {
    let long = format!("RUN {}", "long ".repeat(20));
    vec![
        json!({"created": "2020-01-02T03:04:05Z", "created_by": "ADD base\tof tabs", "comment": "the base"}),
        json!({"created": "2021-01-02T03:04:05.5Z", "created_by": "ENV A=b", "empty_layer": true}),
        json!({"created": "2022-01-02T03:04:05Z", "created_by": long}),
        json!({"created_by": "RUN without a time", "comment": "buildkit.dockerfile.v0"}),
        json!({"created": "2023-01-02T03:04:05+02:00", "created_by": "CMD [\"x\"]", "empty_layer": true}),
    ]
}

fn image(history: Vec<Value>) -> Image {
    let builder = ImageBuilder::new().format(Format::Docker).compression(Compression::None);
    builder.layers(&layers()).config_member("history", history).build()
}

fn program(history: Vec<Value>) -> (Program, String, Image) {
    let program = Program::new();
    let image = image(history);
    let layout = program.path("layout");
    std::fs::create_dir(&layout).unwrap();
    oci_layout::write(&layout, &[(Item::Image(&image), Some("image"))]).unwrap();
    (program, format!("oci:{}:image", layout.display()), image)
}

#[test]
fn the_table_is_that_of_docker_with_visible_bytes() {
    let (program, name, image) = program(steps());
    let table = program.ok(["history", "--arch=amd64", &name]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 6, "{table}");
    let header: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(header.join(" "), "IMAGE CREATED CREATED BY SIZE COMMENT VISIBLE");
    assert!(lines[1].starts_with(&format!("{}   ", &image.config_digest.hex()[..12])), "{table}");
    assert!(lines[2].starts_with("<missing>      N/A"), "{table}");
    assert!(lines[3].contains("RUN long long long long long long long long …   1.05MB"), "{table}");
    assert!(lines[5].contains("ADD base of tabs") && lines[5].contains("13.4kB") && lines[5].ends_with("12.3kB"));
    let whole = program.ok(["history", "--arch=amd64", "--no-trunc", "--human=false", &name]);
    assert!(whole.contains(&image.config_digest.to_string()), "{whole}");
    assert!(whole.contains("2020-01-02T03:04:05Z") && whole.contains("long long long long long \u{20}"), "{whole}");
    assert_eq!(program.ok(["history", "--arch=amd64", "--ids", &name]).lines().count(), 5);
}

#[test]
fn json_has_the_bytes_of_each_layer() {
    let (program, name, image) = program(steps());
    let json = program.json(["history", "--json", "--arch=amd64", &name]);
    let sizes: Vec<_> = json.as_array().unwrap().iter().map(|step| (&step["size"], &step["visible"])).collect();
    let pairs = [(0, 0), (0, 0), ((1 << 20) + 500, (1 << 20) + 500), (0, 0), (12_345 + 8 + 1000, 12_345)];
    let expected: Vec<_> = pairs.iter().map(|(size, visible)| (json!(size), json!(visible))).collect();
    assert_eq!(sizes, expected.iter().map(|(size, visible)| (size, visible)).collect::<Vec<_>>());
    assert_eq!((&json[0]["id"], &json[1]["id"]), (&image.config_digest.to_string().into(), &Value::Null));
    assert_eq!((&json[1]["layer"]["layer"], &json[3]["layer"]), (&2.into(), &Value::Null));
    assert_eq!(json[1]["layer"]["diffId"], image.layers[2].diff_id.to_string());
    assert_eq!(json[0]["emptyLayer"], true);
    program.fails(2, ["history", "--json", "--format=json", "--arch=amd64", &name]);
}

#[test]
fn templates_have_the_fields_of_docker() {
    let (program, name, _) = program(steps());
    let format = |format: &str| program.ok(["history", "--arch=amd64", "--format", format, &name]);
    assert_eq!(format("{{.Size}}|{{.Comment}}").lines().nth(4), Some("13.4kB|the base"));
    assert_eq!(format(r"table {{.ID}}\t{{.Size}}").lines().next(), Some("IMAGE          SIZE"));
    let first = format("{{json .}}").lines().last().map(str::to_owned).unwrap();
    assert!(first.starts_with(r#"{"Comment":"the base","CreatedAt":"2020-01-02T03:04:05Z","CreatedBy":"ADD base of"#));
    assert_eq!(format("json"), format("{{json .}}"));
    let message = program.fails(2, ["history", "--arch=amd64", "--format={{.Nope}}", &name]);
    assert!(message.contains("--format"), "{message}");
}

/// Configs with too few or too many entries, and without any.
#[test]
fn histories_that_do_not_fit_are_printed_with_a_note() {
    for (history, rows, note) in [
        (Vec::new(), 3, "has no history"),
        (steps()[..2].to_vec(), 4, "1 entry for 3 layers"),
        ([steps(), steps()].concat(), 10, "6 entries for 3 layers"),
        (vec![json!({"created_by": "x", "empty_layer": true})], 4, "0 entries for 3 layers"),
    ] {
        let (program, name, _) = program(history);
        let answer = program.run(["history", "--arch=amd64", "--ids", &name]);
        assert!(answer.stderr.contains(note), "{answer}");
        assert_eq!(answer.ok().lines().count(), rows, "{note}");
        let json = program.json(["history", "--json", "--arch=amd64", &name]);
        let layers = json.as_array().unwrap().iter().filter(|step| !step["layer"].is_null()).count();
        assert_eq!(layers, 3, "{note}");
    }
}

#[test]
fn docker_prints_the_same() {
    if Dockerd::is_missing() || skip::needs_program("docker") {
        return;
    }
    let program = Program::new();
    let engine = Dockerd::start(&[]);
    // An engine of this version prints a missing time as a long time ago.
    let mut history = steps();
    history[3]["created"] = "2022-02-02T03:04:05Z".into();
    let image = image(history);
    let archive = program.file("image.tar", docker_archive::write(&[(&image, &["test/image:1"])], Layout::Docker24));
    engine.docker(&["load", "-i", archive.to_str().unwrap()]);
    let name = format!("docker-archive:{}", archive.display());
    let both = |more: &[&str]| {
        let ours = program.ok(["history", "--arch=amd64"].iter().copied().chain(more.iter().copied()).chain([&*name]));
        let docker = engine.docker(&[&["history"], more, &["test/image:1"]].concat());
        (ours.trim().replace("+00:00", "Z"), docker)
    };
    for more in [
        &["--format={{.ID}}|{{.CreatedAt}}|{{.CreatedBy}}|{{.Size}}|{{.Comment}}"][..],
        &["--format={{.ID}}|{{.CreatedSince}}|{{.CreatedBy}}|{{.Size}}", "--no-trunc"],
        &["--format={{.ID}}|{{.CreatedSince}}|{{.Size}}", "--human=false"],
        &["--format={{json .}}"],
        &[r"--format=table {{.ID}}\t{{.CreatedBy}}\t{{.Size}}\t{{.CreatedSince}}"],
    ] {
        let (ours, docker) = both(more);
        assert_eq!(ours, docker, "{more:?}");
    }
    // The table has one more column.
    let (ours, docker) = both(&[]);
    for (ours, docker) in ours.lines().zip(docker.lines()) {
        assert!(ours.starts_with(docker.trim_end()), "{ours}\n{docker}");
    }
}
