//! Exit codes: 2 usage, 3 not found, 4 authentication, 5 integrity, 6 a limit. A fault gives the same code in every
//! command.

use std::fs::File;

use serde_json::json;
use vmroot_testkit::image::ImageBuilder;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::registry::{Auth, Fault, Registry, Rule};

use crate::program::Program;
use crate::samples::{REPOSITORY, base, image, serve, top};

/// Every command that pulls a missing image. `IMAGE` stands for the image.
const COMMANDS: [&[&str]; 15] = [
    &["config", "IMAGE"],
    &["ls", "IMAGE"],
    &["stat", "IMAGE", "etc"],
    &["cat", "IMAGE", "etc/motd"],
    &["cp", "IMAGE", "etc", "copied"],
    &["readlink", "IMAGE", "bin"],
    &["resolve", "IMAGE", "bin"],
    &["diff", "IMAGE", "IMAGE"],
    &["why", "IMAGE", "etc"],
    &["history", "IMAGE"],
    &["mount", "IMAGE", ".", "--force"],
    &["virtiofs", "IMAGE", "--socket=socket"],
    &["export", "IMAGE", "-", "--format=tar"],
    &["export", "IMAGE", "out", "--format=prebaked"],
    &["export", "IMAGE", "out", "--format=erofs"],
];

/// Runs a command on an image, in the directory of the program.
fn fails(program: &Program, code: i32, verb: &[&str], image: &str, more: &[&str]) -> String {
    let arguments = verb.iter().map(|word| if *word == "IMAGE" { image } else { word });
    let mut command = program.command(arguments.chain(more.iter().copied()));
    let answer: crate::program::CommandOutput = command.current_dir(program.path("")).output().unwrap().into();
    if answer.status.code() != Some(code) {
        panic!("{verb:?} {image:?} {more:?}: {code} expected, but {answer}");
    }
    answer.fails(code)
}

/// Malformed names: references, digests and details of transports. Neither a registry nor the cache is queried, so the
/// pull policy makes no difference.
#[test]
fn malformed_name_is_2_for_every_command_and_policy() {
    let program = Program::new();
    let names = [
        "",
        "UPPER/case",
        "localhost:1/a b",
        "localhost:1/x:-tag",
        ":tag",
        "../x",
        "localhost:1/x@sha256:beef",
        "localhost:1/x@md5:d41d8cd98f00b204e9800998ecf8427e",
        "oci:",
        "docker://localhost:1/UPPER",
        "docker-archive:x.tar:@first",
    ];
    let others: [&[&str]; 4] =
        [&["pull", "IMAGE"], &["inspect", "IMAGE"], &["inspect", "--remote", "IMAGE"], &["rm", "IMAGE"]];
    for verb in COMMANDS.iter().chain(&others) {
        for name in names {
            for policy in [&[][..], &["--pull=never"], &["--pull=missing"], &["--pull=always"]] {
                if verb[0] == "rm" && !policy.is_empty() {
                    continue;
                }
                let message = fails(&program, 2, verb, name, policy);
                assert!(message.contains(name), "{verb:?} {name:?}: {message}");
            }
        }
        // Almost an id, but with a character that is not a digit.
        for policy in ["--pull=never", "--pull=missing", "--pull=always"] {
            let options = if verb[0] == "rm" { &[][..] } else { &[policy] };
            fails(&program, 2, verb, "sha256:zz", options);
        }
        fails(&program, 2, verb, "localhost:1/x", &["--platform=linux"]);
        fails(&program, 2, verb, "localhost:1/x", &["--arch=a/b/c"]);
    }
    for verb in COMMANDS.iter().filter(|verb| !matches!(verb[0], "config") && !verb.contains(&"--format=prebaked")) {
        fails(&program, 2, verb, "prebaked:", &[]);
    }
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/demo");
    for picked in ["@", "@x", "@-1", "a b", "x:y z"] {
        program.fails(2, ["load", demo, "--image", picked]);
    }
}

