//! Names: an image can be found by every form of its name.

use std::fs;
use std::net::TcpListener;

use serde_json::json;
use vmroot_testkit::image::docker_archive::{self, Layout};
use vmroot_testkit::image::oci_layout::{self, Item};
use vmroot_testkit::registry::Registry;

use crate::program::{CommandOutput, Program};
use crate::samples::{image, serve};

/// However an image was pulled, every command finds it by every other form of its name, without the registry.
#[test]
fn references_with_and_without_transport() {
    let registry = Registry::start();
    let image = image("amd64");
    let id = image.config_digest.to_string();
    let reference = serve(&registry, &image, "latest");
    let untagged = reference.trim_end_matches(":latest").to_owned();
    let digest = image.manifest.digest;
    let plain = [reference.clone(), untagged.clone(), format!("{untagged}@{digest}"), format!("{reference}@{digest}")];
    let names: Vec<String> = plain.iter().cloned().chain(plain.iter().map(|name| format!("docker://{name}"))).collect();
    for pulled in &names {
        let program = Program::new();
        let never = ["--arch=amd64", "--pull=never"];
        assert_eq!(program.ok(["pull", pulled, "--arch=amd64"]).trim(), id, "{pulled}");
        registry.clear_requests();
        // An image that was pulled by digest has no tag.
        let findable = |name: &&String| name.contains('@') || !pulled.contains('@');
        for name in names.iter().filter(findable) {
            let run = |verb: &[&str]| program.ok(verb.iter().chain(&never));
            assert_eq!(run(&["cat", name, "etc/motd"]), "amd64\n", "{pulled} as {name}");
            assert_eq!(run(&["pull", name]).trim(), id, "{pulled} as {name}");
            let inspected: serde_json::Value = serde_json::from_str(&run(&["inspect", "--json", name])).unwrap();
            assert_eq!(inspected["id"], id, "{pulled} as {name}");
            assert_eq!(run(&["config", "--raw", name]).as_bytes(), image.config, "{pulled} as {name}");
        }
        assert_eq!(registry.requests().len(), 0, "{pulled}");
        let images = program.json(["images", "--json"]);
        let listed = images.as_array().unwrap().iter().map(|row| row["reference"].as_str().unwrap());
        assert!(listed.clone().all(|name| !name.contains("docker://")), "{images}");
        for name in listed {
            assert_eq!(program.ok(["rm", &format!("docker://{name}")]), format!("{name}\n"));
        }
        assert_eq!(program.json(["images", "--json"]), json!([]), "{pulled}");
    }
}

/// Docker Hub's short names. No request is sent to Docker Hub, because the image is in the cache.
#[test]
fn short_and_long_names() {
    let program = Program::new();
    let image = image("amd64");
    let file = program.file("demo.tar", docker_archive::write(&[(&image, &["demo:latest"])], Layout::Docker25));
    let names = [
        "demo",
        "demo:latest",
        "library/demo",
        "docker.io/demo:latest",
        "docker.io/library/demo",
        "index.docker.io/library/demo:latest",
        "docker://demo",
        "docker://docker.io/library/demo:latest",
    ];
    for name in names {
        program.ok(["load".as_ref(), file.as_os_str(), "--arch=amd64".as_ref()]);
        assert_eq!(program.ok(["cat", name, "etc/motd", "--arch=amd64"]), "amd64\n", "{name}");
        assert_eq!(program.json(["inspect", "--json", name])["id"], image.config_digest.to_string(), "{name}");
        assert_eq!(program.ok(["rm", name]), "docker.io/library/demo:latest\n", "{name}");
        program.fails(3, ["cat", name, "etc/motd", "--arch=amd64", "--pull=never"]);
    }
}

