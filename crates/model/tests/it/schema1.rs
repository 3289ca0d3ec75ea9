//! Docker's schema 1: reading, signatures, and conversion.

use serde_json::{Value, json};
use vmroot_model::{
    AnyDocument, Digest, Document, Error, LayerCompression, Loss, ManifestFormat, MediaType, Reference, Schema1,
    WrittenLayer, is_manifest_of, manifest_digest,
};

/// Returns an id of a step.
fn id(number: u8) -> String {
    format!("{number:02x}").repeat(32)
}

fn digest(number: u8) -> Digest {
    Digest::of(&[number])
}

/// A manifest of three steps, the second of which has no files. The newest comes first.
fn document() -> Value {
    let newest = json!({
        "architecture": "amd64", "config": {"Cmd": ["sh"], "Hostname": "h"}, "container": "c", "created": "2020-01-03T00:00:00Z",
        "docker_version": "19.03", "id": id(3), "os": "linux", "parent": id(2), "Size": 5, "layer_id": "l",
        "container_config": {"Cmd": ["/bin/sh", "-c", "x"]},
    });
    let empty = json!({"id": id(2), "parent": id(1), "throwaway": true, "comment": "k", "author": "A"});
    let base = json!({"id": id(1), "created": "2020-01-01T00:00:00.50Z", "container_config": {"Cmd": ["ADD x"]}});
    let step = |it: Value| json!({"v1Compatibility": it.to_string()});
    json!({
        "schemaVersion": 1, "name": "library/x", "tag": "t", "architecture": "amd64",
        "fsLayers": [{"blobSum": digest(3)}, {"blobSum": digest(2)}, {"blobSum": digest(1)}],
        "history": [step(newest), step(empty), step(base)],
    })
}

fn parsed(document: &Value) -> Schema1 {
    match AnyDocument::parse(document.to_string().into_bytes(), None).unwrap() {
        AnyDocument::Schema1(schema1) => schema1,
        other => panic!("{other:?}"),
    }
}

fn written(digests: &[u8]) -> Vec<WrittenLayer> {
    let layer = |it: &u8| WrittenLayer {
        diff_id: Some(digest(it + 100)),
        ..WrittenLayer::recompressed(digest(*it), 7, LayerCompression::Gzip)
    };
    digests.iter().map(layer).collect()
}

