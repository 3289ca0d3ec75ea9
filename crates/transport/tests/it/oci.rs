//! OCI layouts in directories and in tars.

use serde_json::{Value, json};
use vmroot_model::{Digest, Document, MediaType, Reference};
use vmroot_testkit::FullMessage as _;
use vmroot_transport::{Archive, Error, Format, ImageSelector};

use crate::builder::{Image, Member, blob_name, docker_save, entry, file, gzip, oci_layout, tar, unpack, xz, zstd};
use crate::pull::{SavedArchive, assert_same_image, name, options};

fn ref_name(name: &str) -> Value {
    json!({ "annotations": { "org.opencontainers.image.ref.name": name } })
}

fn platform(architecture: &str) -> Value {
    json!({ "platform": { "os": "linux", "architecture": architecture } })
}

/// Returns the blobs of an image, and its entry in an index.
fn stored(image: &Image, more: &Value) -> (Vec<Vec<u8>>, Value) {
    let blobs = image.blobs(&MediaType::OCI_LAYER_ZSTD, zstd);
    let entry = entry(&MediaType::OCI_MANIFEST, blobs.last().unwrap(), more);
    (blobs, entry)
}

#[test]
fn directory_and_archive_and_compressed_archive() {
    let image = Image::new(1, 3);
    let (blobs, entry) = stored(&image, &ref_name("alpine:3.20"));
    let members = oci_layout(&blobs, &[entry]);
    let directory = tempfile::tempdir().unwrap();
    unpack(&members, &directory.path().join("layout"));
    let archive = Archive::open(&directory.path().join("layout"), &options(directory.path())).unwrap();
    assert_eq!(archive.format(), Format::OciLayout);
    assert_eq!(archive.images()[0].references, [Reference::parse("alpine:3.20").unwrap()]);
    assert_same_image(&*archive.source(&archive.images()[0]).unwrap(), &image);
    for bytes in [tar(&members), gzip(&tar(&members)), xz(&tar(&members))] {
        let saved = SavedArchive::new(&bytes);
        assert_eq!(saved.open().unwrap().format(), Format::OciArchive);
        let source = saved.source(&name("alpine:3.20")).unwrap();
        assert_eq!(source.name(), format!("oci-archive:{}:alpine:3.20", saved.path.display()));
        assert_same_image(&*source, &image);
    }
}

#[test]
fn selected_by_annotation_or_index() {
    let images = [Image::new(2, 1), Image::new(3, 2), Image::new(4, 1)];
    let full = json!({ "annotations": {
        "io.containerd.image.name": "docker.io/library/debian:12", "org.opencontainers.image.ref.name": "12",
    } });
    let stored = [stored(&images[0], &ref_name("latest")), stored(&images[1], &full), stored(&images[2], &json!({}))];
    let blobs: Vec<Vec<u8>> = stored.iter().flat_map(|(blobs, _)| blobs.clone()).collect();
    let saved = SavedArchive::tar(&oci_layout(&blobs, &stored.map(|(_, entry)| entry)));
    for (selector, wanted) in [
        (name("latest"), 0),
        (name("debian:12"), 1),
        (name("12"), 1),
        (name("docker.io/library/debian:12"), 1),
        (ImageSelector::Index(0), 0),
        (ImageSelector::Index(2), 2),
    ] {
        assert_same_image(&*saved.source(&selector).unwrap(), &images[wanted]);
    }
    let archive = saved.open().unwrap();
    assert_eq!(archive.images()[0].references, [], "a tag alone is not a reference");
    assert_eq!(archive.images()[1].references, [Reference::parse("debian:12").unwrap()]);
    let error = archive.select(&ImageSelector::Only).unwrap_err().full_message();
    assert!(error.contains("latest (@0), docker.io/library/debian:12 (@1), @2"), "{error}");
    assert!(matches!(archive.select(&name("11")).unwrap_err(), Error::NoSuchImage { .. }));
}

