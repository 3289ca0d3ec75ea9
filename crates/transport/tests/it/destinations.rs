//! Destinations in files and directories, read back by this crate.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::thread;

use serde_json::{Value, json};
use vmroot_errors::ErrorKind;
use vmroot_model::{Algorithm, Descriptor, Digest, Hasher, MediaType, Reference};
use vmroot_testkit::FullMessage as _;
use vmroot_transport::{
    Archive, BlobRole, Error, ImageDestination, ImageName, LayerForm, ManifestPlace, NewBlob, Reuse, delete_image,
    open_destination,
};

use crate::copying::{KINDS, Workplace, copy, destination, read_all, source};
use crate::pull::options;

/// Returns the digest of an image's top document.
fn top(workplace: &Workplace, name: &str) -> Digest {
    Digest::of(&workplace.source(name).manifest(None).unwrap().bytes)
}

#[test]
fn images_lists_and_artifacts_come_back() {
    let workplace = Workplace::new();
    for kind in KINDS {
        let from = format!("oci:source:{kind}");
        let original = read_all(&*workplace.source(&from));
        for to in [format!("oci:layout:{kind}"), format!("oci-archive:{kind}.tar:{kind}"), format!("dir:dir-{kind}")] {
            let destination = workplace.destination(&to);
            assert_eq!(destination.current().unwrap(), None, "{to}");
            copy(&*workplace.source(&from), &*destination).unwrap();
            let copied = read_all(&*workplace.source(&to));
            assert!(copied == original, "{to}");
            assert_eq!(destination.name(), workplace.name(&to));
        }
        for to in [format!("oci:layout:{kind}"), format!("dir:dir-{kind}")] {
            assert_eq!(workplace.destination(&to).current().unwrap(), Some(top(&workplace, &from)), "{to}");
        }
    }
    assert_eq!(workplace.list("layout"), ["blobs", "index.json", "oci-layout"]);
    assert_eq!(workplace.list("layout/blobs"), ["sha256"]);
    workplace.copy("dir:plain", "docker-archive:docker.tar:example.com/a/b");
    let archive = workplace.source("docker-archive:docker.tar:example.com/a/b:latest");
    let (original, copied) = (read_all(&*workplace.source("dir:plain")), read_all(&*archive));
    assert!(original[1..] == copied[1..]);
    assert!(workplace.list("").iter().all(|name| !name.starts_with(".tmp")));
}

#[test]
fn files_are_readable_by_everyone() {
    let workplace = Workplace::new();
    workplace.copy("oci:source:image", "oci:layout:a");
    workplace.copy("oci:source:image", "dir:dir");
    let mut found = vec![workplace.path("layout"), workplace.path("dir")];
    let mut files = 0;
    while let Some(path) = found.pop() {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        if path.is_dir() {
            assert_eq!(mode & 0o700, 0o700, "{path:?}");
            found.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            assert_eq!(mode, 0o644, "{path:?}");
            files += 1;
        }
    }
    assert_eq!(files, 2 + 5 + 2 + 4);
}

#[test]
fn a_name_in_a_layout_moves_to_the_new_image() {
    let workplace = Workplace::new();
    workplace.copy("oci:source:image", "oci:layout:a");
    workplace.copy("oci:source:artifact", "oci:layout:b");
    workplace.copy("oci:source:list", "oci:layout:a");
    let index: Value = serde_json::from_slice(&workplace.read("layout/index.json")).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    let digests: Vec<&str> = entries.iter().map(|entry| entry["digest"].as_str().unwrap()).collect();
    let wanted = ["image", "artifact", "list"].map(|kind| top(&workplace, &format!("oci:source:{kind}")).to_string());
    assert_eq!(digests, wanted);
    let names: Vec<&Value> = entries.iter().map(|entry| &entry["annotations"]).collect();
    let named = |name: &str| json!({ "org.opencontainers.image.ref.name": name });
    assert_eq!(names, [&Value::Null, &named("b"), &named("a")]);
    // Without a name, the same image takes its old place, and another one is added.
    workplace.copy("oci:source:image", "oci:layout");
    let index: Value = serde_json::from_slice(&workplace.read("layout/index.json")).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 3);
    assert_eq!(workplace.destination("oci:layout").current().unwrap(), Some(top(&workplace, "oci:source:image")));
    assert!(matches!(source(&workplace.name("oci:layout"), workplace.directory()), Err(Error::SeveralImages { .. })));
}

