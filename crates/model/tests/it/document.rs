//! Tests of manifests and indexes: telling them apart, reading them leniently, and refusing ambiguous ones.

use vmroot_model::{Descriptor, Digest, Document, Error, MANIFEST_LIMIT, MediaType};

use crate::samples;

const DESCRIPTOR: &str =
    r#"{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1}"#;

fn parse(json: &str) -> Result<Document, Error> {
    Document::parse(json.as_bytes().to_vec(), None)
}

/// Parses a document in which `CONFIG` stands for a descriptor.
fn parse_template(json: &str) -> Result<Document, Error> {
    parse(&json.replace("CONFIG", DESCRIPTOR))
}

#[test]
fn documents_keep_bytes_and_digest() {
    for json in samples::DOCUMENTS {
        let document = parse(json).unwrap();
        assert_eq!(document.raw(), json.as_bytes());
        assert_eq!(document.digest(), &Digest::of(json.as_bytes()));
    }
}

#[test]
fn kinds_are_told_apart() {
    for (json, media_type) in [
        (samples::OCI_MANIFEST, MediaType::OCI_MANIFEST),
        (samples::DOCKER_MANIFEST, MediaType::DOCKER_MANIFEST),
        (samples::ARTIFACT, MediaType::OCI_MANIFEST),
        (samples::OCI_INDEX, MediaType::OCI_INDEX),
        (samples::DOCKER_LIST, MediaType::DOCKER_INDEX),
    ] {
        let document = parse(json).unwrap();
        assert_eq!(document.media_type(), &media_type);
        assert_eq!(matches!(document, Document::Index(_)), media_type.is_index());
    }
}

#[test]
fn manifests_are_read() {
    let manifest = samples::manifest(samples::OCI_MANIFEST);
    assert_eq!(manifest.config().media_type, MediaType::OCI_CONFIG);
    assert_eq!(manifest.config().size, 7023);
    let sizes: Vec<u64> = manifest.layers().iter().map(|it| it.size).collect();
    assert_eq!(sizes, [32654, 16724]);
    assert_eq!(manifest.layers()[1].annotation("a"), Some("b"));
    assert_eq!(manifest.annotations()["com.example.key1"], "value1");
    assert!(manifest.is_image() && manifest.subject().is_none());

    let artifact = samples::manifest(samples::ARTIFACT);
    assert!(!artifact.is_image() && artifact.layers().is_empty());
    assert_eq!(artifact.artifact_type().unwrap().as_str(), "application/vnd.example+type");
    assert_eq!(artifact.subject().unwrap().size, 7682);
    assert_eq!(artifact.config().data.as_deref(), Some("e30="));
}

#[test]
fn indexes_are_read() {
    let index = samples::index(samples::DOCKER_LIST);
    let windows = index.manifests()[0].platform.as_ref().unwrap();
    assert_eq!(windows.os_version.as_deref(), Some("10.0.20348.2322"));
    assert_eq!(windows.os_features, ["win32k"]);
    assert!(samples::index(samples::OCI_INDEX).manifests()[0].is_attestation());
}

#[test]
fn deviations_of_real_documents_are_accepted() {
    for json in [
        r#"{"schemaVersion":2,"manifests":null}"#,
        r#"{"schemaVersion":2,"manifests":[],"annotations":null,"layers":null,"config":null,"mediaType":null}"#,
        r#"{"schemaVersion":2,"config":CONFIG,"layers":null,"manifests":null,"fsLayers":null}"#,
        r#"{"schemaVersion":2,"config":CONFIG,"layers":[CONFIG,CONFIG],"mediaType":""}"#,
        r#"{"schemaVersion":2,"config":CONFIG,"subject":null,"artifactType":null,"unknown":{"x":[1,2.5,null]}}"#,
        "\n\t {\"schemaVersion\":2,\"config\":CONFIG}\r\n",
    ] {
        parse_template(json).unwrap_or_else(|error| panic!("{json}: {error}"));
    }
}

/// As in configs, `null` entries of lists and maps are ignored. A `null` layer or config is an error, since a layer
/// would be missing.
#[test]
fn nulls_are_ignored_at_any_depth() {
    let manifest = samples::manifest(&format!(
        r#"{{"schemaVersion":2,"annotations":{{"a":null,"b":"c"}},"config":{DESCRIPTOR},
            "layers":[{{"digest":"{0}","size":1,"urls":[null,"x",null],"annotations":{{"a":null}},
                        "platform":{{"os":null,"architecture":null,"os.features":[null],"os.version":null}}}}]}}"#,
        Digest::of(b"")
    ));
    assert_eq!(manifest.annotations().len(), 1);
    let layer = &manifest.layers()[0];
    assert_eq!((layer.urls.len(), layer.annotations.len()), (1, 0));
    assert!(layer.platform.as_ref().unwrap().os_features.is_empty());
    let index = samples::index(&format!(
        r#"{{"schemaVersion":2,"annotations":{{"a":null}},"manifests":[null,{DESCRIPTOR},null]}}"#
    ));
    assert_eq!((index.annotations().len(), index.manifests().len()), (0, 1));
    for json in [
        r#"{"schemaVersion":2,"config":CONFIG,"layers":[CONFIG,null]}"#,
        r#"{"schemaVersion":2,"config":null,"layers":[CONFIG]}"#,
    ] {
        let error = parse_template(json).unwrap_err();
        assert!(matches!(error, Error::InvalidDocument { .. }), "{json}: {error}");
    }
}

