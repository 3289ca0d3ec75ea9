//! `sync` between registries, directories and layouts, and from a list; and names of copies in a registry.

use vmroot_model::Digest;
use vmroot_testkit::registry::{Fault, Registry, Rule};

use crate::program::Program;

const DEMO: &str = concat!("oci:", env!("CARGO_MANIFEST_DIR"), "/../../testdata/demo:demo");

/// A registry with the demo image under three tags of one repository.
fn source(program: &Program) -> Registry {
    let registry = Registry::start();
    for tag in ["1.0", "1.1", "2.0"] {
        program.ok(["copy", "--all", DEMO, &format!("docker://{}/team/demo:{tag}", registry.host())]);
    }
    registry
}

fn sync<'a>(from: &'a str, to: &'a str, source: &'a str, destination: &'a str) -> Vec<&'a str> {
    vec!["sync", "--all", "--src", from, "--dest", to, source, destination]
}

/// Returns the digest of the manifest that a registry has under a name.
fn digest(registry: &Registry, repository: &str, tag: &str) -> Option<Digest> {
    registry.manifest(repository, tag).map(|(_, bytes)| Digest::of(&bytes))
}

#[test]
fn a_repository_is_mirrored_and_a_shared_blob_crosses_once() {
    let program = Program::new();
    let (from, to) = (source(&program), Registry::start());
    let repository = format!("{}/team/demo", from.host());
    let digests = program.path("digests");
    let mut arguments = sync("docker", "docker", &repository, "");
    let destination = format!("{}/mirror", to.host());
    *arguments.last_mut().unwrap() = &destination;
    let option = format!("--digestfile={}", digests.display());
    arguments.push(&option);
    from.clear_requests();
    program.ok(&arguments);
    for tag in ["1.0", "1.1", "2.0"] {
        assert_eq!(digest(&to, "mirror/demo", tag), digest(&from, "team/demo", tag), "{tag}");
    }
    let blobs: Vec<String> =
        from.requests().iter().map(|it| it.path.clone()).filter(|it| it.contains("/blobs/")).collect();
    let mut distinct = blobs.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(blobs.len(), distinct.len(), "each is read once: {blobs:?}");
    let mut lines: Vec<String> = std::fs::read_to_string(&digests).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    let digest = digest(&from, "team/demo", "1.0").unwrap();
    let expected = ["1.0", "1.1", "2.0"].map(|tag| format!("{digest} docker://{destination}/demo:{tag}"));
    assert_eq!(lines, expected);

    // Nothing is uploaded again.
    to.clear_requests();
    program.ok(&arguments);
    let writes = |method: &str| matches!(method, "POST" | "PUT" | "PATCH");
    assert!(!to.requests().iter().any(|request| writes(&request.method)), "{:?}", to.requests());
}