#[test]
fn an_index_within_the_index() {
    let (arm, amd) = (Image::new(5, 2), Image::new(6, 2));
    let (mut blobs, arm_entry) = stored(&arm, &platform("arm64"));
    let (amd_blobs, amd_entry) = stored(&amd, &platform("amd64"));
    blobs.extend(amd_blobs);
    let media_type = MediaType::OCI_INDEX;
    let inner = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": [amd_entry, arm_entry] });
    blobs.push(inner.to_string().into_bytes());
    let top = entry(&media_type, blobs.last().unwrap(), &ref_name("a:1"));
    assert_same_image(&*SavedArchive::tar(&oci_layout(&blobs, &[top])).source(&ImageSelector::Only).unwrap(), &arm);
}

#[test]
fn platforms_as_entries_of_the_layouts_index() {
    let (arm, amd, other) = (Image::new(7, 1), Image::new(8, 1), Image::new(9, 1));
    let (mut blobs, arm_entry) = stored(&arm, &platform("arm64"));
    let (amd_blobs, amd_entry) = stored(&amd, &platform("amd64"));
    let (other_blobs, other_entry) = stored(&other, &ref_name("other:1"));
    blobs.extend(amd_blobs);
    let saved = SavedArchive::tar(&oci_layout(&blobs, &[amd_entry.clone(), arm_entry.clone()]));
    assert_eq!(saved.open().unwrap().images().len(), 1);
    assert_same_image(&*saved.source(&ImageSelector::Only).unwrap(), &arm);
    assert_same_image(&*saved.source(&ImageSelector::Index(1)).unwrap(), &arm);
    let amd_alone = saved.source(&ImageSelector::Index(0)).unwrap().manifest(None).unwrap();
    assert!(matches!(Document::parse(amd_alone.bytes, None).unwrap(), Document::Manifest(_)));

    // With another image in the list, the index is created from the entries of the image.
    blobs.extend(other_blobs);
    let saved = SavedArchive::tar(&oci_layout(&blobs, &[amd_entry, other_entry, arm_entry.clone()]));
    let archive = saved.open().unwrap();
    assert_eq!(archive.images().len(), 2);
    let source = archive.source(&archive.images()[0]).unwrap();
    assert_same_image(&*source, &arm);
    let index = source.manifest(None).unwrap().bytes;
    assert_eq!(source.manifest(Some(&Digest::of(&index))).unwrap().bytes, index);
    assert_same_image(&*saved.source(&name("other:1")).unwrap(), &other);

    // Two images for one platform are two images.
    let saved = SavedArchive::tar(&oci_layout(&blobs, &[arm_entry.clone(), arm_entry]));
    assert!(matches!(saved.source(&ImageSelector::Only).unwrap_err(), Error::SeveralImages { .. }));
}