#[test]
fn ambiguous_documents_are_refused() {
    for json in [
        r#"{"schemaVersion":2,"config":CONFIG,"layers":[],"manifests":[]}"#,
        r#"{"schemaVersion":2,"layers":[],"manifests":[]}"#,
        r#"{"schemaVersion":2,"config":CONFIG,"manifests":[]}"#,
        r#"{"schemaVersion":2,"layers":[],"fsLayers":[]}"#,
        r#"{"schemaVersion":1,"manifests":[],"fsLayers":[]}"#,
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","layers":[],"manifests":[]}"#,
    ] {
        let error = parse_template(json).unwrap_err();
        assert!(matches!(error, Error::AmbiguousManifest { .. }), "{json}: {error}");
    }
    let error = parse_template(r#"{"schemaVersion":2,"layers":[],"manifests":{}}"#).unwrap_err().to_string();
    assert!(error.contains("layers and manifests"), "{error}");
}

#[test]
fn schema_1_is_refused() {
    for json in [
        r#"{"schemaVersion":1,"name":"x","tag":"y","architecture":"amd64","fsLayers":[{"blobSum":"x"}],"history":[]}"#,
        r#"{"schemaVersion":1}"#,
        r#"{"schemaVersion":2,"fsLayers":[]}"#,
        r#"{"schemaVersion":1,"mediaType":"application/vnd.docker.distribution.manifest.v1+json"}"#,
    ] {
        let error = parse(json).unwrap_err();
        assert!(matches!(error, Error::Schema1 { .. }) && error.to_string().contains("schema 1"), "{json}: {error}");
    }
    let signed = Some("application/vnd.docker.distribution.manifest.v1+prettyjws");
    assert!(matches!(Document::parse(b"{}".to_vec(), signed), Err(Error::Schema1 { .. })));
}

#[test]
fn errors_have_the_reason() {
    for (json, reason) in [
        ("", "not a JSON object"),
        ("[2]", "not a JSON object"),
        ("<html>not found</html>", "not a JSON object"),
        ("{", "EOF"),
        (r#"{"schemaVersion":2,"config":CONFIG} x"#, "trailing characters"),
        (r#"{"schemaVersion":2}"#, "neither layers nor manifests"),
        (r#"{"config":CONFIG}"#, "no schemaVersion"),
        (r#"{"schemaVersion":3,"config":CONFIG}"#, "schemaVersion is 3"),
        (r#"{"schemaVersion":-1,"config":CONFIG}"#, "schemaVersion is -1"),
        (r#"{"schemaVersion":"2","config":CONFIG}"#, "invalid type: string"),
        (r#"{"schemaVersion":2,"layers":[]}"#, "missing field `config`"),
        (r#"{"schemaVersion":2,"config":CONFIG,"layers":{}}"#, "expected a list"),
        (r#"{"schemaVersion":2,"config":CONFIG,"layers":[null]}"#, "invalid type: null"),
        (r#"{"schemaVersion":2,"config":CONFIG,"config":CONFIG}"#, "duplicate field `config`"),
        (r#"{"schemaVersion":2,"config":{"digest":"sha256:ff","size":1}}"#, "wrong number of hex digits"),
        (r#"{"schemaVersion":2,"config":{"size":1}}"#, "missing field `digest`"),
        (
            r#"{"schemaVersion":2,"config":CONFIG,"mediaType":"application/vnd.oci.image.index.v1+json"}"#,
            "but has layers or a config",
        ),
        (
            r#"{"schemaVersion":2,"manifests":[],"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#,
            "but has manifests",
        ),
    ] {
        let error = parse_template(json).unwrap_err();
        assert!(matches!(error, Error::InvalidDocument { .. }), "{json}: {error:?}");
        assert!(error.to_string().contains(reason), "{json}: {error}");
    }
}

#[test]
fn sizes_are_checked() {
    let with_size = |size: &str| {
        parse_template(r#"{"schemaVersion":2,"config":CONFIG}"#.replace("CONFIG", &DESCRIPTOR.replace(":1}", &format!(":{size}}}"))).as_str())
    };
    for size in ["0", "1", "9223372036854775807"] {
        assert!(with_size(size).is_ok(), "{size}");
    }
    for (size, reason) in [
        ("-1", "size -1 is negative"),
        ("-9223372036854775808", "is negative"),
        ("9223372036854775808", "size 9223372036854775808 is above 9223372036854775807"),
        ("18446744073709551616", "expected a size in bytes"),
        ("1e30", "expected a size in bytes"),
        ("1.5", "expected a size in bytes"),
        ("\"1\"", "expected a size in bytes"),
        ("null", "expected a size in bytes"),
    ] {
        let error = with_size(size).unwrap_err().to_string();
        assert!(error.contains(reason), "{size}: {error}");
    }
}

#[test]
fn types_must_agree() {
    let parse = |json: &str, sent: &str| Document::parse(json.as_bytes().to_vec(), Some(sent));
    for sent in [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.index.v1+json; charset=utf-8",
        "Application/VND.oci.image.index.v1+json",
        "application/json",
        "text/plain; charset=utf-8",
        "",
    ] {
        assert_eq!(parse(samples::OCI_INDEX, sent).unwrap().media_type(), &MediaType::OCI_INDEX, "{sent}");
    }
    for sent in
        ["application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.oci.image.manifest.v1+json"]
    {
        let error = parse(samples::OCI_INDEX, sent).unwrap_err();
        assert!(matches!(error, Error::MediaTypeMismatch { .. }), "{error}");
        assert!(error.to_string().contains(sent), "{error}");
    }
    // This document has no type, so the type of the sender counts, unless the fields contradict it.
    let docker = "application/vnd.docker.distribution.manifest.v2+json; charset=utf-8";
    assert_eq!(parse(samples::OCI_MANIFEST, docker).unwrap().media_type(), &MediaType::DOCKER_MANIFEST);
    let error = parse(samples::OCI_MANIFEST, "application/vnd.oci.image.index.v1+json").unwrap_err();
    assert!(matches!(error, Error::InvalidDocument { .. }), "{error}");
    let error = parse(samples::OCI_MANIFEST, "application/vnd.example.thing+json").unwrap_err();
    assert!(matches!(error, Error::UnsupportedMediaType { .. }), "{error}");
}

#[test]
fn length_is_limited() {
    let limit = usize::try_from(MANIFEST_LIMIT).unwrap();
    let mut bytes = samples::OCI_INDEX.as_bytes().to_vec();
    bytes.resize(limit, b' ');
    assert!(Document::parse(bytes.clone(), None).is_ok());
    bytes.push(b' ');
    let error = Document::parse(bytes, None).unwrap_err().to_string();
    assert_eq!(error, "manifest is 4194305 bytes long; 4194304 is the limit");
}

#[test]
fn depth_and_counts_are_limited() {
    let nested = "[".repeat(1_000_000);
    // Unknown values are skipped without recursion, even if they do not end.
    assert!(parse_template(&format!(r#"{{"schemaVersion":2,"config":CONFIG,"x":{nested}"#)).is_err());
    assert!(parse_template(&format!(r#"{{"schemaVersion":2,"config":CONFIG,"layers":{nested}"#)).is_err());
    let full = format!(r#"{{"schemaVersion":2,"config":CONFIG,"layers":[CONFIG{}]}}"#, ",CONFIG".repeat(16_383));
    assert!(parse_template(&full).is_ok());
    let error = parse_template(&full.replacen("[CONFIG", "[CONFIG,CONFIG", 1)).unwrap_err().to_string();
    assert!(error.contains("a list of more than 16384 entries"), "{error}");
}

#[test]
fn descriptors_without_types_are_kept() {
    let manifest = samples::manifest(&r#"{"schemaVersion":2,"config":CONFIG}"#.replace("CONFIG", DESCRIPTOR));
    assert!(manifest.is_image());
    assert_eq!(manifest.config(), &Descriptor::new(MediaType::default(), Digest::of(b""), 1));
}

#[test]
fn without_a_type_the_config_decides_between_docker_and_oci() {
    for (config, expected) in [
        ("application/vnd.docker.container.image.v1+json", MediaType::DOCKER_MANIFEST),
        ("application/vnd.oci.image.config.v1+json", MediaType::OCI_MANIFEST),
        ("application/octet-stream", MediaType::OCI_MANIFEST),
        ("", MediaType::OCI_MANIFEST),
    ] {
        let json = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"{config}","digest":"{}","size":0}},"layers":[]}}"#,
            Digest::of(b"")
        );
        let document = Document::parse(json.into_bytes(), None).unwrap();
        assert_eq!(document.media_type(), &expected, "{config}");
    }
}

#[test]
fn a_history_is_schema_1() {
    let json = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"x","digest":"{}","size":0}},"history":[]}}"#,
        Digest::of(b"")
    );
    let error = Document::parse(json.into_bytes(), None).unwrap_err();
    assert!(matches!(&error, Error::AmbiguousManifest { fields, .. } if fields == "config and history"), "{error}");
}
