//! Indexes with other entries, and between OCI and Docker.

use serde_json::Value;
use vmroot_model::{
    Descriptor, Digest, Document, EditedIndex, Error, Index, IndexFormat, Instance, Loss, MediaType, Platform,
};

use crate::samples::{self, index};

const MARKER: &str = "io.github.containers.compression.zstd";

fn instance(content: &str, zstd: bool) -> Instance {
    let bytes = content.as_bytes();
    Instance { digest: Digest::of(bytes), size: bytes.len() as u64, media_type: MediaType::OCI_MANIFEST, zstd }
}

fn parsed(edited: &EditedIndex) -> Index {
    match Document::parse(edited.bytes.clone(), Some(edited.media_type.as_str())).unwrap() {
        Document::Index(index) => index,
        Document::Manifest(_) => panic!("a manifest"),
    }
}

#[test]
fn an_index_without_changes_keeps_its_bytes() {
    for text in [samples::OCI_INDEX, samples::DOCKER_LIST] {
        let source = index(text);
        let mut edit = source.edit();
        let entry = source.manifests()[1].clone();
        let Descriptor { digest, size, media_type, .. } = entry;
        edit.replace(1, Instance { digest, size, media_type, zstd: false });
        edit.replace(100, instance("x", false));
        edit.remove(100);
        assert_eq!(edit.finish().unwrap().bytes, text.as_bytes());
        assert_eq!(source.edit().finish_as(source.format(), &Platform::host()).unwrap().bytes, text.as_bytes());
    }
}

#[test]
fn entries_are_replaced_and_removed() {
    let source = index(samples::OCI_INDEX);
    let mut edit = source.edit();
    edit.remove(0);
    edit.replace(1, instance("new", true));
    edit.replace(0, instance("too late", true));
    let result = parsed(&edit.finish().unwrap());
    let entries = result.manifests();
    assert_eq!(entries.len(), 2);
    assert_eq!((entries[0].digest, entries[0].size), (Digest::of(b"new"), 3));
    assert_eq!(entries[0].platform, source.manifests()[1].platform);
    assert_eq!(entries[0].annotation(MARKER), Some("true"));
    assert_eq!(entries[1], source.manifests()[2]);

    // An image that no longer has zstd loses the mark.
    let mut edit = result.edit();
    edit.replace(0, instance("newer", false));
    let entries = parsed(&edit.finish().unwrap()).manifests().to_vec();
    assert!(entries[0].annotations.is_empty());
}

#[test]
fn unknown_members_and_order_stay() {
    let text = format!(
        r#"{{"x": 1e0, "manifests": [{{"y": 1, "size": 1, "digest": "{0}", "mediaType": "m", "platform": {{"os": "linux", "architecture": "arm", "features": ["neon"]}}}}, null, {{"size": 2, "digest": "{0}", "mediaType": "m"}}], "schemaVersion": 2}}"#,
        Digest::of(b"a")
    );
    let source = index(&text);
    let mut edit = source.edit();
    edit.replace(0, Instance { digest: Digest::of(b"b"), size: 9, media_type: "n".into(), zstd: false });
    let expected = format!(
        r#"{{"x":1e0,"manifests":[{{"y":1,"size":9,"digest":"{}","mediaType":"n","platform":{{"os":"linux","architecture":"arm","features":["neon"]}}}},{{"size":2,"digest":"{}","mediaType":"m"}}],"schemaVersion":2}}"#,
        Digest::of(b"b"),
        Digest::of(b"a")
    );
    assert_eq!(String::from_utf8(edit.finish().unwrap().bytes).unwrap(), expected);
}

#[test]
fn added_entries_with_zstd_come_last() {
    let source = index(samples::OCI_INDEX);
    let entry = |content: &[u8]| Descriptor {
        platform: Some(Platform::linux("riscv64").unwrap()),
        ..Descriptor::of(MediaType::OCI_MANIFEST, content)
    };
    let mut edit = source.edit();
    edit.replace(1, instance("zstd", true));
    edit.add(entry(b"added zstd"), true);
    edit.add(entry(b"added gzip"), false);
    let result = parsed(&edit.finish().unwrap());
    let digests: Vec<Digest> = result.manifests().iter().map(|it| it.digest).collect();
    let old = source.manifests();
    let expected =
        [old[0].digest, old[2].digest, Digest::of(b"added gzip"), Digest::of(b"zstd"), Digest::of(b"added zstd")];
    assert_eq!(digests, expected);
    assert_eq!(result.manifests()[2], entry(b"added gzip"));
}