#[test]
fn missing_image_is_3_for_every_command() {
    let registry = Registry::start();
    let program = Program::new();
    let missing = format!("{}/{REPOSITORY}:missing", registry.host());
    let archive = "oci-archive:no/such/file.tar";
    for verb in COMMANDS {
        for policy in ["--pull=never", "--pull=missing", "--pull=always"] {
            fails(&program, 3, verb, &missing, &[policy]);
            fails(&program, 3, verb, "sha256:1234", &[policy]);
            fails(&program, 3, verb, archive, &[policy]);
        }
    }
}

/// Options and arguments of every command that name a file or a directory, with a path that does not exist.
#[test]
fn missing_path_is_3_for_every_command() {
    let program = Program::new();
    let demo = concat!("oci:", env!("CARGO_MANIFEST_DIR"), "/../../testdata/demo");
    for arguments in [
        &["load", "/no/such"][..],
        &["pull", "oci:/no/such"],
        &["ls", "prebaked:/no/such"],
        &["layer", "index", "/no/such"],
        &["layer", "verify", "/no/such"],
        &["layer", "dump", "/no/such"],
        &["umount", "/no/such"],
        &["mount", demo, "/no/such"],
        &["mount", demo, ".", "--layer=/no/such"],
        &["mount", demo, ".", "--add=/no/such:/x"],
        &["mount", demo, ".", "--init=/no/such"],
        &["virtiofs", demo, "--socket=/no/such/socket"],
        &["virtiofs", demo, "--socket=s", "--add=/no/such:/x"],
        &["virtiofs", demo, "--socket=s", "--init=/no/such"],
        &["export", "--from-upper=/no/such", "out.tar"],
        &["export", demo, "/no/such/out", "--format=tar"],
        &["export", demo, "/no/such/out", "--format=dir"],
        &["export", demo, "out", "--format=tar", "--config-out=/no/such/config"],
        &["export", demo, "out", "--format=tar", "--layer=/no/such"],
        &["export", demo, "out", "--format=erofs", "--add=/no/such:/x"],
        &["export", demo, "out", "--format=prebaked", "--init=/no/such"],
        &["boot", demo, "--kernel=/no/such"],
        &["pull", "localhost:1/x", "--authfile=/no/such"],
        &["pull", "localhost:1/x", "--ca-file=/no/such"],
    ] {
        let mut command = program.command(arguments);
        let answer: crate::program::CommandOutput = command.current_dir(program.path("")).output().unwrap().into();
        assert_eq!(answer.status.code(), Some(3), "{arguments:?}: {answer}");
        assert!(answer.fails(3).contains("/no/such"), "{arguments:?}");
        assert!(!program.path("out").exists() && !program.path("out.tar").exists(), "{arguments:?}");
    }
}

#[test]
fn registry_without_access_is_4_for_every_command() {
    let registry = Registry::start();
    let image = serve(&registry, &image("amd64"), "v1");
    registry.require(Auth::basic("user", "secret"));
    let program = Program::new();
    for verb in COMMANDS.iter().chain([&["pull", "IMAGE"][..], &["inspect", "IMAGE"]].iter()) {
        fails(&program, 4, verb, &image, &["--arch=amd64"]);
    }
}

#[test]
fn damage_is_5_and_a_limit_is_6_for_every_command() {
    let registry = Registry::start();
    let built = image("amd64");
    let image = serve(&registry, &built, "v1");
    // `config` reads no layers of an image that is not in the cache.
    let reading_layers = COMMANDS.iter().filter(|verb| verb[0] != "config");
    for verb in reading_layers.chain([&["pull", "IMAGE"][..]].iter()) {
        let program = Program::new();
        registry.misbehave(Rule::on(&built.layers[1].digest.to_string()).fault(Fault::Corrupt(100)));
        fails(&program, 5, verb, &image, &["--arch=amd64", "--retries=1"]);
        registry.behave();
        let message = fails(&program, 6, verb, &image, &["--arch=amd64", "--max-entries=2"]);
        assert!(message.contains("--max-entries raises the limit"), "{verb:?}: {message}");
    }
}

