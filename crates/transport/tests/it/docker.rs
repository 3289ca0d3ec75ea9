//! Docker save archives of all versions.

use serde_json::{Value, json};
use vmroot_model::{Digest, Document, MediaType, Reference};
use vmroot_testkit::FullMessage as _;
use vmroot_transport::{Error, Format, ImageSelector};

use crate::builder::{Image, Member, blob_name, bzip2, docker_save, entry, file, gzip, oci_layout, tar, xz, zstd};
use crate::pull::{SavedArchive, assert_same_image, name, pull};

#[test]
fn before_25_with_a_repeated_layer_as_a_symlink() {
    let mut image = Image::new(1, 2);
    image.layers.push(image.layers[0].clone());
    let image = Image::of(image.layers);
    let members = docker_save(&[(&image, &["alpine:3.20"])]);
    assert!(members.iter().any(|member| matches!(member, Member::Symlink(..))));
    let saved = SavedArchive::tar(&members);
    let archive = saved.open().unwrap();
    assert_eq!(archive.format(), Format::DockerArchive);
    let source = saved.source(&ImageSelector::Only).unwrap();
    assert_eq!(source.name(), format!("docker-archive:{}:alpine:3.20", saved.path.display()));
    assert_same_image(&*source, &image);
    // The digests of uncompressed layers are their diff ids, so nothing was hashed for the manifest.
    let Document::Manifest(manifest) = Document::parse(source.manifest(None).unwrap().bytes, None).unwrap() else {
        panic!("an index")
    };
    assert_eq!(*manifest.media_type(), MediaType::DOCKER_MANIFEST);
    assert!(manifest.layers().iter().all(|layer| layer.media_type == MediaType::DOCKER_LAYER_GZIP));
}

#[test]
fn from_25_on_with_both_layouts_in_one_tar() {
    let image = Image::new(2, 3);
    for (encode, media_type) in
        [((|bytes| bytes.to_vec()) as fn(&[u8]) -> Vec<u8>, MediaType::OCI_LAYER), (gzip, MediaType::OCI_LAYER_GZIP)]
    {
        let blobs = image.blobs(&media_type, encode);
        let (manifest, parts) = blobs.split_last().unwrap();
        let annotations = json!({ "annotations": {
            "io.containerd.image.name": "docker.io/library/alpine:3.20", "org.opencontainers.image.ref.name": "3.20",
        } });
        let mut members = oci_layout(&blobs, &[entry(&MediaType::OCI_MANIFEST, manifest, &annotations)]);
        let list = json!([{
            "Config": blob_name(&parts[0]),
            "RepoTags": ["alpine:3.20"],
            "Layers": parts[1..].iter().map(|layer| blob_name(layer)).collect::<Vec<_>>(),
            "LayerSources": {},
        }]);
        members.push(file("manifest.json", list.to_string()));
        let saved = SavedArchive::tar(&members);
        assert_eq!(saved.open().unwrap().format(), Format::DockerArchive);
        assert_same_image(&*saved.source(&name("alpine:3.20")).unwrap(), &image);
    }
}

#[test]
fn compressed_archives_and_compressed_layers() {
    let image = Image::new(3, 2);
    let plain = tar(&docker_save(&[(&image, &["a:1"])]));
    for encode in [gzip, zstd, xz, bzip2] {
        assert_same_image(&*SavedArchive::new(&encode(&plain)).source(&name("a:1")).unwrap(), &image);

        let list = json!([{ "Config": "config", "RepoTags": null, "Layers": ["./0.tar", "/1.tar"] }]);
        let mut members = vec![file("./config", image.config.clone()), file("./manifest.json", list.to_string())];
        members.extend((0..2).map(|at| file(format!("./{at}.tar"), encode(&image.layers[at]))));
        assert_same_image(&*SavedArchive::tar(&members).source(&ImageSelector::Index(0)).unwrap(), &image);
    }
}

/// Scripts that assemble archives write nulls for missing names. skopeo ignores these.
#[test]
fn nulls_among_names_are_ignored() {
    let image = Image::new(6, 1);
    let list = json!([{ "Config": "config", "RepoTags": [null, "a:1", null], "Layers": ["0.tar"] }]);
    let members = [
        file("config", image.config.clone()),
        file("manifest.json", list.to_string()),
        file("0.tar", image.layers[0].clone()),
    ];
    let saved = SavedArchive::tar(&members);
    assert_eq!(saved.open().unwrap().images()[0].names, ["a:1"]);
    assert_same_image(&*saved.source(&name("a:1")).unwrap(), &image);
}