#[test]
fn a_layout_of_another_version_or_with_another_index_is_refused() {
    let workplace = Workplace::new();
    for (file, content, reason) in [
        ("oci-layout", r#"{"imageLayoutVersion":"2.0.0"}"#, "version \"2.0.0\""),
        ("oci-layout", "x", "is not a layout version"),
        ("index.json", "[]", "is not an index"),
        ("index.json", "", "is not an index"),
    ] {
        fs::create_dir(workplace.path("other")).unwrap();
        fs::write(workplace.path("other").join(file), content).unwrap();
        let error = destination(&workplace.name("oci:other"), &workplace.options()).unwrap_err();
        assert!(matches!(&error, Error::Member { member, .. } if member == file), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(fs::read_to_string(workplace.path("other").join(file)).unwrap(), content);
        fs::remove_dir_all(workplace.path("other")).unwrap();
    }
    fs::write(workplace.path("file"), "x").unwrap();
    for transport in ["oci", "dir"] {
        let error = destination(&workplace.name(&format!("{transport}:file")), &workplace.options()).unwrap_err();
        assert!(matches!(error, Error::Occupied { .. }), "{error}");
    }
}

#[test]
fn layouts_can_share_their_blobs() {
    let workplace = Workplace::new();
    let mut options = workplace.options();
    options.shared_blob_dir = Some(workplace.path("shared"));
    for (kind, layout) in [("image", "one"), ("list", "two")] {
        let to = destination(&workplace.name(&format!("oci:{layout}:{kind}")), &options).unwrap();
        copy(&*workplace.source(&format!("oci:source:{kind}")), &*to).unwrap();
        assert_eq!(to.current().unwrap(), Some(top(&workplace, &format!("oci:source:{kind}"))));
        assert_eq!(workplace.list(&format!("{layout}/blobs")), [""; 0]);
        let archive = Archive::open(&workplace.path(layout), &self::options(workplace.directory())).unwrap();
        let archive = archive.with_shared_blobs(&workplace.path("shared"));
        let copied = read_all(&*archive.source(&archive.images()[0]).unwrap());
        assert!(copied == read_all(&*workplace.source(&format!("oci:source:{kind}"))));
    }
    assert_eq!(workplace.list("shared"), ["sha256"]);
    let alone = workplace.source("oci:one:image").manifest(None).unwrap_err();
    assert!(matches!(alone, Error::Missing { role: "manifest", .. }), "{alone}");
}

#[test]
fn threads_write_to_one_layout_at_once() {
    let workplace = Workplace::new();
    let originals: Vec<_> =
        KINDS.iter().map(|kind| read_all(&*workplace.source(&format!("oci:source:{kind}")))).collect();
    thread::scope(|scope| {
        for number in 0..12 {
            let workplace = &workplace;
            scope.spawn(move || {
                let kind = KINDS[number % 3];
                workplace.copy(&format!("oci:source:{kind}"), &format!("oci:layout:{kind}-{number}"));
            });
        }
    });
    for number in 0..12 {
        let copied = read_all(&*workplace.source(&format!("oci:layout:{}-{number}", KINDS[number % 3])));
        assert!(copied == originals[number % 3]);
    }
    assert_eq!(workplace.list("layout"), ["blobs", "index.json", "oci-layout"]);
}

#[test]
fn a_wrong_blob_leaves_no_file() {
    let workplace = Workplace::new();
    let descriptor = Descriptor::of(MediaType::OCI_LAYER, b"right");
    for to in ["oci:layout:a", "oci-archive:a.tar:a", "dir:dir", "docker-archive:docker.tar"] {
        let destination = workplace.destination(to);
        for (content, reason) in [("wrong", "should have digest"), ("rig", "has 3 bytes"), ("rights", "more than")] {
            let mut blob = NewBlob::known(&descriptor, BlobRole::Layer, content.as_bytes());
            let error = destination.put_blob(&mut blob).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Integrity);
            let Error::Blob { source, .. } = error else { panic!("{error}") };
            assert!(source.to_string().contains(reason), "{source}");
            assert_eq!(destination.reuse_blob(&descriptor, &[]).unwrap(), Reuse::Absent);
        }
        // A second attempt succeeds.
        destination.put_blob(&mut NewBlob::known(&descriptor, BlobRole::Layer, &b"right"[..])).unwrap();
        assert_eq!(destination.reuse_blob(&descriptor, &[]).unwrap(), Reuse::Present);
        let other = Descriptor { size: 6, ..descriptor.clone() };
        assert_eq!(destination.reuse_blob(&other, &[]).unwrap(), Reuse::Absent);
        let error = destination.commit().unwrap_err();
        assert!(matches!(error, Error::NoManifest { .. }), "{error}");
    }
    for path in ["a.tar", "dir", "docker.tar"] {
        assert!(!workplace.path(path).exists(), "{path}");
    }
    assert_eq!(workplace.list("layout/blobs/sha256"), [descriptor.digest.hex()]);
    assert_eq!(workplace.list("layout"), ["blobs", "index.json", "oci-layout"]);
    assert!(workplace.list("").iter().all(|name| !name.starts_with(".tmp")), "{:?}", workplace.list(""));
}

/// An error of a source stays what it is, so that a copy can decide whether to try again.
#[test]
fn an_error_of_the_source_is_returned() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other(Error::NoImages { path: "the source".into() }))
        }
    }
    let workplace = Workplace::new();
    for to in ["oci:layout", "oci-archive:a.tar"] {
        let mut blob = NewBlob::unknown(MediaType::OCI_LAYER, BlobRole::Layer, Failing);
        let error = workplace.destination(to).put_blob(&mut blob).unwrap_err();
        assert!(matches!(error, Error::NoImages { .. }), "{error}");
    }
}