#[test]
fn digests_of_manifests_are_checked() {
    let image = Image::new(10, 1);
    let (blobs, entry) = stored(&image, &json!({}));
    let mut members = oci_layout(&blobs, std::slice::from_ref(&entry));
    let manifest = blob_name(blobs.last().unwrap());
    members.push(file(&manifest, r#"{"schemaVersion":2}"#));
    let error = SavedArchive::tar(&members).source(&ImageSelector::Only).unwrap().manifest(None).unwrap_err();
    assert!(matches!(&error, Error::DigestMismatch { member, .. } if *member == manifest), "{error}");

    members.retain(|member| !matches!(member, Member::File(name, _) if *name == manifest));
    let error = SavedArchive::tar(&members).source(&ImageSelector::Only).unwrap().manifest(None).unwrap_err();
    assert!(matches!(&error, Error::Missing { role: "manifest", member, .. } if *member == manifest), "{error}");
}

#[test]
fn other_versions_and_other_documents_are_refused() {
    let with = |members: &[Member]| {
        let saved = SavedArchive::tar(members);
        Archive::open_as(Format::OciArchive, &saved.path, &saved.options()).unwrap_err()
    };
    let index = file("index.json", r#"{"schemaVersion":2,"manifests":[]}"#);
    let layout = file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    for (members, wanted) in [
        (vec![index.clone()], "oci-layout not found"),
        (vec![index.clone(), file("oci-layout", r#"{"imageLayoutVersion":"2.0.0"}"#)], "version \"2.0.0\""),
        (vec![index.clone(), file("oci-layout", "1.0.0")], "oci-layout in"),
        (vec![layout.clone()], "index index.json not found"),
        (vec![layout.clone(), file("index.json", "{}")], "index.json in"),
        (vec![layout.clone(), file("index.json", r#"{"schemaVersion":2,"config":{},"layers":[]}"#)], "index.json in"),
        (docker_save(&[]), "oci-layout not found"),
    ] {
        let error = with(&members).to_string();
        assert!(error.contains(wanted), "{error}");
    }
    let empty = SavedArchive::tar(&[index, layout]);
    assert_eq!(empty.open().unwrap().images().len(), 0);
    assert!(matches!(empty.source(&ImageSelector::Only).unwrap_err(), Error::NoImages { .. }));
}

/// Containers/image counts all entries. An entry with the type of a manifest can be read by its index.
#[test]
fn an_attestation_is_no_image_but_has_an_index() {
    let image = Image::new(11, 1);
    let (blobs, entry) = stored(&image, &ref_name("a"));
    let unknown = json!({ "platform": { "os": "unknown", "architecture": "unknown" } });
    let attestation = self::entry(&MediaType::OCI_MANIFEST, blobs.last().unwrap(), &unknown);
    let other = self::entry(&MediaType::new("text/plain"), b"text", &ref_name("text"));
    let saved = SavedArchive::tar(&oci_layout(&blobs, &[entry, attestation, other]));
    assert_eq!(saved.open().unwrap().tags(), ["a", "text"]);
    assert_same_image(&*saved.source(&ImageSelector::Index(1)).unwrap(), &image);
    for selector in [name("text"), ImageSelector::Index(2)] {
        let error = saved.source(&selector).unwrap_err();
        assert!(matches!(&error, Error::Member { .. }) && error.to_string().contains("text/plain"), "{error}");
    }
    assert!(matches!(saved.source(&ImageSelector::Index(3)).unwrap_err(), Error::NoSuchImage { .. }));
}

#[test]
fn foreign_layers_are_fetched_if_the_layout_lacks_them() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use vmroot_model::Descriptor;
    use vmroot_transport::{BlobBody, ForeignLayers};

    let workplace = crate::copying::Workplace::new();
    let archive = Archive::open(&workplace.path("source"), &options(workplace.directory())).unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let archive = archive.with_foreign_layers(ForeignLayers::new(move |_, offset| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(BlobBody { reader: Box::new(&b"elsewhere"[offset as usize..]), offset, size: Some(9) })
    }));
    let source = archive.source(&archive.images()[0]).unwrap();
    let foreign = |media_type| Descriptor {
        urls: vec!["https://example.com/layer".to_owned()],
        ..Descriptor::of(media_type, b"elsewhere")
    };
    let missing = foreign(MediaType::OCI_FOREIGN_LAYER);
    let text = std::io::read_to_string(source.blob(&missing, 4).unwrap().reader).unwrap();
    assert_eq!((text.as_str(), count.load(Ordering::SeqCst)), ("where", 1));
    assert_eq!(source.sniff(&missing).unwrap(), None);
    // An ordinary layer with a URL is not fetched, and a layer that is there neither.
    let error = source.blob(&foreign(MediaType::OCI_LAYER), 0).unwrap_err();
    assert!(matches!(error, Error::Missing { role: "blob", .. }), "{error}");
    let present = Descriptor { digest: vmroot_model::Digest::of(b"the content of an artifact"), size: 26, ..missing };
    let text = std::io::read_to_string(source.blob(&present, 0).unwrap().reader).unwrap();
    assert_eq!((text.as_str(), count.load(Ordering::SeqCst)), ("the content of an artifact", 1));
}