/// The name of a file refers to its image, if that was loaded.
#[test]
fn file_names_refer_to_loaded_images() {
    let (first, second) = (image("amd64"), image("arm64"));
    let program = Program::new();
    let layout = program.path("layout");
    fs::create_dir(&layout).unwrap();
    oci_layout::write(&layout, &[(Item::Image(&first), Some("demo:v1"))]).unwrap();
    let (layout, home) = (layout.to_str().unwrap(), program.path("").display().to_string());
    let archive = docker_archive::write(&[(&first, &["demo:v1"]), (&second, &["other:v1"])], Layout::Docker24);
    let archive = program.file("demo.tar", archive);
    let archive = archive.to_str().unwrap();
    let names = [
        format!("oci:{layout}"),
        format!("oci:{layout}/"),
        format!("oci:{home}./layout:demo:v1"),
        format!("oci:{layout}:@0"),
        format!("docker-archive:{archive}:demo:v1"),
        format!("docker-archive:{archive}:docker.io/library/demo:v1"),
        format!("docker-archive:{archive}:@0"),
    ];
    let never = ["--arch=amd64", "--pull=never"];
    for name in &names {
        let missing = program.run(["cat", name, "etc/motd"].iter().chain(&never)).fails(3);
        assert!(missing.contains(name.as_str()), "{name}: {missing}");
    }
    for pulled in &names {
        let id = program.ok(["pull", pulled, "--arch=amd64"]);
        for name in &names {
            let run = |verb: &[&str]| program.ok(verb.iter().chain(&never));
            assert_eq!(run(&["cat", name, "etc/motd"]), "amd64\n", "{pulled} as {name}");
            assert!(run(&["inspect", "--json", name]).contains(id.trim()), "{pulled} as {name}");
        }
        assert_eq!(program.ok(["cat", "demo:v1", "etc/motd", "--arch=amd64", "--pull=never"]), "amd64\n");
        assert_eq!(program.json(["images", "--json"]).as_array().unwrap().len(), 1, "{pulled}");
        assert_eq!(program.ok(["rm", &names[0], "--arch=amd64"]), "docker.io/library/demo:v1\n");
        assert_eq!(program.json(["images", "--json"]), json!([]));
    }
    let gone = program.fails(3, ["rm", "oci:/no/such/layout"]);
    assert!(gone.contains("/no/such/layout"), "{gone}");
}

/// A proxy for all registries that must get no connection.
struct ForbiddenProxy(TcpListener);