#[test]
fn digests_by_sha512() {
    let workplace = Workplace::new();
    let sha512 = |bytes: &[u8]| {
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(bytes);
        hasher.finish()
    };
    let entry = |media_type: &MediaType, bytes: &[u8]| json!({ "mediaType": media_type, "digest": sha512(bytes), "size": bytes.len() });
    let (config, layer) = (b"{}".to_vec(), b"a layer".to_vec());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": entry(&MediaType::OCI_EMPTY, &config),
        "layers": [entry(&MediaType::new("text/plain"), &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let index = json!({ "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [entry(&MediaType::OCI_MANIFEST, &manifest)] });
    let index = index.to_string().into_bytes();
    for to in ["oci:layout:a", "oci-archive:a.tar:a", "dir:dir"] {
        let destination = workplace.destination(to);
        for (bytes, role) in [(&config, BlobRole::Config), (&layer, BlobRole::Layer)] {
            let descriptor = Descriptor::new(MediaType::OCI_LAYER, sha512(bytes), bytes.len() as u64);
            destination.put_blob(&mut NewBlob::known(&descriptor, role, &bytes[..])).unwrap();
            assert_eq!(destination.reuse_blob(&descriptor, &[]).unwrap(), Reuse::Present);
        }
        destination.put_manifest(&manifest, &MediaType::OCI_MANIFEST, ManifestPlace::Instance).unwrap();
        destination.put_manifest(&index, &MediaType::OCI_INDEX, ManifestPlace::Top).unwrap();
        destination.commit().unwrap();
        let copied = read_all(&*workplace.source(to));
        assert!(copied == [index.clone(), manifest.clone(), config.clone(), layer.clone()], "{to}");
    }
    assert_eq!(workplace.read("dir/version"), b"Directory Transport Version: 1.2\n");
    assert!(workplace.path("dir").join(format!("sha512-{}", sha512(&layer).hex())).is_file());
    assert!(workplace.path("dir").join(format!("sha512-{}.manifest.json", sha512(&manifest).hex())).is_file());
    assert!(workplace.path("layout/blobs/sha512").join(sha512(&manifest).hex()).is_file());
    // The next image in the directory has no such digests.
    workplace.copy("oci:source:image", "dir:dir");
    assert_eq!(workplace.read("dir/version"), b"Directory Transport Version: 1.1\n");
    assert_eq!(workplace.list("dir").len(), 2 + 4);
}

#[test]
fn a_directory_is_replaced_only_if_it_has_an_image() {
    let workplace = Workplace::new();
    let dir = workplace.path("dir");
    // An empty directory keeps its mode and identity.
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o750)).unwrap();
    let inode = fs::metadata(&dir).unwrap().ino();
    workplace.copy("oci:source:list", "dir:dir");
    fs::write(dir.join("signature-1"), "old").unwrap();
    fs::create_dir(dir.join("more")).unwrap();
    // Until the commit the directory has its old image.
    let destination = workplace.destination("dir:dir");
    let old = top(&workplace, "oci:source:list");
    assert_eq!(destination.current().unwrap(), Some(old));
    let original = workplace.source("oci:source:image");
    let manifest = original.manifest(None).unwrap();
    destination.put_manifest(&manifest.bytes, &MediaType::OCI_MANIFEST, ManifestPlace::Top).unwrap();
    assert_eq!(top(&workplace, "dir:dir"), old);
    assert!(read_all(&*workplace.source("dir:dir")) == read_all(&*workplace.source("oci:source:list")));
    drop(destination);
    assert_eq!(top(&workplace, "dir:dir"), old);
    workplace.copy("oci:source:image", "dir:dir");
    assert!(read_all(&*workplace.source("dir:dir")) == read_all(&*original));
    assert_eq!(workplace.list("dir").len(), 2 + 4, "{:?}", workplace.list("dir"));
    let metadata = fs::metadata(&dir).unwrap();
    assert_eq!((metadata.ino(), metadata.permissions().mode() & 0o777), (inode, 0o750));

    for (version, reason) in [
        (Some("Directory Transport Version: 1.3\n"), "has version 1.3; 1.2 is the newest known"),
        (Some("something else"), "is not the version of a dir: directory"),
        (None, "it has files"),
    ] {
        match version {
            Some(version) => fs::write(dir.join("version"), version).unwrap(),
            None => fs::remove_file(dir.join("version")).unwrap(),
        }
        let error = self::destination(&workplace.name("dir:dir"), &workplace.options()).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains(dir.to_str().unwrap()), "{error}");
        assert!(dir.join("manifest.json").is_file());
    }
}

#[test]
fn the_layers_of_a_directory_and_of_a_layout_have_a_form() {
    let workplace = Workplace::new();
    let form = |to: &str, change: &dyn Fn(&mut vmroot_transport::DestinationOptions)| {
        let mut options = workplace.options();
        change(&mut options);
        destination(&workplace.name(to), &options).unwrap().accepts()
    };
    assert_eq!(form("dir:d", &|_| {}).layers, LayerForm::Keep);
    assert_eq!(form("dir:d", &|options| options.dir_layers = LayerForm::Compress).layers, LayerForm::Compress);
    assert_eq!(form("docker-archive:d.tar", &|_| {}).layers, LayerForm::Decompress);
    for to in ["oci:o", "oci-archive:o.tar"] {
        assert_eq!(form(to, &|_| {}).layers, LayerForm::Compress);
        assert_eq!(form(to, &|options| options.accept_uncompressed_layers = true).layers, LayerForm::Keep);
        let accepts = form(to, &|_| {});
        assert!(accepts.accepts(&MediaType::OCI_INDEX) && accepts.accepts(&MediaType::OCI_MANIFEST));
        assert!(!accepts.accepts(&MediaType::DOCKER_MANIFEST) && accepts.foreign_layers);
        // Docker's types are not converted if the caller asks for that, but schema 1 has no place in a layout.
        let destination = workplace.destination(to);
        destination.put_manifest(b"{}", &MediaType::DOCKER_MANIFEST, ManifestPlace::Top).unwrap();
        let error = destination.put_manifest(b"{}", &MediaType::DOCKER_SCHEMA1, ManifestPlace::Top);
        assert!(matches!(error, Err(Error::Refused { .. })), "{error:?}");
    }
}

#[test]
fn a_docker_archive_has_one_image_for_one_platform() {
    let workplace = Workplace::new();
    let destination = workplace.destination("docker-archive:d.tar:a:b");
    let list = workplace.source("oci:source:list").manifest(None).unwrap().bytes;
    for (media_type, place, reason) in [
        (MediaType::OCI_INDEX, ManifestPlace::Top, "one image for one platform"),
        (MediaType::DOCKER_INDEX, ManifestPlace::Top, "one image for one platform"),
        (MediaType::DOCKER_MANIFEST, ManifestPlace::Instance, "one image for one platform"),
        (MediaType::OCI_MANIFEST, ManifestPlace::Top, "schema 2"),
    ] {
        let error = destination.put_manifest(&list, &media_type, place).unwrap_err();
        assert!(matches!(&error, Error::Refused { .. }) && error.to_string().contains(reason), "{error}");
    }
    let manifest = workplace.read("plain/manifest.json");
    let error = destination.put_manifest(&manifest, &MediaType::DOCKER_MANIFEST, ManifestPlace::Top).unwrap_err();
    assert!(matches!(error, Error::Missing { role: "layer", .. }), "{error}");
    drop(destination);
    assert!(!workplace.path("d.tar").exists());

    fs::write(workplace.path("d.tar"), "").unwrap();
    workplace.copy("dir:plain", "docker-archive:d.tar");
    let archive = workplace.read("d.tar");
    let error = self::destination(&workplace.name("docker-archive:d.tar:a:b"), &workplace.options()).unwrap_err();
    assert!(matches!(error, Error::Occupied { .. }), "{error}");
    assert!(error.to_string().contains("docker-archive doesn't support modifying existing images"), "{error}");
    assert!(workplace.read("d.tar") == archive);
}

#[test]
fn a_docker_archive_has_all_tags_and_each_layer_once() {
    let workplace = Workplace::new();
    let mut options = workplace.options();
    let tags = ["example.com/c:2", "a/b", "a:1"];
    options.additional_tags = tags.iter().map(|tag| Reference::parse(tag).unwrap()).collect();
    let to = destination(&workplace.name("docker-archive:d.tar:a:1"), &options).unwrap();
    copy(&*workplace.source("dir:plain"), &*to).unwrap();
    let archive = Archive::open(&workplace.path("d.tar"), &self::options(workplace.directory())).unwrap();
    let wanted = ["docker.io/library/a:1", "example.com/c:2", "docker.io/a/b:latest"];
    assert_eq!(archive.tags(), wanted);
    let source = workplace.source("docker-archive:d.tar:example.com/c:2");
    assert!(read_all(&*source)[1..] == read_all(&*workplace.source("dir:plain"))[1..]);
    let bytes = workplace.read("d.tar");
    let mut members = tar::Archive::new(&bytes[..]);
    let names = members.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().to_str().unwrap().to_owned());
    let mut names: Vec<String> = names.collect();
    // Two layers, a config, three directories with three files, and two lists.
    assert_eq!(names.len(), 2 + 1 + 9 + 2);
    assert!(names[0].ends_with(".tar") && names[2].ends_with(".json") && names[12] == "manifest.json");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 14);
    workplace.copy("dir:plain", "docker-archive:untagged.tar");
    let archive = Archive::open(&workplace.path("untagged.tar"), &self::options(workplace.directory())).unwrap();
    assert_eq!(archive.tags(), ["@0"]);
}

