//! Images made of tars.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use vmroot_model::{Digest, Platform};
use vmroot_testkit::skip;
use vmroot_transport::{Archive, Error, ImageSource, TarballOptions, open_tarball};

use crate::builder::{Image, bzip2, gzip, xz, zstd};
use crate::pull::{options, pull};

fn tarball_options(spool: &Path) -> TarballOptions {
    TarballOptions {
        archive: options(spool),
        platform: Platform::parse("linux/arm64/v8").unwrap(),
        created: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)),
    }
}

/// Writes files, and opens them as one image.
fn open(directory: &Path, files: &[Vec<u8>]) -> Result<Box<dyn ImageSource>, Error> {
    let write = |(number, bytes): (usize, &Vec<u8>)| {
        let path = directory.join(format!("{number}.tar"));
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let paths: Vec<PathBuf> = files.iter().enumerate().map(write).collect();
    open_tarball(&paths, &tarball_options(directory))
}

#[test]
fn each_file_is_a_layer_in_every_compression() {
    let image = Image::new(1, 5);
    let encodings = [<[u8]>::to_vec as fn(&[u8]) -> _, gzip, zstd, bzip2, xz];
    let files: Vec<_> = image.layers.iter().zip(encodings).map(|(layer, encode)| encode(layer)).collect();
    let directory = tempfile::tempdir().unwrap();
    let source = open(directory.path(), &files).unwrap();
    assert!(source.name().starts_with("tarball:/") && source.name().ends_with("/4.tar"));
    let pulled = pull(&*source);
    assert!(pulled.layers == image.layers);

    let config: Value = serde_json::from_slice(&pulled.config).unwrap();
    let diff_id = Digest::of(&image.layers[0]);
    assert_eq!(
        (&config["created"], &config["os"], &config["architecture"], config.get("variant")),
        (&json!("2001-09-09T01:46:40Z"), &json!("linux"), &json!("arm64"), None)
    );
    assert_eq!(config["rootfs"]["diff_ids"][0], json!(diff_id));
    assert_eq!(
        config["history"][0],
        json!({
            "created": "2001-09-09T01:46:40Z",
            "created_by": format!("/bin/sh -c #(nop) ADD file:{} in /", diff_id.hex()),
            "comment": "imported from tarball",
        })
    );
    let manifest: Value = serde_json::from_slice(&source.manifest(None).unwrap().bytes).unwrap();
    let types: Vec<_> = manifest["layers"].as_array().unwrap().iter().map(|layer| &layer["mediaType"]).collect();
    let tar = "application/vnd.oci.image.layer.v1.tar";
    assert_eq!(types, [tar, &format!("{tar}+gzip"), &format!("{tar}+zstd"), tar, tar]);
    // The files themselves and nothing else: spooled layers have no names.
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 5);
}

#[test]
fn the_image_is_as_old_as_its_newest_file() {
    let directory = tempfile::tempdir().unwrap();
    let image = Image::new(2, 2);
    let mut paths = Vec::new();
    for (at, seconds) in [(0, 2_000_000_000), (1, 1_000_000_000)] {
        let path = directory.path().join(format!("{at}"));
        std::fs::write(&path, &image.layers[at]).unwrap();
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        paths.push(path);
    }
    let options = TarballOptions { created: None, ..tarball_options(directory.path()) };
    let config: Value = serde_json::from_slice(&pull(&*open_tarball(&paths, &options).unwrap()).config).unwrap();
    assert_eq!(config["created"], "2033-05-18T03:33:20Z");
    assert_eq!(config["history"][1]["created"], "2001-09-09T01:46:40Z");
}

#[test]
fn through_a_pipe() {
    let image = Image::new(3, 1);
    let bytes = gzip(&image.layers[0]);
    let spool = tempfile::tempdir().unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader)));
    let writing = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
    let source = open_tarball(&[path], &tarball_options(spool.path())).unwrap();
    writing.join().unwrap();
    assert!(pull(&*source).layers == image.layers);
}

#[test]
fn files_that_are_not_tars_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let layer = Image::new(4, 1).layers.remove(0);
    let mut wrong_checksum = layer.clone();
    wrong_checksum[0] ^= 1;
    for bytes in [Vec::new(), b"text".to_vec(), gzip(b"text"), vec![7; 4096], wrong_checksum] {
        let error = open(directory.path(), &[layer.clone(), bytes]).unwrap_err();
        assert!(matches!(&error, Error::NotAnArchive { path, .. } if path.ends_with("1.tar")), "{error}");
    }
    let truncated = gzip(&layer);
    let error = open(directory.path(), &[truncated[..truncated.len() / 2].to_vec()]).unwrap_err();
    assert!(matches!(error, Error::Decompress { .. }), "{error}");
    let options = tarball_options(directory.path());
    let error = open_tarball(&[directory.path().to_owned()], &options).unwrap_err().to_string();
    assert!(error.contains("it is a directory"), "{error}");
    let error = open_tarball(&[directory.path().join("missing")], &options).unwrap_err().to_string();
    assert!(error.contains("cannot open") && error.contains("missing"), "{error}");
    for files in [&[][..], &[PathBuf::from("-"), PathBuf::from("-")]] {
        assert!(matches!(open_tarball(files, &options).unwrap_err(), Error::InvalidName { .. }));
    }
    // A tar without members is an empty layer.
    assert!(open(directory.path(), &[vec![0; 1024]]).is_ok());
}

#[test]
fn skopeo_makes_the_same_layers_and_history() {
    if skip::needs_program("skopeo") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = Image::new(5, 2);
    let source = open(directory.path(), &[image.layers[0].clone(), gzip(&image.layers[1])]).unwrap();
    let from = source.name();
    let to = directory.path().join("dir");
    let skopeo = Command::new("skopeo")
        .args(["--insecure-policy", "copy", "--quiet", &from, &format!("dir:{}", to.display())])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(skopeo.status.success(), "{}", String::from_utf8_lossy(&skopeo.stderr));
    let archive = Archive::open(&to, &options(directory.path())).unwrap();
    let theirs = archive.source(&archive.images()[0]).unwrap();
    let document =
        |source: &dyn ImageSource| -> Value { serde_json::from_slice(&source.manifest(None).unwrap().bytes).unwrap() };
    assert_eq!(document(&*source)["layers"], document(&*theirs)["layers"]);
    let config = |source: &dyn ImageSource| -> Value {
        let digest = document(source)["config"].clone();
        let mut bytes = Vec::new();
        let mut body = source.blob(&serde_json::from_value(digest).unwrap(), 0).unwrap();
        std::io::Read::read_to_end(&mut body.reader, &mut bytes).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let (ours, theirs) = (config(&*source), config(&*theirs));
    assert_eq!(ours["rootfs"], theirs["rootfs"]);
    for (ours, theirs) in ours["history"].as_array().unwrap().iter().zip(theirs["history"].as_array().unwrap()) {
        assert_eq!((&ours["created_by"], &ours["comment"]), (&theirs["created_by"], &theirs["comment"]));
    }
}
