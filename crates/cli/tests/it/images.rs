//! `images` with conditions and formats, `tag` and `untag`.

use serde_json::{Value, json};
use vmroot_testkit::dockerd::Dockerd;
use vmroot_testkit::image::docker_archive::{self, Layout};
use vmroot_testkit::image::{Compression, Format, Image, ImageBuilder};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::skip;

use crate::program::Program;
use crate::samples::{image, serve};

const DEMO: &str = concat!("oci:", env!("CARGO_MANIFEST_DIR"), "/../../testdata/demo:demo");

/// Pulls the images for two platforms, and returns their ids.
fn pull_demo(program: &Program) -> [String; 2] {
    ["amd64", "arm64"].map(|architecture| program.ok(["pull", "--arch", architecture, DEMO]).trim().to_owned())
}

fn short(id: &str) -> &str {
    &id["sha256:".len()..][..12]
}

#[test]
fn images_are_selected_and_formatted() {
    let program = Program::new();
    let [amd64, arm64] = pull_demo(&program);
    program.ok(["tag", "--quiet", "--arch=amd64", "demo", "team/app:1"]);
    let lines = |arguments: &[&str]| -> Vec<String> {
        program.ok(["images"].iter().chain(arguments)).lines().map(str::to_owned).collect()
    };
    // An id is printed once, however many names it has.
    let mut ids = lines(&["-q"]);
    ids.sort_unstable();
    let mut expected = [short(&amd64), short(&arm64)];
    expected.sort_unstable();
    assert_eq!(ids, expected);
    assert_eq!(lines(&["-q", "--no-trunc", "team/app"]), std::slice::from_ref(&amd64));
    assert_eq!(lines(&["--quiet", "--arch=arm64"]), [short(&arm64)]);
    assert_eq!(lines(&["demo"]).len(), 3);
    assert_eq!(lines(&["demo", "team/*"]).len(), 4);
    assert_eq!(lines(&["nothing"]).len(), 1, "only the header");
    assert_eq!(lines(&["-f", "reference=*/*:1", "--filter=dangling=false"]).len(), 2);
    assert_eq!(lines(&["-q", "-f", "platform=linux/arm64", "-f", "until=1s"]), [short(&arm64)]);

    let format = "{{.Repository}} {{.Tag}} {{.ID}} {{.Platform}} {{.Containers}}";
    assert_eq!(lines(&["team/app", "--format", format]), [format!("team/app 1 {} linux/amd64 N/A", short(&amd64))]);
    let table = lines(&["team/app", "--format", "table {{.ID}}\t{{.Tag}}", "--no-trunc"]);
    assert_eq!(table[1].split_whitespace().collect::<Vec<_>>(), [&*amd64, "1"]);
    assert!(table[0].starts_with("IMAGE ID ") && table[0].ends_with("TAG"), "{table:?}");
    let table = lines(&["team/app", "--format=table", "--digests"]);
    assert_eq!(table[0].split_whitespace().collect::<String>(), "REPOSITORYTAGDIGESTIMAGEIDCREATEDSIZE");
    let row: Value = serde_json::from_str(&lines(&["team/app", "--format", "json"])[0]).unwrap();
    assert_eq!((&row["Repository"], &row["Tag"], &row["ID"]), (&json!("team/app"), &json!("1"), &json!(short(&amd64))));
    assert!(row["CreatedAt"].as_str().unwrap().ends_with(" UTC"), "{row}");
    let own = lines(&["--digests", "--no-trunc", "team/app"]);
    assert!(own[0].contains("DIGEST") && own[1].contains(&amd64), "{own:?}");

    for (arguments, message) in [
        (&["--filter", "size=1"][..], "the key is none of"),
        (&["--filter", "dangling"], "expected KEY=VALUE"),
        (&["--filter", "until=soon"], "until=soon"),
        (&["a[b"], "reference=a[b"),
        (&["--format", "{{.Nothing}}"], "the fields are "),
        (&["--format", "{{.Nothing}}"], "Nothing"),
        (&["--format", "{{"], "--format"),
        (&["--format=json", "--json"], "--json does not go with --format"),
    ] {
        let error = program.fails(2, ["images"].iter().chain(arguments));
        assert!(error.contains(message), "{arguments:?}: {error}");
    }
    program.fails(3, ["images", "--filter", "before=nothing"]);
}