#[test]
fn equal_images_have_equal_archives() {
    let workplace = Workplace::new();
    let mut options = workplace.options();
    for (from, archive) in [("oci:source:list", "oci-archive"), ("dir:plain", "docker-archive")] {
        let copies: Vec<Vec<u8>> = (0..3)
            .map(|number| {
                let file = format!("{archive}-{number}.tar");
                workplace.copy(from, &format!("{archive}:{file}:a:b"));
                workplace.read(&file)
            })
            .collect();
        assert!(copies[0] == copies[1] && copies[0] == copies[2], "{archive}");
        options.timestamp = Some(1_700_000_000);
        let to = destination(&workplace.name(&format!("{archive}:dated.tar:a:b")), &options).unwrap();
        copy(&*workplace.source(from), &*to).unwrap();
        let dated = workplace.read("dated.tar");
        let mut members = tar::Archive::new(&dated[..]);
        for member in members.entries().unwrap() {
            assert_eq!(member.unwrap().header().mtime().unwrap(), 1_700_000_000);
        }
        fs::remove_file(workplace.path("dated.tar")).unwrap();
    }
    // An older archive is replaced at the commit.
    let before = workplace.read("oci-archive-0.tar");
    let to = workplace.destination("oci-archive:oci-archive-0.tar:c");
    assert!(workplace.read("oci-archive-0.tar") == before);
    copy(&*workplace.source("oci:source:artifact"), &*to).unwrap();
    assert!(read_all(&*workplace.source("oci-archive:oci-archive-0.tar:c")).len() == 3);
}

