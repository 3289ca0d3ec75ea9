//! Errors: the exit code, and a message that names the cause.

use std::time::Duration;

use vmroot_testkit::registry::{Auth, Bearer, Fault, Registry, Rule};

use crate::program::Program;
use crate::samples::{image, index, serve, serve_index};

#[test]
fn usage_errors_are_2() {
    let program = Program::new();
    for arguments in [
        &["no-such-verb"][..],
        &["pull"],
        &["pull", "x", "--no-such-option"],
        &["pull", "x", "--pull", "sometimes"],
        &["pull", "x", "--arch", "pdp11/70/x"],
        &["pull", "x", "--arch", "amd64", "--platform", "linux/amd64"],
        &["--creds", ":secret", "pull", "localhost:1/x"],
        &["export", "x", "-", "--format", "dir"],
        &["export", "x", "out", "--format", "tar", "--rootless"],
        &["export", "x", "out", "--format", "tar", "--compress", "lz4"],
        &["export", "x", "out", "--format", "erofs", "--level", "3"],
        &["export", "x", "out", "--format", "erofs", "--compress", "gzip"],
        &["export", "x", "out", "--format", "erofs", "--compress", "lz4", "--level", "10"],
        &["export", "x", "out", "--format", "erofs", "--compress", "zstd", "--level", "0"],
    ] {
        program.fails(2, arguments);
    }
}

#[test]
fn missing_image_is_3() {
    let registry = Registry::start();
    serve(&registry, &image("amd64"), "here");
    let program = Program::new();
    let missing = format!("{}/test/image:missing", registry.host());
    for arguments in [
        &["pull", &missing][..],
        &["inspect", &missing],
        &["ls", &missing],
        &["ls", &missing, "--pull=never"],
        &["inspect", &missing, "--pull=never"],
        &["rm", &missing],
        &["cat", "sha256:0000000000000000000000000000000000000000000000000000000000000000", "etc/passwd"],
        &["config", "0000000000000000000000000000000000000000000000000000000000000000"],
        &["inspect", "0000000000000000000000000000000000000000000000000000000000000000"],
        &["load", "/no/such/file.tar"],
        &["pull", "oci:/no/such/layout"],
        &["ls", "docker-archive:/no/such/file.tar"],
    ] {
        program.fails(3, arguments);
    }
}

/// The message lists the available platforms.
#[test]
fn missing_architecture_is_3() {
    let registry = Registry::start();
    let program = Program::new();
    let several = serve_index(&registry, &index(), "several");
    let message = program.fails(3, ["pull", &several, "--arch", "riscv64"]);
    for part in ["architecture mismatch", "riscv64", "amd64", "arm64"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!message.contains("unknown"), "attestations are not images: {message}");
    let one = serve(&registry, &image("arm64"), "one");
    let message = program.fails(3, ["pull", &one, "--arch", "amd64"]);
    assert!(message.contains("image is for arm64 but expected amd64"), "{message}");
    assert!(program.ok(["images"]).lines().count() == 1, "only the header");
}