#[test]
fn layers_are_the_base_first() {
    let schema1 = parsed(&document());
    assert_eq!(schema1.layers().iter().map(|it| *it.digest()).collect::<Vec<_>>(), [1, 2, 3].map(digest));
    assert_eq!(schema1.layers().iter().map(|it| it.is_empty()).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!((schema1.name(), schema1.tag(), schema1.architecture()), ("library/x", "t", "amd64"));
    assert_eq!(schema1.media_type(), MediaType::DOCKER_SCHEMA1);
    assert_eq!(schema1.digest(), &Digest::of(schema1.raw()));
    let config = schema1.config().unwrap();
    assert_eq!((config.os(), config.config().cmd.as_slice()), ("linux", &["sh".to_owned()][..]));
    let in_format = |format| schema1.layers_in(format).len();
    assert_eq!((in_format(ManifestFormat::Oci), in_format(ManifestFormat::Schema1)), (2, 3));
}

#[test]
fn readers_of_other_formats_get_an_error() {
    let bytes = document().to_string().into_bytes();
    let error = Document::parse(bytes, None).unwrap_err();
    assert!(matches!(error, Error::Schema1 { .. }), "{error}");
}

#[test]
fn the_digest_is_that_of_the_signed_bytes() {
    let unsigned = parsed(&document());
    let name = Reference::parse("example.com/a/b:v1").unwrap();
    let signed = unsigned.with_layers(&written(&[1, 2, 3]), Some(&name)).unwrap();
    assert_eq!(signed.media_type, MediaType::DOCKER_SCHEMA1_SIGNED);
    let schema1 = Schema1::parse(signed.manifest.clone()).unwrap();
    assert_eq!((schema1.name(), schema1.tag()), ("a/b", "v1"));
    assert_eq!(schema1.media_type(), MediaType::DOCKER_SCHEMA1_SIGNED);
    assert_ne!(schema1.digest(), &Digest::of(schema1.raw()));
    assert_eq!(&manifest_digest(schema1.raw()).unwrap(), schema1.digest());
    assert!(is_manifest_of(schema1.raw(), schema1.digest()));
    assert!(!is_manifest_of(schema1.raw(), &digest(0)));
    // A new signature of the same bytes has the same digest.
    let again = unsigned.with_layers(&written(&[1, 2, 3]), Some(&name)).unwrap();
    assert_ne!(again.manifest, signed.manifest);
    assert_eq!(manifest_digest(&again.manifest).unwrap(), *schema1.digest());
}

#[test]
fn only_signed_bytes_are_read() {
    let signed = parsed(&document()).with_layers(&written(&[1, 2, 4]), None).unwrap().manifest;
    let original = Schema1::parse(signed.clone()).unwrap();
    // Outside the signed bytes, the document can say anything without a change of its digest.
    let text = String::from_utf8(signed).unwrap();
    let forged = text.replace(",\"signatures\":", ",\"tag\":\"forged\",\"signatures\":");
    assert_ne!(forged, text);
    let forged = Schema1::parse(forged.into_bytes()).unwrap();
    assert_eq!((forged.tag(), forged.digest()), ("t", original.digest()));
}

#[test]
fn a_manifest_without_changes_keeps_its_bytes_and_signatures() {
    for source in [parsed(&document()), {
        let signed = parsed(&document()).with_layers(&written(&[1, 2, 4]), None).unwrap().manifest;
        Schema1::parse(signed).unwrap()
    }] {
        let layers: Vec<_> = source
            .layers()
            .iter()
            .map(|it| WrittenLayer::recompressed(*it.digest(), 1, LayerCompression::Gzip))
            .collect();
        let same = source.with_layers(&layers, None).unwrap();
        assert_eq!((same.manifest.as_slice(), same.media_type), (source.raw(), source.media_type()));
    }
}

#[test]
fn the_config_is_put_together_from_the_steps() {
    let source = parsed(&document());
    let converted = source.convert(ManifestFormat::Schema2, &written(&[1, 3])).unwrap();
    let config = String::from_utf8(converted.config.unwrap()).unwrap();
    let expected = format!(
        r#"{{"architecture":"amd64","config":{{"Cmd":["sh"],"Hostname":"h"}},"container":"c","container_config":{{"Cmd":["/bin/sh","-c","x"]}},"created":"2020-01-03T00:00:00Z","docker_version":"19.03","history":[{{"created":"2020-01-01T00:00:00.5Z","created_by":"ADD x"}},{{"created":"0001-01-01T00:00:00Z","author":"A","comment":"k","empty_layer":true}},{{"created":"2020-01-03T00:00:00Z","created_by":"/bin/sh -c x"}}],"os":"linux","rootfs":{{"type":"layers","diff_ids":["{}","{}"]}}}}"#,
        digest(101),
        digest(103)
    );
    assert_eq!(config, expected);
    assert_eq!(converted.losses, [Loss::Schema1Members]);
    let Document::Manifest(manifest) = Document::parse(converted.manifest, None).unwrap() else { panic!("an index") };
    assert_eq!(manifest.media_type(), &MediaType::DOCKER_MANIFEST);
    assert_eq!(manifest.layers()[1].media_type, MediaType::DOCKER_LAYER_GZIP);
    assert_eq!((manifest.layers()[1].digest, manifest.layers()[1].size), (digest(3), 7));
    assert!(manifest.config().digest.is_of(config.as_bytes()));

    let converted = source.convert(ManifestFormat::Oci, &written(&[1, 3])).unwrap();
    let names = ["container", "container_config", "docker_version", "config.Hostname"].map(str::to_owned).to_vec();
    assert_eq!(converted.losses, [Loss::Schema1Members, Loss::ConfigMembers { names }]);
    assert_eq!(converted.media_type, MediaType::OCI_MANIFEST);
}

#[test]
fn impossible_conversions_are_refused() {
    let source = parsed(&document());
    let mut zstd = written(&[1, 3]);
    zstd[1].compression = Some(LayerCompression::Zstd);
    let mut unknown = written(&[1, 3]);
    unknown[0].diff_id = None;
    for (layers, reason) in [
        (written(&[1, 2, 3]), "it has 2 layers, but 3 were written"),
        (zstd.clone(), "cannot be compressed with zstd"),
        (unknown, "has no diff id"),
    ] {
        let error = source.convert(ManifestFormat::Schema2, &layers).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    assert!(source.convert(ManifestFormat::Oci, &zstd).is_ok());
    zstd.insert(1, zstd[0].clone());
    let error = source.with_layers(&zstd, None).unwrap_err().to_string();
    assert!(error.contains("cannot be compressed with zstd"), "{error}");
}

#[test]
fn neighbours_with_the_same_id_are_one_layer() {
    let mut document = document();
    let entry = document["history"][0].clone();
    document["history"].as_array_mut().unwrap().insert(0, entry);
    document["fsLayers"].as_array_mut().unwrap().insert(0, json!({"blobSum": digest(9)}));
    let schema1 = parsed(&document);
    assert_eq!(schema1.layers().iter().map(|it| *it.digest()).collect::<Vec<_>>(), [1, 2, 3].map(digest));
}

#[test]
fn invalid_manifests_are_refused() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 12] = [
        (|it| it["fsLayers"] = json!([]), "0 fsLayers but 3 steps"),
        (|it| it["history"] = json!(null), "3 fsLayers but 0 steps"),
        (|it| (it["fsLayers"], it["history"]) = (json!([]), json!([])), "no fsLayers"),
        (|it| it["fsLayers"][0] = json!({"blobSum": "sha256:x"}), "invalid digest"),
        (|it| it["fsLayers"][0] = json!(null), "invalid type: null"),
        (|it| it["history"][1] = json!({"v1Compatibility": "[]"}), "step 1 of its history is not a JSON object"),
        (|it| it["history"][1] = json!({"v1Compatibility": "{}"}), "step 1 of its history: missing field `id`"),
        (|it| it["history"][2] = json!({"v1Compatibility": r#"{"id":"X"}"#}), "\"X\" of a step is not 64 hex digits"),
        (
            |it| it["history"][2] = json!({"v1Compatibility": json!({"id": id(1), "parent": id(7)}).to_string()}),
            "has the parent \"0707",
        ),
        (
            |it| it["history"][0] = json!({"v1Compatibility": json!({"id": id(3), "parent": id(1)}).to_string()}),
            "has the parent \"0101",
        ),
        (
            |it| it["history"][0] = json!({"v1Compatibility": json!({"id": id(1), "parent": id(2)}).to_string()}),
            "is that of two steps",
        ),
        (|it| it["layers"] = json!([]), "ambiguous"),
    ];
    for (change, reason) in cases {
        let mut document = document();
        change(&mut document);
        let error = AnyDocument::parse(document.to_string().into_bytes(), None).unwrap_err().to_string();
        assert!(error.contains(reason), "{reason}: {error}");
    }
    let error = Schema1::parse(br#"{"schemaVersion":2}"#.to_vec()).unwrap_err().to_string();
    assert!(error.contains("schemaVersion is 2, not 1"), "{error}");
    let error = Schema1::parse(vec![b' '; (4 << 20) + 1]).unwrap_err();
    assert!(matches!(error, Error::DocumentTooLarge { .. }), "{error}");
    let layer = json!({"blobSum": digest(1)});
    let many = json!({"schemaVersion": 1, "fsLayers": vec![layer; 20_000]}).to_string();
    let error = Schema1::parse(many.into_bytes()).unwrap_err();
    assert!(matches!(error, Error::DocumentLimit { .. }), "{error}");
}

#[test]
fn other_documents_have_the_digest_of_their_bytes() {
    for text in ["{}", "not JSON", r#"{"schemaVersion":2,"signatures":[]}"#] {
        assert_eq!(manifest_digest(text.as_bytes()).unwrap(), Digest::of(text.as_bytes()));
    }
    let sha512 = Digest::from_sha512([0; 64]);
    assert!(!is_manifest_of(b"{}", &sha512));
}