#[test]
fn a_destination_is_asked_for_its_tags_once() {
    let program = Program::new();
    let from = Registry::start();
    for number in 0..8 {
        program.ok(["copy", DEMO, &format!("docker://{}/demo:{number}", from.host())]);
    }
    let repository = format!("{}/demo", from.host());
    let heads = |to: &Registry| {
        let requests = to.requests();
        let heads = requests.iter().filter(|it| it.method == "HEAD" && it.path.contains("/manifests/"));
        (heads.count(), to.count("/tags/list"))
    };
    let tags = |tags: &str| Rule::on("/tags/list").fault(Fault::Status(200, Vec::new(), tags.to_owned()));
    let refusal = |status| Rule::on("/tags/list").fault(Fault::Status(status, Vec::new(), String::new()));
    let endless = Fault::Status(200, vec![("Link", "<?last=a>; rel=next".to_owned())], r#"{"tags":["a"]}"#.to_owned());
    for (rule, expected) in [
        // The tag that is listed is asked for.
        (None, (1, 1)),
        // A list without the tag costs a shortcut, one with tags that do not exist costs requests.
        (Some(tags(r#"{"tags":[]}"#)), (0, 1)),
        (Some(tags(r#"{"tags":["0","1","2","3","4","5","6","7"]}"#)), (8, 1)),
        // Without a list, each is asked for.
        (Some(tags("no list")), (8, 1)),
        (Some(refusal(401)), (8, 1)),
        (Some(refusal(404)), (8, 1)),
        (Some(refusal(405)), (8, 1)),
        (Some(refusal(500)), (8, 1)),
        (Some(Rule::on("/tags/list").fault(endless)), (8, 2)),
    ] {
        let to = Registry::start();
        program.ok(["copy", DEMO, &format!("docker://{}/demo:5", to.host())]);
        let name = format!("{rule:?}");
        rule.into_iter().for_each(|rule| to.misbehave(rule));
        to.clear_requests();
        program.ok(["sync", "--src=docker", "--dest=docker", &repository, &to.host()]);
        assert_eq!(heads(&to), expected, "{name}");
        for number in 0..8 {
            let number = number.to_string();
            assert_eq!(digest(&to, "demo", &number), digest(&from, "demo", &number), "{name}: {number}");
        }
    }
}

#[test]
fn directories_and_layouts_are_filled_and_emptied() {
    let program = Program::new();
    let from = source(&program);
    let repository = format!("{}/team/demo", from.host());
    let expected = digest(&from, "team/demo", "2.0");
    for transport in ["dir", "oci"] {
        let middle = program.path(transport);
        let middle = middle.to_str().unwrap();
        program.ok(sync("docker", transport, &repository, middle));
        let to = Registry::start();
        program.ok(sync(transport, "docker", middle, &to.host()));
        assert_eq!(digest(&to, "demo", "2.0"), expected, "{transport}");
    }
    let scoped = program.path("scoped");
    program.ok([
        &sync("docker", "dir", &repository, scoped.to_str().unwrap())[..],
        &["--scoped", "--append-suffix=-x"],
    ]
    .concat());
    assert!(scoped.join(format!("{repository}:1.0-x")).join("manifest.json").is_file());
}

#[test]
fn a_list_chooses_tags_and_errors_are_errors_at_the_end() {
    let program = Program::new();
    let (from, to) = (source(&program), Registry::start());
    let host = from.host();
    // A tag that two sections choose is copied once.
    let list = format!(
        "{host}:\n  images:\n    team/demo: ['1.0', '1.1']\n  images-by-tag-regex:\n    team/demo: ^1\\.1$\n  tls-verify: false\n"
    );
    let list = program.file("list.yaml", &list);
    let middle = program.path("middle");
    let output = program.run(sync("yaml", "dir", list.to_str().unwrap(), middle.to_str().unwrap()));
    assert!(output.status.success());
    let mut names: Vec<_> = std::fs::read_dir(&middle).unwrap().map(|it| it.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["demo:1.0", "demo:1.1"]);

    let missing = format!("{host}:\n  images:\n    team/demo: ['1.0']\n    team/none: []\n");
    let missing = program.file("missing.yaml", &missing);
    let destination = to.host();
    let arguments = sync("yaml", "docker", missing.to_str().unwrap(), &destination);
    program.fails(3, &arguments);
    assert_eq!(digest(&to, "demo", "1.0"), None, "the command ends before the first copy");
    let text = program.fails(3, [&arguments[..], &["--keep-going"]].concat());
    assert!(text.contains("team/none") && text.contains("1 error occurred"), "{text}");
    assert!(digest(&to, "demo", "1.0").is_some());

    let endless = sync("yaml", "docker", "/dev/zero", &destination);
    assert!(program.fails(2, &endless).contains("longer than"));
}

#[test]
fn images_that_would_replace_each_other_are_refused() {
    let program = Program::new();
    let from = source(&program);
    program.ok(["copy", DEMO, &format!("docker://{}/other/demo:1.0", from.host())]);
    let list = format!("{}:\n  images:\n    team/demo: ['1.0']\n    other/demo: ['1.0']\n", from.host());
    let list = program.file("list.yaml", &list);
    let middle = program.path("middle");
    let arguments = sync("yaml", "dir", list.to_str().unwrap(), middle.to_str().unwrap());
    assert!(program.fails(2, &arguments).contains("--scoped keeps them apart"));
    program.ok([&arguments[..], &["--scoped"]].concat());
}

#[test]
fn names_of_a_copy_in_a_registry() {
    let program = Program::new();
    let to = Registry::start();
    let name = format!("docker://{}/demo", to.host());
    program.ok(["copy", "--all", "--additional-tag=two", DEMO, &format!("{name}:one")]);
    let one = digest(&to, "demo", "one");
    assert!(one.is_some() && digest(&to, "demo", "two") == one && digest(&to, "demo", "latest").is_none());
    let elsewhere = ["copy", "--additional-tag=other.test/demo:two", DEMO, &format!("{name}:one")];
    assert!(program.fails(2, elsewhere).contains("is not in the repository"));

    let wrong = Digest::of(b"another image");
    let text = program.fails(1, ["copy", "--all", DEMO, &format!("{name}@{wrong}")]);
    assert!(text.contains("another digest than the image"), "{text}");
    program.ok(["copy", "--all", DEMO, &format!("{name}@{}", one.unwrap())]);
    let both = program.fails(2, ["copy", DEMO, &format!("{name}:one@{wrong}")]);
    assert!(both.contains("a tag or a digest, not both"), "{both}");
    program.fails(2, ["copy", "--dest-compress-level=10", DEMO, &format!("{name}:level")]);
}

#[test]
fn a_plain_layer_is_not_compressed_again_if_the_registry_has_it() {
    let program = Program::new();
    let archive = format!("docker-archive:{}:demo:1", program.path("demo.tar").display());
    program.ok(["copy", DEMO, &archive]);
    let (registry, other) = (Registry::start(), Registry::start());
    let push = |to: &Registry, name: &str, options: &[&str]| {
        to.clear_requests();
        let target = format!("docker://{}/{name}", to.host());
        program.ok([&["copy"][..], options, &[&archive, &target]].concat());
        to.requests().iter().filter(|it| it.method == "POST").count()
    };
    // The layers and the config.
    let first = push(&registry, "demo:1", &[]);
    assert!(first > 1, "{first}");
    assert_eq!(push(&registry, "demo:2", &[]), 0);
    assert_eq!(digest(&registry, "demo", "1"), digest(&registry, "demo", "2"));
    assert_eq!(push(&other, "demo:1", &[]), first, "another registry lacks them");
    assert!(push(&registry, "demo:3", &["--dest-compress-format=zstd"]) > 0, "there is no form with zstd");
    assert_eq!(push(&registry, "demo:4", &["--dest-compress-format=zstd"]), 0);
    assert_eq!(digest(&registry, "demo", "3"), digest(&registry, "demo", "4"));
    // The copies are whole.
    for tag in ["2", "4"] {
        program.ok([
            "copy",
            &format!("docker://{}/demo:{tag}", registry.host()),
            &format!("dir:{}", program.path(tag).display()),
        ]);
    }
}