#[test]
fn registry_without_access_is_4() {
    let registry = Registry::start();
    let reference = serve(&registry, &image("amd64"), "v1");
    registry.require(Auth::basic("user", "secret"));
    let program = Program::new();
    let pull = |more: &[&str]| program.run(["pull", &reference, "--arch=amd64"].iter().chain(more));
    for flags in [&[][..], &["--creds", "user:wrong"]] {
        let message = pull(flags).fails(4);
        assert!(message.contains(&registry.host()), "{message}");
        assert!(message.contains(&format!("`vmroot login {}`", registry.host())), "{message}");
        assert!(!message.contains("wrong"), "passwords are not printed: {message}");
    }
    pull(&["--creds", "user:secret"]).ok();

    let bearer = Bearer { user: Some(("user".into(), "secret".into())), ..Bearer::default() };
    registry.require(Auth::Bearer(bearer));
    pull(&[]).fails(4);
    let host = registry.host();
    // base64 of user:secret
    let auth = program.file("auth.json", format!(r#"{{"auths":{{"{host}":{{"auth":"dXNlcjpzZWNyZXQ="}}}}}}"#));
    pull(&["--authfile", auth.to_str().unwrap()]).ok();
    let config = std::fs::read_to_string(&auth).unwrap();
    let of_variable = |text: &str, arguments: &[&str]| {
        crate::program::CommandOutput::from(
            program.command(arguments).env("DOCKER_AUTH_CONFIG", text).output().unwrap(),
        )
    };
    let repository = format!("{host}/test/image");
    of_variable(&config, &["tags", &repository]).ok();
    let warned = of_variable("{", &["tags", &repository]).fails(4);
    assert!(warned.contains("DOCKER_AUTH_CONFIG"), "{warned}");
    let explained = of_variable(&config, &["registries", "explain", "--json", &repository]).ok();
    assert!(explained.contains(r#""source": "DOCKER_AUTH_CONFIG""#), "{explained}");
    assert!(!explained.contains("secret"), "{explained}");
    // A file that the command line names is the only one.
    let empty = program.file("empty.json", "{}");
    of_variable(&config, &["tags", &repository, "--authfile", empty.to_str().unwrap()]).fails(4);
    // An image in the cache needs no credentials.
    program.ok(["cat", &reference, "etc/motd", "--arch=amd64"]);
}

#[test]
fn credentials_of_podman_and_docker_are_used() {
    let registry = Registry::start();
    let reference = serve(&registry, &image("amd64"), "v1");
    registry.require(Auth::basic("user", "secret"));
    let auths = format!(r#"{{"auths":{{"{}":{{"auth":"dXNlcjpzZWNyZXQ="}}}}}}"#, registry.host());
    let program = Program::new();
    let pull = || {
        let mut command = program.command(["pull", &reference, "--arch=amd64"]);
        command.env("REGISTRY_AUTH_FILE", program.path("elsewhere.json"));
        command
    };
    assert_eq!(pull().output().unwrap().status.code(), Some(4));
    program.file("elsewhere.json", &auths);
    assert_eq!(pull().output().unwrap().status.code(), Some(0));
    let docker = program.path(".docker");
    std::fs::create_dir(&docker).unwrap();
    program.fails(4, ["pull", &reference, "--arch=amd64"]);
    std::fs::write(docker.join("config.json"), &auths).unwrap();
    program.ok(["pull", &reference, "--arch=amd64"]);
}

#[test]
fn missing_path_is_3() {
    let registry = Registry::start();
    let reference = serve(&registry, &image("amd64"), "v1");
    let program = Program::new();
    program.ok(["pull", &reference, "--arch=amd64"]);
    for arguments in [
        ["ls", &reference, "no/such"],
        ["cat", &reference, "etc/passwd/x"],
        ["stat", &reference, "/doomed"],
        ["readlink", &reference, "nowhere"],
        ["resolve", &reference, "bin/nothing"],
    ] {
        let message = program.fails(3, arguments.iter().chain(&["--arch=amd64"]));
        assert!(message.contains(arguments[2].trim_start_matches('/')), "{arguments:?}: {message}");
    }
    // These paths exist, but are of another kind.
    for arguments in [["cat", &reference, "etc"], ["readlink", &reference, "etc"]] {
        program.fails(1, arguments.iter().chain(&["--arch=amd64"]));
    }
    program.fails(1, ["resolve", &reference, "loop", "--arch=amd64"]);
}

#[test]
fn digest_mismatch_is_5() {
    let image = image("amd64");
    let layer = &image.layers[1];
    let lies = [
        ("blob", Fault::Corrupt(100), layer.digest),
        ("the last byte", Fault::Corrupt(layer.bytes.len() as u64 - 1), layer.digest),
        ("short", Fault::ContentLength(layer.bytes.len() as u64 - 1), layer.digest),
        ("long", Fault::Append(vec![0; 10]), layer.digest),
        ("config", Fault::Corrupt(10), image.config_digest),
        ("manifest", Fault::Append(b" ".to_vec()), image.manifest.digest),
    ];
    for (what, fault, digest) in lies {
        let registry = Registry::start();
        serve(&registry, &image, "v1");
        registry.misbehave(Rule::on(&digest.to_string()).fault(fault));
        let program = Program::new();
        let reference = crate::samples::by_digest(&registry, &image.manifest.digest);
        let message = program.fails(5, ["pull", &reference, "--arch=amd64", "--retries=1"]);
        assert!(message.contains(&digest.to_string()), "{what}: {message}");
        assert_eq!(program.ok(["images"]).lines().count(), 1, "{what}: nothing but the header");
        // The wrong bytes are not kept: a pull succeeds once the registry sends the right ones.
        registry.behave();
        program.ok(["pull", &reference, "--arch=amd64"]);
        let checked = program.ok(["verify"]);
        assert!(checked.ends_with(" 0 damaged\n"), "{what}: {checked}");
    }
}

#[test]
fn wrong_diff_id_is_5() {
    let registry = Registry::start();
    let right = image("amd64");
    let wrong = vmroot_model::Digest::of(b"another tar");
    let diff_ids = vec![right.layers[0].diff_id.to_string(), wrong.to_string()];
    let rootfs = serde_json::json!({ "type": "layers", "diff_ids": diff_ids });
    let image = vmroot_testkit::image::ImageBuilder::new()
        .layers([&crate::samples::base(), &crate::samples::top("amd64")])
        .config_member("rootfs", rootfs)
        .build();
    let reference = serve(&registry, &image, "v1");
    let program = Program::new();
    let message = program.fails(5, ["pull", &reference, "--arch=amd64"]);
    for digest in [image.layers[1].digest, image.layers[1].diff_id, wrong] {
        assert!(message.contains(&digest.to_string()), "{message}");
    }
}

#[test]
fn wrong_length_in_a_manifest_is_5() {
    let registry = Registry::start();
    let right = image("amd64");
    for difference in [-1, 1] {
        let mut manifest: serde_json::Value = serde_json::from_slice(&right.manifest.bytes).unwrap();
        let size = &mut manifest["layers"][1]["size"];
        *size = (size.as_i64().unwrap() + difference).into();
        let image = vmroot_testkit::image::ImageBuilder::new()
            .layers([&crate::samples::base(), &crate::samples::top("amd64")])
            .manifest_member("layers", manifest["layers"].clone())
            .build();
        let reference = serve(&registry, &image, "v1");
        // Without a Content-Length, the bytes are counted.
        let faults = match difference {
            // Too few bytes may be an interrupted transfer, and are not a damaged image.
            1 => vec![Fault::Delay(Duration::ZERO)],
            _ => vec![Fault::Delay(Duration::ZERO), Fault::Chunked],
        };
        for fault in faults {
            registry.behave();
            registry.misbehave(Rule::on("/blobs/").fault(fault));
            let message = Program::new().fails(5, ["pull", &reference, "--arch=amd64", "--retries=1"]);
            assert!(message.contains(&image.layers[1].digest.to_string()), "{difference}: {message}");
        }
    }
}

/// Paths that cannot be read or written are errors before an image is fetched.
#[test]
fn path_errors_come_before_the_pull() {
    let registry = Registry::start();
    let image = serve(&registry, &image("amd64"), "v1");
    let program = Program::new();
    let path = |name: &str| program.path(name).display().to_string();
    std::fs::create_dir(path("directory")).unwrap();
    std::fs::create_dir(path("full")).unwrap();
    let file = program.file("file", "no directory").display().to_string();
    program.file("full/file", "x");
    let listener = std::os::unix::net::UnixListener::bind(path("in-use")).unwrap();
    let inside = |directory: &str| format!("{}/out", path(directory));
    let (gone, below) = (inside("gone"), format!("{file}/out"));
    let config = format!("--config-out={gone}");
    let socket = |name: &str| format!("--socket={name}");
    let (no_socket, not_a_socket, in_use) = (socket(&gone), socket(&file), socket(&path("in-use")));
    let long = socket(&path(&"s".repeat(108)));
    for (code, arguments) in [
        (3, &["export", &image, &gone, "--format=tar"][..]),
        (1, &["export", &image, &below, "--format=erofs"]),
        (1, &["export", &image, &path("directory"), "--format=ext4"]),
        (3, &["export", &image, &gone, "--format=dir"]),
        (1, &["export", &image, &file, "--format=dir"]),
        (1, &["export", &image, &file, "--format=prebaked"]),
        (1, &["export", &image, &path("full"), "--format=dir"]),
        (3, &["export", &image, &path("out"), "--format=tar", &config]),
        (3, &["export", &image, &path("out"), "--format=tar", "--add=/no/such:/x"]),
        (3, &["export", &image, &path("out"), "--format=tar", "--layer=/no/such"]),
        (3, &["export", &image, &path("out"), "--format=tar", "--init=/no/such"]),
        (3, &["virtiofs", &image, &no_socket]),
        (1, &["virtiofs", &image, &not_a_socket]),
        (1, &["virtiofs", &image, &in_use]),
        (6, &["virtiofs", &image, &long]),
        (3, &["virtiofs", &image, &socket(&path("socket")), "--add=/no/such:/x"]),
        (3, &["mount", &image, &gone]),
        (1, &["mount", &image, &file]),
        (3, &["mount", &image, &path("directory"), "--add=/no/such:/x"]),
        (3, &["mount", &image, &gone, "--upper=u", "--work=w"]),
    ] {
        program.fails(code, arguments.iter().chain(&["--arch=amd64"]));
        assert!(!program.cache().join("blobs").exists(), "{arguments:?}");
    }
    assert_eq!(registry.requests().len(), 0);
    drop(listener);
}
