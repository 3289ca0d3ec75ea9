//! Tests that skopeo and tar read the built images.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use vmroot_testkit::image::docker_archive::{self, Layout};
use vmroot_testkit::image::oci_layout::{self, Item};
use vmroot_testkit::image::{Compression, Format, Image, ImageBuilder, IndexBuilder};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::skip;

fn layer(name: &str) -> Layer {
    Layer::new([Entry::file(name, name)])
}

/// Returns two images that share their lowest layer.
fn pair() -> [Image; 2] {
    let base = layer("base");
    let one = ImageBuilder::new().layers([&base, &layer("one")]).setting("Env", vec!["A=b"]).build();
    let two = ImageBuilder::new().layers([&base, &layer("two"), &base]).build();
    [one, two]
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Copies an image with skopeo, which checks every digest, and returns the config of the copy.
fn config_of(source: &str, scratch: &Path) -> Value {
    let copy = scratch.join("copy");
    let destination = format!("dir:{}", copy.display());
    run("skopeo", &["--insecure-policy", "copy", "--quiet", source, &destination]);
    let manifest: Value = serde_json::from_slice(&fs::read(copy.join("manifest.json")).unwrap()).unwrap();
    let digest = manifest["config"]["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let config = serde_json::from_slice(&fs::read(copy.join(digest)).unwrap()).unwrap();
    fs::remove_dir_all(copy).unwrap();
    config
}

fn assert_is(image: &Image, config: &Value) {
    let expected: Value = serde_json::from_slice(&image.config).unwrap();
    assert_eq!(config["rootfs"], expected["rootfs"]);
    assert_eq!(config["architecture"], expected["architecture"]);
}

#[test]
fn docker_archives_of_all_layouts() {
    if skip::needs_program("skopeo") {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let [one, two] = pair();
    for layout in Layout::ALL {
        // skopeo 1.9 stops early in archives compressed with gzip.
        for compression in [Compression::None, Compression::Zstd, Compression::Bzip2, Compression::Xz] {
            let path = scratch.path().join("archive");
            let images: &[docker_archive::NamedImage<'_>] =
                &[(&one, &["one:1", "one:latest"]), (&two, &["two:2"]), (&one, &[])];
            fs::write(&path, compression.compress(&docker_archive::write(images, layout))).unwrap();
            let archive = format!("docker-archive:{}", path.display());
            assert_is(&one, &config_of(&format!("{archive}:one:latest"), scratch.path()));
            assert_is(&two, &config_of(&format!("{archive}:two:2"), scratch.path()));
            assert_is(&one, &config_of(&format!("{archive}:@2"), scratch.path()));
        }
    }
}

#[test]
fn docker_24_links_repeated_layers() {
    if skip::needs_program("tar") {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let [one, two] = pair();
    let path = scratch.path().join("archive");
    fs::write(&path, docker_archive::write(&[(&one, &["one:1"]), (&two, &["two:2"])], Layout::Docker24)).unwrap();
    let listing = run("tar", &["--list", "--verbose", "--file", path.to_str().unwrap()]);
    let count =
        |sign: char| listing.lines().filter(|line| line.starts_with(sign) && line.contains("layer.tar")).count();
    assert_eq!((count('-'), count('l')), (3, 1), "{listing}");
    assert!(listing.contains(" repositories\n"));
}

#[test]
fn oci_layouts_and_archives() {
    if skip::needs_program("skopeo") {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let image = ImageBuilder::new().compression(compression).layer(&layer("a")).build();
        let items = [(Item::Image(&image), Some("tag")), (Item::Image(&image), None)];
        let (layout, archive) = (scratch.path().join("layout"), scratch.path().join("archive"));
        fs::create_dir_all(&layout).unwrap();
        oci_layout::write(&layout, &items).unwrap();
        fs::write(&archive, oci_layout::archive(&items)).unwrap();
        assert_is(&image, &config_of(&format!("oci:{}:tag", layout.display()), scratch.path()));
        assert_is(&image, &config_of(&format!("oci-archive:{}:tag", archive.display()), scratch.path()));
    }
}

#[test]
fn docker_images_in_a_directory() {
    if skip::needs_program("skopeo") {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let image = ImageBuilder::new().format(Format::Docker).layer(&layer("a")).build();
    let source = scratch.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("version"), "Directory Transport Version: 1.1\n").unwrap();
    fs::write(source.join("manifest.json"), &image.manifest.bytes).unwrap();
    for (digest, bytes) in image.blobs() {
        fs::write(source.join(digest.hex()), bytes).unwrap();
    }
    assert_is(&image, &config_of(&format!("dir:{}", source.display()), scratch.path()));
}

#[test]
fn an_index_of_two_platforms_with_attestations() {
    if skip::needs_program("skopeo") {
        return;
    }
    let build = |platform: &str| ImageBuilder::new().platform(platform).layer(&layer(platform)).build();
    let index = IndexBuilder::new()
        .image(build("linux/amd64"))
        .attestation()
        .image(build("linux/arm64/v8"))
        .attestation()
        .build();
    assert_eq!(index.documents().last(), Some(&index.document));
    assert_eq!((index.documents().len(), index.blobs().len()), (5, 8));
    let scratch = tempfile::tempdir().unwrap();
    let archive = scratch.path().join("archive");
    fs::write(&archive, oci_layout::archive(&[(Item::Index(&index), Some("tag"))])).unwrap();
    let source = format!("oci-archive:{}:tag", archive.display());
    for (image, architecture) in index.images.iter().zip(["amd64", "arm64"]) {
        let copy = format!("dir:{}", scratch.path().join(architecture).display());
        let override_arch = format!("--override-arch={architecture}");
        run("skopeo", &["--insecure-policy", &override_arch, "copy", "--quiet", &source, &copy]);
        let manifest = fs::read(scratch.path().join(architecture).join("manifest.json")).unwrap();
        assert_eq!(manifest, image.manifest.bytes);
    }
    let all = format!("dir:{}", scratch.path().join("all").display());
    run("skopeo", &["--insecure-policy", "copy", "--quiet", "--all", &source, &all]);
}