#[test]
fn images_get_and_lose_names() {
    let program = Program::new();
    let [amd64, arm64] = pull_demo(&program);
    // All platforms of the name get the new ones.
    assert_eq!(program.ok(["tag", "demo:latest", "demo:v2", "localhost:5000/demo"]), format!("{amd64}\n{arm64}\n"));
    assert_eq!(program.ok(["images", "--format={{.Platform}}", "localhost:5000/demo:latest"]).lines().count(), 2);
    let bare = program.run(["tag", short(&amd64), "stable"]);
    assert!(bare.stderr.contains("stable is a repository"), "{bare}");
    assert_eq!(program.ok(["images", "-q", "stable:latest"]).trim(), short(&amd64));

    // The image that had the name before is named, and stays.
    program.ok(["untag", "demo:latest", "demo:v2", "localhost:5000/demo", "--arch=arm64"]);
    assert_eq!(program.ok(["images", "-q", "-f", "dangling=true"]).trim(), short(&arm64));
    let moved = program.json(["tag", "--json", &arm64, "stable:latest"]);
    assert_eq!(
        moved["tagged"],
        json!([{"reference": "docker.io/library/stable:latest", "platform": "linux/arm64", "id": &arm64}])
    );
    assert_eq!(moved["moved"], json!([]), "the name of the other platform stays");
    program.ok(["commit", "stable:latest", "--arch=arm64", "--change", "LABEL a=b", "-t", "other"]);
    let moved = program.run(["tag", "--arch=arm64", "other", "stable:latest"]);
    assert!(moved.stderr.contains(&arm64) && moved.stderr.contains("gc --dangling"), "{moved}");
    assert_eq!(program.ok(["images", "-q", "-f", "dangling=true"]).trim(), short(&arm64));
    assert_eq!(program.ok(["images", "-q", "-f", "label=a=b", "-f", "dangling=false"]).lines().count(), 1);

    let untagged = program.run(["untag", "other"]);
    assert_eq!(untagged.ok(), "docker.io/library/other:latest\n");
    let last = program.run(["untag", "stable", "--arch=arm64"]);
    assert!(last.stderr.contains("has no name now"), "{last}");
    for (code, name) in [(3, "other"), (3, "stable:v3"), (2, "a b"), (2, &*amd64)] {
        let error = program.fails(code, ["untag", name]);
        assert!(error.contains(name), "{error}");
    }
    program.fails(3, ["untag", "demo:latest", "--arch=s390x"]);
}

#[test]
fn tags_are_of_the_cache_or_of_the_registry() {
    let registry = Registry::start();
    let reference = serve(&registry, &image("amd64"), "v1");
    let program = Program::new();
    let tags = || {
        let tags = program.ok(["tags", reference.rsplit_once(':').unwrap().0]);
        let mut tags: Vec<String> = tags.lines().map(str::to_owned).collect();
        tags.sort_unstable();
        tags.join(" ")
    };
    program.ok(["tag", &reference, "unknown"]);
    assert_eq!(tags(), "unknown v1", "an image that is not in the cache is tagged in its registry");
    program.ok(["pull", "--arch=amd64", &reference]);
    registry.clear_requests();
    program.ok(["tag", &reference, "local:1"]);
    assert_eq!(registry.requests().len(), 0);
    program.ok(["tag", "--remote", &reference, "remote", "remote2"]);
    program.ok(["tag", &format!("docker://{reference}"), "named"]);
    assert_eq!(tags(), "named remote remote2 unknown v1");
    assert_eq!(program.ok(["images", "--format={{.Repository}}:{{.Tag}}", "local"]), "local:1\n");
    // Ids are those of the cache.
    assert!(program.fails(3, ["tag", &"ab".repeat(32), "x"]).contains("no such image"));
    assert!(program.fails(3, ["tag", "vmroot:unknown", "x"]).contains("no such image"));
    assert!(program.fails(2, ["tag", &reference, "oci:a:b:c"]).contains("oci:a:b:c"));
}