/// Limits of the model, the registry, the archives and the layers: the code is 6 for each variant of the error.
#[test]
fn every_limit_is_6() {
    let registry = Registry::start();
    let program = Program::new();
    let pull = |image: ImageBuilder, what: &str| {
        let reference = serve(&registry, &image.build(), "v1");
        let message = program.fails(6, ["pull", &reference, "--arch=amd64"]);
        assert!(message.contains(what), "{what}: {message}");
    };
    let layer = |entry: Entry| ImageBuilder::new().layer(&Layer::new([entry]));
    let long = |length: usize| "x".repeat(length);
    pull(layer(Entry::file(long(256).as_str(), "")), "MAX_NAME");
    pull(layer(Entry::symlink("link", long(4096).as_str())), "MAX_SYMLINK");
    pull(layer(Entry::file("f", "").xattr(format!("user.{}", long(251)), "")), "MAX_XATTR_NAME");
    pull(layer(Entry::file("f", "").xattr("user.a", vec![1; 65_537])), "MAX_XATTR_VALUE");
    pull(layer(Entry::directory(format!("{}x", "d/".repeat(4097)).as_str())), "MAX_DEPTH");
    pull(ImageBuilder::new().layer(&Layer::new([Entry::symlink("a", "a"), Entry::file("a/b", "")])), "MAX_LINKS");
    let entry = json!({"created_by": "x", "empty_layer": true});
    pull(ImageBuilder::new().layer(&base()).config_member("history", json!(vec![entry; 16_385])), "LIST_LIMIT");
    let nested = (0..200).fold(json!(1), |inner, _| json!([inner]));
    pull(ImageBuilder::new().layer(&base()).setting("Cmd", nested), "128");
    pull(ImageBuilder::new().layer(&base()).config_member("x", json!(long(5 << 20))), "4194304");
    pull(ImageBuilder::new().layer(&base()).manifest_member("x", json!(long(5 << 20))), "4194304");

    let deep = (1..=17).map(|depth| Entry::directory(vec![long(250); depth].join("/").as_str()));
    let loops = Entry::symlink("loop", "loop");
    let users = Entry::file("etc/passwd", vec![b'x'; (16 << 20) + 1]);
    let built = ImageBuilder::new()
        .setting("User", "name")
        .layer(&Layer::new(deep.chain([loops, users])))
        .layer(&top("amd64"))
        .build();
    let reference = serve(&registry, &built, "v2");
    program.ok(["pull", &reference, "--arch=amd64"]);
    let out = program.path("out");
    let out = out.to_str().unwrap();
    let large = program.path("large");
    File::create(&large).unwrap().set_len((64 << 20) + 1).unwrap();
    let init = format!("--init={}", large.display());
    let socket = format!("--socket={out}/{}", long(107));
    let auth = format!("--authfile={}", large.display());
    for (arguments, what) in [
        (&["export", &reference, out, "--format=cpio"][..], "4095"),
        (&["config", &reference], "16777216"),
        (&["export", &reference, out, "--format=tar", &init], "67108864"),
        (&["virtiofs", &reference, &socket], "107"),
    ] {
        let message = program.fails(6, arguments.iter().chain(&["--arch=amd64"]));
        assert!(message.contains(what), "{arguments:?}: {message}");
    }

    // As with cat(1) and ls(1): no option of this program is a limit for them.
    for verb in ["cat", "ls", "resolve"] {
        let message = program.fails(1, [verb, &reference, "loop", "--arch=amd64"]);
        assert!(
            message.contains("symbolic links") && message.contains("hint: the links lead in a circle"),
            "{message}"
        );
    }
    assert_eq!(program.ok(["readlink", &reference, "loop", "--arch=amd64"]), "loop\n");

    registry.require(Auth::basic("user", "secret"));
    let message = program.fails(6, ["pull", &reference, "--arch=amd64", &auth]);
    assert!(message.contains("4194304"), "{message}");

    let layout = program.path("layout");
    std::fs::create_dir(&layout).unwrap();
    std::fs::write(layout.join("oci-layout"), vec![b' '; 65_537]).unwrap();
    std::fs::write(layout.join("index.json"), "{}").unwrap();
    let message = program.fails(6, ["pull", &format!("oci:{}", layout.display())]);
    assert!(message.contains("65536"), "{message}");
}
