//! Invalid archives, damaged or malicious. Errors must name the member.

use serde_json::{Value, json};
use vmroot_model::Digest;
use vmroot_testkit::FullMessage as _;
use vmroot_transport::{Archive, ArchiveOptions, Error, ImageSelector};

use crate::builder::{Image, Member, docker_save, file, gzip, tar};
use crate::pull::{SavedArchive, name};

fn with_list(list: &Value) -> SavedArchive {
    let mut members = Image::new(1, 2).members();
    members.push(file("manifest.json", list.to_string()));
    SavedArchive::tar(&members)
}

#[test]
fn invalid_lists() {
    assert!(matches!(with_list(&Value::Null).open().unwrap_err(), Error::NullManifest { .. }));
    let error = with_list(&Value::Null).open().unwrap_err().full_message();
    assert!(error.starts_with("invalid manifest, manifest cannot be null (but can be [])"), "{error}");
    assert!(error.contains("manifest.json in "), "{error}");
    let empty = with_list(&json!([]));
    assert_eq!(empty.open().unwrap().images().len(), 0);
    assert!(matches!(empty.source(&ImageSelector::Only).unwrap_err(), Error::NoImages { .. }));
    for list in [json!({}), json!([null]), json!("text"), json!([{ "Config": 1 }]), json!([{}])] {
        let error = with_list(&list).open().unwrap_err().full_message();
        assert!(error.starts_with("manifest.json in "), "{error}");
    }
    let error = SavedArchive::tar(&[file("x", "y")]).open().unwrap_err().full_message();
    assert!(error.starts_with("invalid archive: does not contain a manifest.json"), "{error}");
}

#[test]
fn missing_members_and_wrong_numbers_of_layers() {
    let image = Image::new(1, 2);
    let listed = image.listed(&[]);
    let error = |listed: &Value| with_list(&json!([listed])).source(&ImageSelector::Only).unwrap_err();
    let mut other = listed.clone();
    other["Config"] = json!("gone.json");
    assert!(error(&other).to_string().starts_with("image config gone.json not found in "), "{}", error(&other));
    let mut other = listed.clone();
    other["Layers"][1] = json!("gone/layer.tar");
    assert!(error(&other).to_string().starts_with("layer gone/layer.tar not found in "), "{}", error(&other));
    let mut other = listed.clone();
    other["Layers"].as_array_mut().unwrap().pop();
    let text = error(&other).to_string();
    assert!(text.starts_with("invalid manifest, layers length mismatch: expected 2, got 1"), "{text}");
    assert!(text.contains(listed["Config"].as_str().unwrap()), "{text}");
    let mut other = listed.clone();
    other["Config"] = listed["Layers"][0].clone();
    assert!(matches!(error(&other), Error::Document { .. }), "{}", error(&other));
}

#[test]
fn links_and_names_that_lead_out_of_the_archive() {
    let image = Image::new(1, 1);
    for (target, wanted) in [
        ("../../../../etc/passwd", "leads out of the archive"),
        ("/etc/passwd", "layer evil not found"),
        ("evil", "more than 40 links"),
    ] {
        let list = json!([{ "Config": "config", "Layers": ["evil"] }]);
        let saved = SavedArchive::tar(&[
            file("config", image.config.clone()),
            Member::Symlink("evil".to_owned(), target.to_owned()),
            file("manifest.json", list.to_string()),
        ]);
        let error = saved.source(&ImageSelector::Only).unwrap_err().full_message();
        assert!(error.contains(wanted) && error.contains("evil"), "{error}");
    }
    let list = json!([{ "Config": "../../../../../../etc/hostname", "Layers": [] }]);
    let error = with_list(&list).source(&ImageSelector::Only).unwrap_err().full_message();
    assert!(error.contains("leads out of the archive"), "{error}");
}

#[test]
fn a_blob_under_the_name_of_another() {
    let image = Image::new(1, 0);
    let member = format!("blobs/sha256/{}", Digest::of(b"other").hex());
    let list = json!([{ "Config": member, "Layers": [] }]);
    let saved = SavedArchive::tar(&[file(&member, image.config), file("manifest.json", list.to_string())]);
    let error = saved.source(&ImageSelector::Only).unwrap_err();
    assert!(matches!(&error, Error::DigestMismatch { member: named, .. } if *named == member), "{error}");
}

#[test]
fn documents_and_streams_that_are_too_long() {
    let image = Image::new(1, 0);
    let list = json!([{ "Config": "config", "Layers": [] }]).to_string();
    let long = file("config", vec![b' '; 5 << 20]);
    let error = SavedArchive::tar(&[long, file("manifest.json", list)])
        .source(&ImageSelector::Only)
        .unwrap_err()
        .full_message();
    assert!(error.starts_with("config in ") && error.contains("limit"), "{error}");
    let error = SavedArchive::tar(&[file("manifest.json", vec![b'['; 5 << 20])]).open().unwrap_err().full_message();
    assert!(error.starts_with("manifest.json in ") && error.contains("limit"), "{error}");

    let saved = SavedArchive::new(&gzip(&tar(&docker_save(&[(&image, &[])]))));
    let limits = vmroot_compress::Limits { max_output: 1_000, ..Default::default() };
    let error = Archive::open(&saved.path, &ArchiveOptions { limits, ..saved.options() }).unwrap_err();
    assert!(matches!(error, Error::Decompress { source: vmroot_compress::Error::OutputLimit { .. }, .. }), "{error}");
}

#[test]
fn archives_truncated_anywhere() {
    let image = Image::new(1, 2);
    let whole = tar(&docker_save(&[(&image, &["a:1"])]));
    let last = whole.len() - 1024;
    // Truncates at every multiple of a block and at some offsets between. Only the end marks can be missing without an
    // error.
    for len in (0..last).step_by(512).chain((1..last).step_by(10_007)) {
        let error = SavedArchive::new(&whole[..len]).source(&name("a:1")).unwrap_err().full_message();
        assert!(error.contains("archive"), "{len}: {error}");
    }
    assert!(SavedArchive::new(&whole[..last]).source(&name("a:1")).is_ok());
    let packed = gzip(&whole);
    let error = SavedArchive::new(&packed[..packed.len() / 2]).open().unwrap_err();
    assert!(matches!(error, Error::Decompress { .. }), "{error}");
}

#[test]
fn no_mutation_of_an_archive_panics() {
    let image = Image::of(vec![tar(&[file("a", "content")])]);
    let whole = tar(&docker_save(&[(&image, &["a:1"])]));
    let saved = SavedArchive::new(&whole);
    for at in 0..whole.len() {
        let mut mutated = whole.clone();
        mutated[at] ^= 1 << (at % 8);
        std::fs::write(&saved.path, mutated).unwrap();
        if let Ok(source) = saved.source(&ImageSelector::Only) {
            source.manifest(None).unwrap();
        }
    }
}

#[test]
fn too_many_members() {
    let mut header = tar::Header::new_gnu();
    header.set_path("x").unwrap();
    header.set_size(0);
    header.set_cksum();
    let mut bytes = Vec::new();
    for _ in 0..270_000 {
        bytes.extend_from_slice(header.as_bytes());
    }
    let error = SavedArchive::new(&bytes).open().unwrap_err();
    assert!(matches!(error, Error::ArchiveLimit { what: "the number of members", .. }), "{error}");
}
