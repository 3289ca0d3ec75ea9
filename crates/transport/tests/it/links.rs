//! Links, named pipes and devices in the place of a directory's files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, Mode, mkfifoat};
use vmroot_testkit::FullMessage as _;

use crate::copying::{Workplace, destination, read_all, source};

/// Returns the names of a layout's or a directory's documents and of one blob.
fn members(workplace: &Workplace, directory: &str) -> Vec<String> {
    let mut names = match directory {
        "source" => ["index.json", "oci-layout"].map(str::to_owned).to_vec(),
        _ => ["manifest.json", "version"].map(str::to_owned).to_vec(),
    };
    let blobs = if directory == "source" { "source/blobs/sha256" } else { directory };
    let prefix = if directory == "source" { "blobs/sha256/" } else { "" };
    let blobs = workplace.list(blobs).into_iter().filter(|name| name.len() == 64);
    names.extend(blobs.map(|name| format!("{prefix}{name}")));
    names
}

/// Opens an image and reads all of it. Returns the first error.
fn read(name: &str, spool: &Path) -> Result<(), String> {
    let source = source(name, spool).map_err(|error| error.full_message())?;
    let manifest = source.manifest(None).map_err(|error| error.full_message())?;
    let document = vmroot_model::Document::parse(manifest.bytes, None).map_err(|error| error.full_message())?;
    let vmroot_model::Document::Manifest(manifest) = document else { return Err("a list".to_owned()) };
    for blob in [manifest.config()].into_iter().chain(manifest.layers()) {
        let body = source.blob(blob, 0).map_err(|error| error.full_message())?;
        std::io::copy(&mut { body.reader }, &mut std::io::sink()).unwrap();
    }
    Ok(())
}

#[test]
fn pipes_and_devices_are_not_opened() {
    let mut refused = 0;
    for (directory, name) in [("source", "oci:source:image"), ("plain", "dir:plain")] {
        for member in members(&Workplace::new(), directory) {
            let workplace = Workplace::new();
            let path = workplace.path(directory).join(&member);
            fs::remove_file(&path).unwrap();
            mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
            for _ in 0..2 {
                // The blobs of the layout's other images are not read.
                if let Err(error) = read(&workplace.name(name), workplace.directory()) {
                    assert!(error.contains(&member) && error.contains("is not a regular file"), "{error}");
                    refused += 1;
                }
                // A destination reads the documents of the image that it replaces.
                if let Ok(to) = destination(&workplace.name(name), &workplace.options()) {
                    let _ = to.current();
                }
                fs::remove_file(&path).unwrap();
                symlink("/dev/zero", &path).unwrap();
            }
        }
    }
    // 4 documents, the manifest and 4 blobs of the image, and 3 of the other one, each twice.
    assert_eq!(refused, 2 * (4 + 5 + 3));
}

#[test]
fn a_layout_of_links_to_files_elsewhere_is_read() {
    let workplace = Workplace::new();
    for (directory, name) in [("source", "oci:source:list"), ("plain", "dir:plain")] {
        let original = read_all(&*workplace.source(name));
        for member in members(&workplace, directory) {
            let path = workplace.path(directory).join(&member);
            let elsewhere = workplace.path("elsewhere").join(directory).join(&member);
            fs::create_dir_all(elsewhere.parent().unwrap()).unwrap();
            fs::rename(&path, &elsewhere).unwrap();
            symlink(elsewhere, &path).unwrap();
        }
        assert!(read_all(&*workplace.source(name)) == original, "{name}");
    }
}

#[test]
fn content_of_files_elsewhere_is_not_shown() {
    for secret in
        ["secret", "\"secret\"", r#"{"imageLayoutVersion":"secret","schemaVersion":"secret"}"#, "[\"secret\"]"]
    {
        let outside = tempfile::tempdir().unwrap();
        let file = outside.path().join("file");
        fs::write(&file, secret).unwrap();
        for (directory, name) in [("source", "oci:source:image"), ("plain", "dir:plain")] {
            for member in members(&Workplace::new(), directory).iter().take(2) {
                let workplace = Workplace::new();
                let path = workplace.path(directory).join(member);
                fs::remove_file(&path).unwrap();
                symlink(&file, &path).unwrap();
                let error = read(&workplace.name(name), workplace.directory()).unwrap_err();
                assert!(error.contains(member) && error.contains("link to a file elsewhere"), "{error}");
                assert!(!error.contains("secret"), "{error}");
            }
        }
    }
}

#[test]
fn content_of_files_elsewhere_is_not_copied() {
    let workplace = Workplace::new();
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("file");
    let layer = workplace.list("plain").into_iter().find(|name| name.len() == 64).unwrap();
    let size = fs::metadata(workplace.path("plain").join(&layer)).unwrap().len();
    fs::write(&file, "secret".repeat(size as usize).as_bytes().split_at(size as usize).0).unwrap();
    fs::remove_file(workplace.path("plain").join(&layer)).unwrap();
    symlink(&file, workplace.path("plain").join(&layer)).unwrap();
    for to in ["oci:layout:a", "dir:dir", "docker-archive:a.tar:a:b", "oci-archive:b.tar:a"] {
        let to_destination = workplace.destination(to);
        let error = crate::copying::copy(&*workplace.source("dir:plain"), &*to_destination).unwrap_err().full_message();
        assert!(error.contains(&layer) && !error.contains("secret"), "{error}");
    }
    assert!(!workplace.path("dir").exists() && !workplace.path("a.tar").exists() && !workplace.path("b.tar").exists());
    assert!(!workplace.path("layout/blobs/sha256").join(&layer).exists());
}