#[test]
fn the_spool_directory_holds_no_named_file() {
    let image = Image::new(4, 1);
    let saved = SavedArchive::new(&gzip(&tar(&docker_save(&[(&image, &[])]))));
    let source = saved.source(&ImageSelector::Only).unwrap();
    assert_eq!(std::fs::read_dir(saved.options().spool).unwrap().count(), 1, "only the archive");
    assert_same_image(&*source, &image);
}

#[test]
fn through_a_pipe() {
    let image = Image::new(5, 2);
    let bytes = tar(&docker_save(&[(&image, &["a:1"])]));
    let saved = SavedArchive::new(&[]);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
    let writing = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &bytes).unwrap());
    let archive = vmroot_transport::Archive::open(path.as_ref(), &saved.options()).unwrap();
    writing.join().unwrap();
    assert_same_image(&*archive.source(&archive.images()[0]).unwrap(), &image);
}

#[test]
fn several_images_selected_by_name_or_index() {
    let images = [Image::new(6, 1), Image::new(7, 2), Image::new(8, 3)];
    let saved = SavedArchive::tar(&docker_save(&[
        (&images[0], &["alpine:3.20", "alpine:latest"]),
        (&images[1], &[]),
        (&images[2], &["quay.io/x/y:1"]),
    ]));
    let archive = saved.open().unwrap();
    let listed: Vec<(usize, Vec<String>)> =
        archive.images().iter().map(|image| (image.index, image.names.clone())).collect();
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(
        listed,
        [(0, names(&["alpine:3.20", "alpine:latest"])), (1, names(&[])), (2, names(&["quay.io/x/y:1"]))]
    );
    assert_eq!(archive.images()[2].references, [Reference::parse("quay.io/x/y:1").unwrap()]);
    assert_same_image(&*saved.source(&name("alpine")).unwrap(), &images[0]);
    assert_same_image(&*saved.source(&ImageSelector::Index(1)).unwrap(), &images[1]);
    assert_same_image(&*saved.source(&name("quay.io/x/y:1")).unwrap(), &images[2]);
    let error = saved.source(&ImageSelector::Only).unwrap_err();
    assert!(
        matches!(&error, Error::SeveralImages { available, .. }
        if available == "alpine:3.20 (@0), @1, quay.io/x/y:1 (@2)"),
        "{error}"
    );
    assert!(matches!(saved.source(&name("alpine:3.19")).unwrap_err(), Error::NoSuchImage { .. }));
}

#[test]
fn before_1_10_without_a_list() {
    let image = Image::new(9, 3);
    let ids: Vec<String> = (0..3).map(|at| Digest::of(&[at]).hex()).collect();
    let mut members = Vec::new();
    for (at, layer) in image.layers.iter().enumerate() {
        let mut described = json!({
            "id": ids[at], "created": format!("2015-01-0{}T00:00:00Z", at + 1), "os": "linux", "architecture": "arm64",
            "container_config": { "Cmd": ["/bin/sh", "-c", format!("step {at}")] }, "config": { "Cmd": ["/bin/sh"] },
            "Size": layer.len(),
        });
        if at > 0 {
            described["parent"] = Value::from(ids[at - 1].clone());
        }
        members.push(file(format!("{}/VERSION", ids[at]), "1.0"));
        members.push(file(format!("{}/json", ids[at]), described.to_string()));
        members.push(file(format!("{}/layer.tar", ids[at]), layer.clone()));
    }
    let repositories = json!({
        "busybox": { "1.23": ids[2], "latest": ids[2], "none": null }, "base": { "1": ids[0] }, "nothing": null,
    });
    members.push(file("repositories", repositories.to_string()));
    let saved = SavedArchive::tar(&members);
    let pulled = pull(&*saved.source(&name("busybox")).unwrap());
    assert!(pulled.layers == image.layers);
    let config: Value = serde_json::from_slice(&pulled.config).unwrap();
    assert_eq!(config["config"]["Cmd"], json!(["/bin/sh"]));
    assert_eq!(config["history"][2]["created_by"], "/bin/sh -c step 2");
    assert!(config.get("id").is_none() && config.get("parent").is_none() && config.get("Size").is_none());
    assert!(pull(&*saved.source(&name("base:1")).unwrap()).layers == image.layers[..1]);

    members.retain(|member| !matches!(member, Member::File(name, _) if *name == format!("{}/json", ids[0])));
    members.push(file(format!("{}/json", ids[0]), json!({ "parent": ids[2] }).to_string()));
    let error = SavedArchive::tar(&members).source(&name("busybox")).unwrap_err().full_message();
    assert!(error.contains("its own ancestor") && error.contains(&ids[2]), "{error}");
}
