//! Archives and directories written by skopeo, in all its formats.

use std::env;
use std::path::Path;
use std::process::Command;

use vmroot_transport::{Archive, ImageName, ImageSource};

use crate::builder::{Image, docker_save, tar};
use crate::pull::{assert_same_image, options, pull};

#[expect(clippy::print_stderr, reason = "a skipped test reports the reason")]
fn skopeo_is_missing() -> bool {
    let missing = Command::new("skopeo").arg("--version").output().is_err();
    assert!(!missing || env::var_os("VMROOT_TEST_NO_SKIP").is_none(), "skopeo is not installed");
    if missing {
        eprintln!("skipped: needs skopeo");
    }
    missing
}

/// Copies an image with skopeo, and opens the copy by the same name.
fn copy(directory: &Path, from: &str, to: &str, more: &[&str]) -> Box<dyn ImageSource> {
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["--insecure-policy", "--override-arch", "arm64", "--tmpdir"]).arg(directory);
    let output = skopeo.args(["copy", "--quiet"]).args(more).args([from, to]).output().unwrap();
    assert!(output.status.success(), "{from} to {to}: {}", String::from_utf8_lossy(&output.stderr));
    let ImageName::Archive { format, path, selector } = ImageName::parse(to).unwrap() else { panic!("{to} is remote") };
    let archive = Archive::open_as(format, &path, &options(directory)).unwrap();
    assert_eq!(Archive::open(&path, &options(directory)).unwrap().format(), format);
    archive.source(&archive.select(&selector).unwrap()).unwrap()
}

#[test]
fn archives_written_by_skopeo() {
    if skopeo_is_missing() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    // The same layer twice: the archive has a link, which skopeo must follow.
    let base = Image::new(1, 2);
    let image = Image::of(vec![base.layers[0].clone(), base.layers[1].clone(), base.layers[0].clone()]);
    std::fs::write(at("saved.tar"), tar(&docker_save(&[(&image, &["example.com/a/b:1"])]))).unwrap();
    let saved = format!("docker-archive:{}:example.com/a/b:1", at("saved.tar"));

    let docker = format!("docker-archive:{}:example.com/c:2", at("docker.tar"));
    assert_same_image(&*copy(directory.path(), &saved, &docker, &[]), &image);
    let dir = format!("dir:{}", at("dir"));
    assert_same_image(&*copy(directory.path(), &docker, &dir, &["--dest-compress"]), &image);
    // Converting the image to another format changes its config, but not its layers.
    for (name, more) in [("oci", &[][..]), ("zstd", &["--dest-compress-format", "zstd"][..])] {
        let oci = format!("oci:{}:some/name", at(name));
        assert!(pull(&*copy(directory.path(), &dir, &oci, more)).layers == image.layers, "{name}");
        let archive = format!("oci-archive:{}:1.0", at(&format!("{name}.tar")));
        assert!(pull(&*copy(directory.path(), &oci, &archive, more)).layers == image.layers, "{name}");
    }
    // Two images in one layout, with different names.
    let other = Image::new(2, 1);
    std::fs::write(at("other.tar"), tar(&docker_save(&[(&other, &["o:1"])]))).unwrap();
    let second = format!("oci:{}:other", at("oci"));
    let source = copy(directory.path(), &format!("docker-archive:{}", at("other.tar")), &second, &[]);
    assert!(pull(&*source).layers == other.layers);
    let archive = Archive::open(Path::new(&at("oci")), &options(directory.path())).unwrap();
    assert_eq!(archive.images().len(), 2);
}