/// Builds an image whose layer, time and labels are its own.
fn labelled(name: &str, created: &str, labels: &Value) -> Image {
    let builder = ImageBuilder::new().format(Format::Docker).compression(Compression::None);
    let builder = builder.layer(&Layer::new([Entry::file(name, name)]));
    builder.config_member("created", created).config_member("config", json!({ "Labels": labels })).build()
}

/// The conditions and fields are those of `docker images`.
#[test]
fn docker_selects_the_same_images() {
    if Dockerd::is_missing() || skip::needs_program("docker") {
        return;
    }
    let program = Program::new();
    let engine = Dockerd::start(&[]);
    let images = [
        (labelled("a", "2020-01-01T00:00:00Z", &json!({"kind": "a"})), "team/app:1"),
        (labelled("b", "2021-01-01T00:00:00.25Z", &json!({"kind": "b", "size": "1"})), "app:2"),
        (labelled("c", "2021-01-01T00:00:00.75Z", &json!({"kind": "a=b", "size": "1"})), "localhost:5000/team/app:1"),
        (labelled("d", "2022-01-01T00:00:00Z", &json!({})), "team/tool:latest"),
    ];
    for (number, (image, name)) in images.iter().enumerate() {
        let file = docker_archive::write(&[(image, &[*name])], Layout::Docker24);
        let file = program.file(&format!("{number}.tar"), file).display().to_string();
        engine.docker(&["load", "-i", &file]);
        program.ok(["load", "--quiet", "--all-platforms", &file]);
    }
    engine.docker(&["tag", "app:2", "other/app:v2"]);
    program.ok(["tag", "app:2", "other/app:v2"]);
    // An image that loses its name.
    engine.docker(&["tag", "app:2", "team/tool:latest"]);
    program.ok(["tag", "--quiet", "app:2", "team/tool:latest"]);
    let format = "--format={{.Repository}}:{{.Tag}} {{.ID}} {{.CreatedSince}}";
    for conditions in [
        &[][..],
        &["app"],
        &["app:2"],
        &["team/*"],
        &["*/*/app"],
        &["*/app"],
        &["localhost:5000/team/app:*"],
        &["*:1"],
        &["te?m/[a-s]*"],
        &["te?m/[^a-s]*"],
        &["nothing"],
        &["--filter=reference=app", "--filter=reference=team/app"],
        &["--filter=dangling=true"],
        &["--filter=dangling=false"],
        &["--filter=before=app:2"],
        &["--filter=since=app:2"],
        &["--filter=since=team/app:1", "--filter=before=localhost:5000/team/app:1"],
        &["--filter=label=kind"],
        &["--filter=label=kind=a"],
        &["--filter=label=kind=a=b"],
        &["--filter=label=kind", "--filter=label=size=1"],
        &["--filter=label=size=1", "*/app"],
        &["--no-trunc"],
        &["-a"],
    ] {
        // Docker prints the names of one image in any order.
        let lines = |text: String| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort_unstable();
            lines
        };
        let docker = engine.docker(&[&["images", format], conditions].concat());
        let ours = program.ok(["images", format].iter().chain(conditions));
        assert_eq!(lines(ours), lines(docker), "{conditions:?}");
    }
    let both = |arguments: &[&str]| {
        let docker = engine.docker(&[&["images"], arguments].concat());
        (program.ok(["images"].iter().chain(arguments)).trim().to_owned(), docker)
    };
    // The last built image is the first.
    let (ours, docker) = both(&["--format={{.ID}}", "--filter=dangling=true"]);
    assert_eq!(ours, docker);
    let (ours, docker) = both(&["-q", "--filter=label=kind=a", "--filter=dangling=false"]);
    assert_eq!(ours, docker);
    let (ours, docker) = both(&["--format=table {{.ID}}\t{{.Repository}}\t{{.CreatedSince}}", "team/app"]);
    assert_eq!(ours, docker);
}