#[test]
fn an_archive_can_be_written_to_a_pipe() {
    let workplace = Workplace::new();
    for (from, transport) in [("oci:source:image", "oci-archive"), ("dir:plain", "docker-archive")] {
        let pipe = workplace.path("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
        let reader = thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        workplace.copy(from, &format!("{transport}:pipe:a:b"));
        let piped = reader.join().unwrap();
        workplace.copy(from, &format!("{transport}:{transport}.tar:a:b"));
        assert!(piped == workplace.read(&format!("{transport}.tar")));
        fs::remove_file(pipe).unwrap();
    }
}

#[test]
fn other_names_are_not_destinations() {
    let workplace = Workplace::new();
    for (name, reason) in [
        ("oci:x:@0", "@N selects an image to read"),
        ("docker-archive:x:@1", "@N selects an image to read"),
        ("tarball:x", "read-only"),
        ("sif:x", "read-only"),
        ("containers-storage:x", "read-only"),
        ("docker://x", "not a file or directory"),
        ("vmroot:x", "not a file or directory"),
    ] {
        let error = open_destination(&ImageName::parse(name).unwrap(), &workplace.options()).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(error.kind(), ErrorKind::Usage);
    }
    let error = destination(&workplace.name("oci-archive:missing/directory/a.tar"), &workplace.options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("missing/directory"), "{error}");
}

#[test]
fn deleting_an_image_keeps_the_blobs_of_the_others() {
    let workplace = Workplace::new();
    let delete = |name: &str| delete_image(&ImageName::parse(&workplace.name(name)).unwrap(), None);
    for (kind, name) in [("image", "a"), ("list", "b"), ("image", "c"), ("artifact", "d")] {
        workplace.copy(&format!("oci:source:{kind}"), &format!("oci:layout:{name}"));
    }
    let blobs = || workplace.list("layout/blobs/sha256").len();
    let all = blobs();
    assert!(matches!(delete("oci:layout"), Err(Error::SeveralImages { .. })));
    assert!(matches!(delete("oci:layout:x"), Err(Error::NoSuchImage { .. })));
    delete("oci:layout:d").unwrap();
    assert_eq!(blobs(), all - 3);
    // The image is also an instance of the list, and has another name.
    delete("oci:layout:@0").unwrap();
    assert_eq!(blobs(), all - 3);
    for (name, kind) in [("b", "list"), ("c", "image")] {
        let copied = read_all(&*workplace.source(&format!("oci:layout:{name}")));
        assert!(copied == read_all(&*workplace.source(&format!("oci:source:{kind}"))));
    }
    delete("oci:layout:b").unwrap();
    assert_eq!(blobs(), 5);
    assert!(read_all(&*workplace.source("oci:layout")) == read_all(&*workplace.source("oci:source:image")));
    delete("oci:layout").unwrap();
    assert_eq!(blobs(), 0);
    assert!(matches!(delete("oci:layout"), Err(Error::NoImages { .. })));
    // The layout takes images again.
    workplace.copy("oci:source:list", "oci:layout:e");

    // The blobs of a shared directory stay.
    let mut options = workplace.options();
    options.shared_blob_dir = Some(workplace.path("shared"));
    let to = destination(&workplace.name("oci:one:a"), &options).unwrap();
    copy(&*workplace.source("oci:source:image"), &*to).unwrap();
    drop(to);
    let name = ImageName::parse(&workplace.name("oci:one:a")).unwrap();
    delete_image(&name, Some(&workplace.path("shared"))).unwrap();
    assert_eq!(workplace.list("shared/sha256").len(), 5);
    let error = delete_image(&ImageName::parse("dir:x").unwrap(), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
}

/// A copy may count on blobs that are there, so a removal waits for it.
#[test]
fn a_removal_waits_for_the_writers() {
    let workplace = Workplace::new();
    workplace.copy("oci:source:image", "oci:layout:a");
    let writer = workplace.destination("oci:layout:b");
    thread::scope(|scope| {
        let removal = scope.spawn(|| {
            delete_image(&ImageName::parse(&workplace.name("oci:layout:a")).unwrap(), None).unwrap();
        });
        copy(&*workplace.source("oci:source:image"), &*writer).unwrap();
        drop(writer);
        removal.join().unwrap();
    });
    assert!(read_all(&*workplace.source("oci:layout:b")) == read_all(&*workplace.source("oci:source:image")));
}

/// Writers of one directory replace its image one after the other.
#[test]
fn copies_to_one_directory_at_once_leave_one_whole_image() {
    let workplace = Workplace::new();
    let originals = KINDS.map(|kind| read_all(&*workplace.source(&format!("oci:source:{kind}"))));
    for _ in 0..10 {
        // The first round creates the directory.
        let writers: Vec<_> = KINDS.iter().map(|kind| (kind, workplace.destination("dir:dir"))).collect();
        thread::scope(|scope| {
            for (kind, writer) in &writers {
                let source = workplace.source(&format!("oci:source:{kind}"));
                scope.spawn(move || copy(&*source, &**writer).unwrap());
            }
        });
        drop(writers);
        let image = read_all(&*workplace.source("dir:dir"));
        let number = originals.iter().position(|original| *original == image).unwrap();
        // There is nothing of the other images.
        workplace.copy(&format!("oci:source:{}", KINDS[number]), "dir:alone");
        assert_eq!(workplace.list("dir"), workplace.list("alone"));
    }
}

/// The file may be a link to one that the reader of the message may not read.
#[test]
fn an_index_that_is_none_is_not_quoted() {
    let workplace = Workplace::new();
    workplace.copy("oci:source:image", "oci:layout:a");
    for text in [r#""secret""#, r#"{"manifests":"secret"}"#, r#"{"manifests":[{"digest":{"secret":1}}]}"#, "secret"] {
        fs::write(workplace.path("layout/index.json"), text).unwrap();
        let opened = destination(&workplace.name("oci:layout:b"), &workplace.options());
        let error = opened.map(drop).unwrap_err().full_message();
        assert!(error.contains("is not an index: error at line 1"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn documents_that_refer_to_an_image_are_found_in_a_layout() {
    let workplace = Workplace::new();
    let subject = top(&workplace, "oci:source:image");
    let (empty, kind) = (b"{}".to_vec(), "application/x-signature");
    let config = Descriptor::of(MediaType::OCI_EMPTY, &empty);
    let signature = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "artifactType": kind,
        "config": config,
        "layers": [config],
        "subject": { "mediaType": MediaType::OCI_MANIFEST, "digest": subject, "size": 1 },
        "annotations": { "signed": "yes" },
    });
    let signature = signature.to_string().into_bytes();
    let put = |destination: &dyn ImageDestination| {
        destination.put_blob(&mut NewBlob::known(&config, BlobRole::Config, &empty[..])).unwrap();
        destination.put_manifest(&signature, &MediaType::OCI_MANIFEST, ManifestPlace::Referrer).unwrap();
    };
    for to in ["oci:layout:a", "oci-archive:a.tar:a", "dir:dir"] {
        let destination = workplace.destination(to);
        put(&*destination);
        copy(&*workplace.source("oci:source:image"), &*destination).unwrap();
        let source = workplace.source(to);
        assert!(read_all(&*source) == read_all(&*workplace.source("oci:source:image")));
        let referrers = source.referrers(&subject).unwrap();
        let [referrer] = &referrers[..] else { panic!("{referrers:?}") };
        assert_eq!(referrer.digest, Digest::of(&signature));
        assert_eq!(referrer.artifact_type, Some(MediaType::new(kind)));
        assert_eq!(referrer.annotation("signed"), Some("yes"));
        assert_eq!(source.manifest(Some(&referrer.digest)).unwrap().bytes, signature);
        assert_eq!(source.referrers(&referrer.digest).unwrap(), []);
    }
    // They can be added to an image that is there, and are added once.
    workplace.copy("oci:source:image", "oci:other:a");
    for _ in 0..2 {
        let destination = workplace.destination("oci:other:a");
        put(&*destination);
        destination.commit().unwrap();
    }
    let archive = Archive::open(&workplace.path("other"), &options(workplace.directory())).unwrap();
    assert_eq!(archive.tags(), ["a", "@1"]);
    assert_eq!(workplace.source("oci:other:a").referrers(&subject).unwrap().len(), 1);
}

/// A list that was copied without some instances has the digest of the whole list.
#[test]
fn an_image_with_missing_parts_is_not_current() {
    let workplace = Workplace::new();
    for (to, blobs) in [("oci:layout:a", "layout/blobs/sha256"), ("dir:dir", "dir")] {
        workplace.copy("oci:source:list", to);
        for name in workplace.list(blobs).iter().filter(|name| name.len() >= 64) {
            let path = workplace.path(blobs).join(name);
            let bytes = fs::read(&path).unwrap();
            assert!(workplace.destination(to).current().unwrap().is_some());
            fs::remove_file(&path).unwrap();
            assert_eq!(workplace.destination(to).current().unwrap(), None, "{name}");
            fs::write(&path, bytes).unwrap();
        }
    }
}
