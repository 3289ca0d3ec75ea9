//! `dir:` directories, and directories without images.

use vmroot_model::{Digest, MediaType};
use vmroot_testkit::FullMessage as _;
use vmroot_transport::{Archive, Error, Format, ImageSelector};

use crate::builder::{Image, file, gzip, unpack};
use crate::pull::{assert_same_image, options};

#[test]
fn a_directory_of_one_image() {
    let image = Image::new(1, 2);
    let blobs = image.blobs(&MediaType::OCI_LAYER_GZIP, gzip);
    let (manifest, parts) = blobs.split_last().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut members: Vec<_> = parts.iter().map(|blob| file(Digest::of(blob).hex(), blob.clone())).collect();
    members.push(file("version", "Directory Transport Version: 1.1\n"));
    members.push(file("manifest.json", manifest.clone()));
    unpack(&members, directory.path());
    let archive = Archive::open(directory.path(), &options(directory.path())).unwrap();
    assert_eq!(archive.format(), Format::Dir);
    let source = archive.source(&archive.select(&ImageSelector::Only).unwrap()).unwrap();
    assert_same_image(&*source, &image);
    let error = source.manifest(Some(&Digest::of(b"other"))).unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");

    std::fs::remove_file(directory.path().join(Digest::of(&parts[1]).hex())).unwrap();
    let descriptor = vmroot_model::Descriptor::of(MediaType::OCI_LAYER_GZIP, &parts[1]);
    assert!(matches!(source.blob(&descriptor, 0).unwrap_err(), Error::Missing { role: "blob", .. }));
    std::fs::write(directory.path().join("version"), "Directory Transport Version: 2.0\n").unwrap();
    let error = Archive::open(directory.path(), &options(directory.path())).unwrap_err().full_message();
    assert!(error.contains("version in"), "{error}");
}

#[test]
fn a_directory_of_anything_else() {
    let directory = tempfile::tempdir().unwrap();
    let error = Archive::open(directory.path(), &options(directory.path())).unwrap_err().full_message();
    assert!(error.contains("neither oci-layout nor manifest.json"), "{error}");
    let error = Archive::open_as(Format::DockerArchive, directory.path(), &options(directory.path())).unwrap_err();
    assert!(error.full_message().contains("is a directory"), "{error}");
    let error =
        Archive::open(&directory.path().join("missing"), &options(directory.path())).unwrap_err().full_message();
    assert!(error.contains("missing"), "{error}");
}
