//! One image, however its name is written.

use std::fs;

use serde_json::json;
use vmroot_testkit::image::docker_archive::{self, Layout};
use vmroot_testkit::image::oci_layout::{self, Item};
use vmroot_testkit::registry::Registry;

use crate::program::Program;
use crate::samples::{image, serve};

/// Whichever way an image was pulled, every verb finds it by every other name, without its registry.
#[test]
fn a_reference_with_and_without_its_transport() {
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
        // A tag says nothing of an image that came by its digest.
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

/// Docker Hub's short names: nothing is asked of it, for the image is here.
#[test]
fn short_names_and_long_ones() {
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

/// A file is a name too: of the image that it holds, if that was loaded.
#[test]
fn the_image_of_a_file() {
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
            assert!(run(&["inspect", name]).contains(id.trim()), "{pulled} as {name}");
        }
        assert_eq!(program.ok(["cat", "demo:v1", "etc/motd", "--arch=amd64", "--pull=never"]), "amd64\n");
        assert_eq!(program.json(["images", "--json"]).as_array().unwrap().len(), 1, "{pulled}");
        assert_eq!(program.ok(["rm", &names[0], "--arch=amd64"]), "docker.io/library/demo:v1\n");
        assert_eq!(program.json(["images", "--json"]), json!([]));
    }
    let gone = program.fails(3, ["rm", "oci:/no/such/layout"]);
    assert!(gone.contains("/no/such/layout"), "{gone}");
}