impl ForbiddenProxy {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    /// Runs a command that must fail without a request to any registry.
    fn fails(&self, program: &Program, code: i32, arguments: &[&str]) -> String {
        let proxy = format!("http://{}", self.0.local_addr().unwrap());
        let options: &[&str] = if arguments[0] == "rm" { &["--arch=amd64"] } else { &["--arch=amd64", "--retries=1"] };
        let mut command = program.command(arguments.iter().chain(options));
        command.current_dir(program.path("")).env("HTTPS_PROXY", &proxy).env("HTTP_PROXY", &proxy);
        let mut child =
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
        // A request would block until the proxy answers.
        while child.try_wait().unwrap().is_none() {
            assert!(self.0.accept().is_err(), "{arguments:?}: a request to a registry");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        assert!(self.0.accept().is_err(), "{arguments:?}: a request to a registry");
        CommandOutput::from(child.wait_with_output().unwrap()).fails(code)
    }
}

const READ_COMMANDS: [&[&str]; 6] = [
    &["ls", "IMAGE"],
    &["cat", "IMAGE", "etc/motd"],
    &["cp", "IMAGE", "etc", "copied"],
    &["config", "IMAGE"],
    &["export", "IMAGE", "out", "--format=tar"],
    &["export", "IMAGE", "out", "--format=prebaked"],
];

/// Loaded as `demo:latest`, with a lost blob and lost files of the layer. Docker Hub may have another image of that
/// name, whose files must not replace these.
#[test]
fn damaged_loaded_image_is_not_pulled_from_a_registry() {
    let image = image("amd64");
    let program = Program::new();
    let archive = program.file("demo.tar", docker_archive::write(&[(&image, &["demo:latest"])], Layout::Docker25));
    let origin = format!("docker-archive:{}", archive.display());
    let layout = program.path("layout");
    fs::create_dir(&layout).unwrap();
    oci_layout::write(&layout, &[(Item::Image(&image), Some("demo:latest"))]).unwrap();
    let layout = format!("oci:{}", layout.display());
    let watch = ForbiddenProxy::new();
    let id = image.config_digest.to_string();
    for (loaded, origin) in [(&["load", archive.to_str().unwrap()], &origin), (&["pull", &layout], &layout)] {
        for pointer in ["/layers/1/digest", "/id"] {
            if program.cache().exists() {
                fs::remove_dir_all(program.cache()).unwrap();
            }
            program.ok(loaded.iter().chain(&["--arch=amd64"]));
            let inspected = program.json(["inspect", "demo", "--json", "--arch=amd64"]);
            let lost = inspected.pointer(pointer).unwrap().as_str().unwrap();
            fs::remove_file(program.cache().join("blobs").join(lost.replace(':', "/"))).unwrap();
            for directory in ["roots/v1", "layers/v1"] {
                for entry in fs::read_dir(program.cache().join(directory)).unwrap() {
                    fs::remove_file(entry.unwrap().path()).unwrap();
                }
            }
            for verb in READ_COMMANDS {
                for name in ["demo", "docker.io/library/demo:latest", &id, &id[7..], &id[7..10]] {
                    let verb: Vec<&str> = verb.iter().map(|word| if *word == "IMAGE" { name } else { word }).collect();
                    let message = watch.fails(&program, 5, &verb);
                    assert!(message.contains(lost), "{verb:?}: {message}");
                    let remedy = format!("load docker.io/library/demo:latest again from {origin}");
                    assert!(message.contains(&remedy), "{verb:?}: {message}");
                }
            }
            program.ok(loaded.iter().chain(&["--arch=amd64"]));
            assert_eq!(program.ok(["cat", "demo", "etc/motd", "--arch=amd64"]), "amd64\n");
        }
    }
}

/// Whole and short ids of missing images. Registries cannot look up ids.
#[test]
fn ids_are_not_looked_up_in_a_registry() {
    let program = Program::new();
    let watch = ForbiddenProxy::new();
    let hex = "4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1";
    let digest = format!("sha256:{hex}");
    let others: [&[&str]; 5] = [
        &["pull", "IMAGE"],
        &["inspect", "IMAGE"],
        &["inspect", "--remote", "IMAGE"],
        &["rm", "IMAGE"],
        &["virtiofs", "IMAGE", "--socket=socket"],
    ];
    for verb in READ_COMMANDS.iter().chain(&others) {
        for name in [digest.as_str(), &digest[..19], "sha256:4b", hex, &hex[..12], &hex[..40]] {
            for policy in ["--pull=missing", "--pull=always", "--pull=never"] {
                let words = verb.iter().map(|word| if *word == "IMAGE" { name } else { word });
                let words = words.chain((verb[0] != "rm").then_some(policy));
                let message = watch.fails(&program, 3, &words.collect::<Vec<_>>());
                assert!(message.contains(name), "{verb:?} {name} {policy}: {message}");
            }
        }
    }
}

/// podman and buildah name their images `localhost/NAME`. As there, every command finds them by the short name, unless
/// the cache has an image of Docker Hub under it.
#[test]
fn short_names_find_images_under_localhost() {
    let program = Program::new();
    let (local, hub) = (image("amd64"), image("arm64"));
    let archive = docker_archive::write(&[(&local, &["localhost/saved:1"])], Layout::Docker25);
    program.ok(["load", program.file("local.tar", archive).to_str().unwrap()]);
    let id = local.config_digest.to_string();
    let found = |name: &str| program.json(["inspect", "--json", "--pull=never", name])["id"].clone();
    assert_eq!(found("saved:1"), id);
    for verb in [
        &["ls", "--pull=never", "saved:1"][..],
        &["cat", "saved:1", "etc/motd"],
        &["config", "saved:1"],
        &["history", "saved:1"],
        &["why", "saved:1", "etc/motd"],
        &["diff", "saved:1", "localhost/saved:1"],
        &["df", "saved:1"],
        &["policy", "check", "saved:1"],
        &["policy", "explain", "saved:1"],
        &["lease", "create", "saved:1"],
        &["copy", "vmroot:saved:1", "oci:copied"],
        &["copy", "--all", "vmroot:saved:1", "oci:all"],
        &["commit", "saved:1", "--change=ENV A=b"],
    ] {
        let mut command = program.command(verb);
        CommandOutput::from(command.current_dir(program.path("")).output().unwrap()).ok();
    }
    for name in ["saved", "saved:1", "localhost/saved"] {
        let listed = program.json(["images", "--json", name]);
        assert_eq!(listed[0]["reference"], "localhost/saved:1", "{name}");
        let saved = program.path("saved.tar");
        program.ok(["save", name, "-o", saved.to_str().unwrap()]);
        let other = Program::new();
        other.ok(["load", saved.to_str().unwrap()]);
        assert_eq!(other.json(["images", "--json"])[0]["reference"], "localhost/saved:1", "{name}");
    }
    for name in ["saved:2", "docker.io/library/saved:1", "library/saved:1"] {
        let message = program.fails(3, ["ls", name, "--pull=never"]);
        assert!(message.contains("no such image"), "{name}: {message}");
    }
    program.ok(["tag", "saved:1", "localhost/other:1"]);
    assert_eq!(program.ok(["untag", "other:1"]), "localhost/other:1\n");
    // An image of Docker Hub has the name before that of podman.
    let archive = docker_archive::write(&[(&hub, &["saved:1"])], Layout::Docker25);
    program.ok(["load", program.file("hub.tar", archive).to_str().unwrap()]);
    let command = ["inspect", "--json", "--pull=never", "--arch=arm64", "saved:1"];
    assert_eq!(program.json(command)["id"], hub.config_digest.to_string());
    assert_eq!(program.ok(["rm", "saved:1", "--arch=arm64"]), "docker.io/library/saved:1\n");
    // Only the name by which it was found is removed.
    program.ok(["tag", "saved:1", "kept:1"]);
    program.ok(["lease", "release"].iter().map(|word| (*word).to_owned()).chain(leases(&program)));
    assert_eq!(program.ok(["rm", "saved:1"]), "localhost/saved:1\n");
    assert_eq!(found("kept:1"), id);
}

fn leases(program: &Program) -> Vec<String> {
    program.ok(["lease", "list", "--quiet"]).lines().map(str::to_owned).collect()
}

/// Both commands on policies judge the image that a short name finds.
#[test]
fn a_policy_judges_the_image_that_a_short_name_finds() {
    let program = Program::new();
    let archive = docker_archive::write(&[(&image("amd64"), &["localhost/saved:1"])], Layout::Docker25);
    program.ok(["load", program.file("local.tar", archive).to_str().unwrap()]);
    let policy = program.file("policy.json", r#"{"default":[{"type":"reject"}]}"#).display().to_string();
    let command = |verb: &str| program.run(["policy", verb, "--policy", &policy, "saved:1", "--json"]);
    let (explained, checked) = (command("explain"), command("check"));
    assert!(explained.status.success(), "{explained}");
    assert_eq!(checked.status.code(), Some(5), "{checked}");
    let report = |output: &CommandOutput| serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
    assert_eq!(report(&explained), report(&checked));
    assert_eq!(report(&checked)["requirements"], json!(["reject"]));
    assert!(checked.stderr.contains("rejects the image"), "{checked}");
}