#[test]
fn an_added_entry_of_a_manifest_list_has_dockers_members() {
    let source = index(samples::DOCKER_LIST);
    let mut edit = source.edit();
    let mut entry = Descriptor::of(MediaType::DOCKER_MANIFEST, b"x");
    entry.annotations.insert("k".into(), "v".into());
    edit.add(entry.clone(), true);
    let error = edit.clone().finish().unwrap_err().to_string();
    assert!(error.contains("has no platform"), "{error}");
    let mut edit = source.edit();
    edit.add(Descriptor { platform: Some(Platform::linux("arm/v7").unwrap()), ..entry }, true);
    let document: Value = serde_json::from_slice(&edit.finish().unwrap().bytes).unwrap();
    let expected = format!(
        r#"{{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","size":1,"digest":"{}","platform":{{"architecture":"arm","os":"linux","variant":"v7"}}}}"#,
        Digest::of(b"x")
    );
    assert_eq!(document["manifests"][2], serde_json::from_str::<Value>(&expected).unwrap());
}

#[test]
fn the_last_entry_may_not_be_removed() {
    let source = index(samples::DOCKER_LIST);
    let mut edit = source.edit();
    edit.remove(0);
    assert!(edit.clone().finish().is_ok());
    edit.remove(1);
    assert!(matches!(edit.clone().finish(), Err(Error::EmptyIndex { .. })));
    let error = edit.finish_as(IndexFormat::Oci, &Platform::host()).unwrap_err().to_string();
    assert_eq!(error, format!("index {} would have no entries left", source.digest()));
}

#[test]
fn a_manifest_list_becomes_an_oci_index() {
    let mut document: Value = serde_json::from_str(samples::DOCKER_LIST).unwrap();
    document["manifests"][1]["platform"]["features"] = serde_json::json!(["sse4", "aes"]);
    let source = index(&document.to_string());
    let edited = source.edit().finish_as(IndexFormat::Oci, &Platform::host()).unwrap();
    let expected = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","digest":"sha256:4444444444444444444444444444444444444444444444444444444444444444","size":1125,"platform":{"architecture":"amd64","os":"windows","os.version":"10.0.20348.2322","os.features":["win32k"]}},{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","digest":"sha256:5555555555555555555555555555555555555555555555555555555555555555","size":525,"platform":{"architecture":"arm","os":"linux","variant":"v5"}}]}"#;
    assert_eq!(std::str::from_utf8(&edited.bytes).unwrap(), expected);
    let lost = Loss::EntryFeatures {
        entry: source.manifests()[1].digest,
        features: vec!["sse4".to_owned(), "aes".to_owned()],
    };
    assert_eq!(edited.losses, [lost]);
}

#[test]
fn an_oci_index_becomes_a_manifest_list() {
    let digest = Digest::of(b"a");
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","artifactType":"t","manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":1,"annotations":{{"io.github.containers.compression.zstd":"true"}},"artifactType":"e"}}],"subject":{{"mediaType":"m","digest":"{digest}","size":1}},"annotations":{{"k":"v"}}}}"#
    );
    let wanted = Platform::linux("s390x").unwrap();
    let edited = index(&text).edit().finish_as(IndexFormat::DockerList, &wanted).unwrap();
    let expected = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":1,"digest":"{digest}","platform":{{"architecture":"s390x","os":"linux"}}}}]}}"#
    );
    assert_eq!(std::str::from_utf8(&edited.bytes).unwrap(), expected);
    let sentences: Vec<String> = edited.losses.iter().map(ToString::to_string).collect();
    assert_eq!(
        sentences,
        [
            "the index loses its annotations k: Docker's manifest lists have none".to_owned(),
            format!("the index loses its subject {digest}: Docker's manifest lists have none"),
            "the index loses its artifact type \"t\": Docker's manifest lists have none".to_owned(),
            format!("entry {digest} loses its annotations {MARKER}: Docker's manifest lists have none"),
            format!("entry {digest} loses its artifact type \"e\": Docker's manifest lists have none"),
            format!("entry {digest} has no platform and becomes linux/s390x: Docker's manifest lists require one"),
        ]
    );
}
