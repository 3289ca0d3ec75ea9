//! Conversions between formats, and the same format with other layers.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vmroot_model::{
    Converted, Descriptor, Digest, Document, Error, LayerCompression, Loss, Manifest, ManifestFormat, MediaType,
    NewManifest, Reference, Schema1, WrittenLayer,
};

use crate::samples::{self, manifest};

/// The config of a Docker image, with members that OCI does not define.
const DOCKER_CONFIG: &str = r#"{"architecture":"arm","variant":"v7","config":{"Hostname":"","AttachStdin":false,"ExposedPorts":{"80/tcp":{},"443/tcp":{}},"Env":["A=<b>&c"],"Cmd":["nginx","-g"],"Healthcheck":{"Test":["NONE"]},"ArgsEscaped":true,"Image":"sha256:x","Volumes":null,"WorkingDir":"","OnBuild":null,"Labels":{"b":"2","a":"1"}},"container":"0123","container_config":{"Hostname":"0123"},"created":"2024-01-02T03:04:05.120000000Z","docker_version":"20.10.1","history":[{"created":"2024-01-02T03:04:05+00:00","created_by":"/bin/sh -c #(nop) ADD"},{"created":"2024-01-02T03:04:05.5Z","created_by":"CMD","empty_layer":true}],"os":"linux","os.version":"","rootfs":{"type":"layers","diff_ids":["sha256:c6f988f4874bb0add23a778f753c65efe992244e148a1d2ec2a8b664fb66bbd1"]}}"#;
/// The text that Go writes for it.
const OCI_CONFIG: &str = r#"{"created":"2024-01-02T03:04:05.12Z","architecture":"arm","os":"linux","variant":"v7","config":{"ExposedPorts":{"443/tcp":{},"80/tcp":{}},"Env":["A=\u003cb\u003e\u0026c"],"Cmd":["nginx","-g"],"Labels":{"a":"1","b":"2"},"ArgsEscaped":true},"rootfs":{"type":"layers","diff_ids":["sha256:c6f988f4874bb0add23a778f753c65efe992244e148a1d2ec2a8b664fb66bbd1"]},"history":[{"created":"2024-01-02T03:04:05Z","created_by":"/bin/sh -c #(nop) ADD"},{"created":"2024-01-02T03:04:05.5Z","created_by":"CMD","empty_layer":true}]}"#;

fn layer(media_type: &str, content: &str) -> Descriptor {
    Descriptor::of(media_type.into(), content.as_bytes())
}

fn unchanged(manifest: &Manifest) -> Vec<WrittenLayer> {
    manifest.layers().iter().map(WrittenLayer::unchanged).collect()
}

fn recompressed(content: &str, compression: LayerCompression) -> WrittenLayer {
    WrittenLayer::recompressed(Digest::of(content.as_bytes()), content.len() as u64, compression)
}

fn docker(config: &str, layers: &[&str]) -> Manifest {
    let config = Descriptor::of(MediaType::DOCKER_CONFIG, config.as_bytes());
    let layers = layers.iter().map(|it| layer(it, it)).collect();
    manifest(std::str::from_utf8(&NewManifest::schema2(config, layers).to_bytes()).unwrap())
}

fn oci(layers: Vec<Descriptor>) -> Manifest {
    let config = Descriptor::of(MediaType::OCI_CONFIG, samples::CONFIG.as_bytes());
    manifest(std::str::from_utf8(&NewManifest::oci(config, layers).to_bytes()).unwrap())
}

fn parsed(converted: &Converted) -> Manifest {
    match Document::parse(converted.manifest.clone(), Some(converted.media_type.as_str())).unwrap() {
        Document::Manifest(manifest) => manifest,
        Document::Index(_) => panic!("an index"),
    }
}

fn types(manifest: &Manifest) -> Vec<&str> {
    manifest.layers().iter().map(|it| it.media_type.as_str()).collect()
}

#[test]
fn a_docker_config_becomes_the_bytes_that_go_writes() {
    let source = docker(DOCKER_CONFIG, &["application/vnd.docker.image.rootfs.diff.tar.gzip"]);
    let converted = source.convert(ManifestFormat::Oci, DOCKER_CONFIG.as_bytes(), &unchanged(&source)).unwrap();
    assert_eq!(std::str::from_utf8(converted.config.as_ref().unwrap()).unwrap(), OCI_CONFIG);
    let result = parsed(&converted);
    assert_eq!(result.media_type(), &MediaType::OCI_MANIFEST);
    assert_eq!(result.config(), &Descriptor::of(MediaType::OCI_CONFIG, OCI_CONFIG.as_bytes()));
    assert_eq!(types(&result), ["application/vnd.oci.image.layer.v1.tar+gzip"]);
    let names = ["container", "container_config", "docker_version", "config.Healthcheck", "config.Image"];
    assert_eq!(converted.losses, [Loss::ConfigMembers { names: names.map(str::to_owned).to_vec() }]);
    let sentence = "the config loses container, container_config, docker_version, config.Healthcheck, config.Image: \
                    OCI does not define them";
    assert_eq!(converted.losses[0].to_string(), sentence);
}

#[test]
fn a_config_that_is_already_that_of_oci_does_not_change() {
    let source = docker(OCI_CONFIG, &["application/vnd.docker.image.rootfs.diff.tar.gzip"]);
    let converted = source.convert(ManifestFormat::Oci, OCI_CONFIG.as_bytes(), &unchanged(&source)).unwrap();
    assert_eq!((converted.config.as_ref(), converted.losses.len()), (None, 0));
    assert_eq!(parsed(&converted).config().digest, source.config().digest);
}

#[test]
fn layer_types_have_counterparts() {
    let pairs = [
        ("application/vnd.docker.image.rootfs.diff.tar", "application/vnd.oci.image.layer.v1.tar"),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", "application/vnd.oci.image.layer.v1.tar+gzip"),
        (
            "application/vnd.docker.image.rootfs.foreign.diff.tar",
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
        ),
        (
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        ),
    ];
    let source = docker(samples::CONFIG, &pairs.map(|(docker, _)| docker));
    let there = source.convert(ManifestFormat::Oci, samples::CONFIG.as_bytes(), &unchanged(&source)).unwrap();
    assert_eq!(types(&parsed(&there)), pairs.map(|(_, oci)| oci));
    let there = parsed(&there);
    let back = there.convert(ManifestFormat::Schema2, OCI_CONFIG.as_bytes(), &unchanged(&there)).unwrap();
    assert_eq!(types(&parsed(&back)), pairs.map(|(docker, _)| docker));
    assert_eq!(back.config, None);
    assert_eq!(parsed(&back).config().digest, there.config().digest);
    assert_eq!(parsed(&back).config().media_type, MediaType::DOCKER_CONFIG);
    assert_eq!(back.losses, []);

    // Docker's unofficial zstd type goes to OCI only.
    let source = docker(samples::CONFIG, &["application/vnd.docker.image.rootfs.diff.tar.zstd"]);
    let there = source.convert(ManifestFormat::Oci, samples::CONFIG.as_bytes(), &unchanged(&source)).unwrap();
    assert_eq!(types(&parsed(&there)), ["application/vnd.oci.image.layer.v1.tar+zstd"]);
}

#[test]
fn a_new_schema_2_manifest_has_the_members_of_go_in_order() {
    let gzip = layer("application/vnd.oci.image.layer.v1.tar+gzip", "x");
    let source = oci(vec![gzip.clone()]);
    let converted = source.convert(ManifestFormat::Schema2, samples::CONFIG.as_bytes(), &unchanged(&source)).unwrap();
    let (config, digest) = (source.config(), gzip.digest);
    let expected = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{{"mediaType":"application/vnd.docker.container.image.v1+json","size":{},"digest":"{}"}},"layers":[{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":1,"digest":"{digest}"}}]}}"#,
        config.size, config.digest
    );
    assert_eq!(String::from_utf8(converted.manifest).unwrap(), expected);
}

#[test]
fn everything_that_schema_2_cannot_have_is_said() {
    let mut document: Value = serde_json::from_str(samples::OCI_MANIFEST).unwrap();
    document["layers"].as_array_mut().unwrap().remove(1);
    document["layers"][0]["annotations"] = json!({"k": "v"});
    document["config"]["annotations"] = json!({"c": "v"});
    document["subject"] = serde_json::to_value(layer("application/vnd.oci.image.manifest.v1+json", "s")).unwrap();
    document["artifactType"] = json!("application/vnd.example");
    document["extension"] = json!([1]);
    let source = manifest(&document.to_string());
    let converted = source.convert(ManifestFormat::Schema2, b"", &unchanged(&source)).unwrap();
    let sentences: Vec<String> = converted.losses.iter().map(ToString::to_string).collect();
    let digest = Digest::of(b"s");
    assert_eq!(
        sentences,
        [
            "the manifest loses its annotations com.example.key1: Docker's manifests have none".to_owned(),
            "the config loses its annotations c: Docker's manifests have none".to_owned(),
            format!("the manifest loses its subject {digest}: Docker's manifests have none"),
            "the manifest loses its artifact type \"application/vnd.example\": Docker's manifests have none".to_owned(),
            "the manifest loses extension: the new format does not define them".to_owned(),
            format!("layer {} loses its annotations k", source.layers()[0].digest),
        ]
    );
    assert!(!String::from_utf8(converted.manifest).unwrap().contains("annotations"));
}

#[test]
fn images_that_schema_2_cannot_hold_are_refused() {
    for (media_type, reason) in [
        ("application/vnd.oci.image.layer.v1.tar+zstd", "recompress it with gzip"),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", "recompress it with gzip"),
        ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "is encrypted"),
        ("application/vnd.oci.image.layer.v1.tar+br", "is no layer"),
        ("text/plain", "is no layer"),
    ] {
        let source = oci(vec![layer(media_type, "x")]);
        let error = source.convert(ManifestFormat::Schema2, samples::CONFIG.as_bytes(), &unchanged(&source));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains(media_type), "{error}");
    }
    let artifact = manifest(samples::ARTIFACT);
    let error = artifact.convert(ManifestFormat::Schema2, b"{}", &[]).unwrap_err().to_string();
    assert!(error.contains("it is no image: its config is of type \"application/vnd.oci.empty.v1+json\""), "{error}");
}

#[test]
fn zstd_becomes_gzip_on_the_way_to_schema_2_and_back() {
    let mut chunked = layer("application/vnd.oci.image.layer.v1.tar+zstd", "x");
    chunked.annotations.insert("io.github.containers.zstd-chunked.manifest-position".into(), "1:2:3:1".into());
    let source = oci(vec![chunked]);
    let gzip = recompressed("gzip", LayerCompression::Gzip);
    let there = source.convert(ManifestFormat::Schema2, samples::CONFIG.as_bytes(), &[gzip]).unwrap();
    assert_eq!(types(&parsed(&there)), ["application/vnd.docker.image.rootfs.diff.tar.gzip"]);
    assert_eq!(there.losses, []); // The annotation was about the old bytes.

    let mut zstd = recompressed("zstd", LayerCompression::Zstd);
    zstd.annotations.insert("io.github.containers.zstd-chunked.manifest-position".into(), "4:5:6:1".into());
    let source = parsed(&there);
    let back = source.convert(ManifestFormat::Oci, samples::CONFIG.as_bytes(), &[zstd.clone()]).unwrap();
    let layers = parsed(&back).layers().to_vec();
    assert_eq!(layers[0].media_type, MediaType::OCI_LAYER_ZSTD);
    assert_eq!(layers[0].annotations, zstd.annotations);
    let error = source.with_layers(&[zstd]).unwrap_err().to_string();
    assert!(error.contains("cannot become zstd"), "{error}");
}

#[test]
fn a_manifest_without_changes_keeps_its_bytes() {
    for text in [samples::OCI_MANIFEST, samples::DOCKER_MANIFEST, samples::ARTIFACT] {
        let source = manifest(text);
        let same = source.convert(source.format(), b"", &unchanged(&source)).unwrap();
        assert_eq!(same.manifest, text.as_bytes());
        assert_eq!((same.losses, same.config), (vec![], None));
    }
}

#[test]
fn changed_layers_keep_the_order_and_unknown_members_of_the_manifest() {
    let text = r#"{ "extension": {"b": 1, "a": 1.0},
        "layers": [
            {"size": 1, "urls": ["http://x"], "digest": "sha256:1111111111111111111111111111111111111111111111111111111111111111", "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "annotations": {"k": "v"}, "data": "AA==", "other": true},
            {"size": 2, "annotations": {"k": "v"}, "digest": "sha256:2222222222222222222222222222222222222222222222222222222222222222", "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}],
        "config": {"digest": "sha256:3333333333333333333333333333333333333333333333333333333333333333", "size": 3, "mediaType": "application/vnd.oci.image.config.v1+json"},
        "schemaVersion": 2 }"#;
    let source = manifest(text);
    let mut layers = unchanged(&source);
    layers[0] = recompressed("new", LayerCompression::Zstd);
    let converted = source.with_layers(&layers).unwrap();
    let digest = Digest::of(b"new");
    let expected = format!(
        r#"{{"extension":{{"b":1,"a":1.0}},"layers":[{{"size":3,"digest":"{digest}","mediaType":"application/vnd.oci.image.layer.v1.tar+zstd","other":true}},{{"size":2,"annotations":{{"k":"v"}},"digest":"sha256:2222222222222222222222222222222222222222222222222222222222222222","mediaType":"application/vnd.oci.image.layer.v1.tar+gzip"}}],"config":{{"digest":"sha256:3333333333333333333333333333333333333333333333333333333333333333","size":3,"mediaType":"application/vnd.oci.image.config.v1+json"}},"schemaVersion":2}}"#
    );
    assert_eq!(String::from_utf8(converted.manifest).unwrap(), expected);
    let lost = Loss::LayerAnnotations { layer: source.layers()[0].digest, keys: vec!["k".to_owned()] };
    assert_eq!(converted.losses, [lost]);
}

#[test]
fn another_config_keeps_the_rest() {
    let source = manifest(samples::DOCKER_MANIFEST);
    let config = Descriptor::of(MediaType::DOCKER_CONFIG, b"{}");
    let Document::Manifest(result) = Document::parse(source.with_config(&config).unwrap(), None).unwrap() else {
        panic!("an index")
    };
    assert_eq!(result.config(), &config);
    assert_eq!(result.layers(), source.layers());
}

#[test]
fn a_wrong_config_or_number_of_layers_is_an_error() {
    let source = docker(DOCKER_CONFIG, &["application/vnd.docker.image.rootfs.diff.tar.gzip"]);
    let error = source.convert(ManifestFormat::Oci, b"{}", &unchanged(&source)).unwrap_err();
    assert!(matches!(error, Error::WrongConfig { .. }), "{error}");
    for format in [ManifestFormat::Oci, ManifestFormat::Schema2] {
        let error = source.convert(format, DOCKER_CONFIG.as_bytes(), &[]).unwrap_err().to_string();
        assert!(error.contains("it has 1 layer, but 0 were written"), "{error}");
    }
}

#[test]
fn a_long_list_of_losses_is_shortened() {
    let keys = (0..20).map(|it| it.to_string()).collect();
    let text = Loss::ManifestAnnotations { keys }.to_string();
    let expected =
        "the manifest loses its annotations 0, 1, 2, 3, 4, 5, 6, 7 and 12 more: Docker's manifests have none";
    assert_eq!(text, expected);
}

#[test]
fn new_manifests_have_the_order_of_go() {
    let mut document = NewManifest::oci(layer("c", "c"), vec![layer("l", "l")]);
    document.artifact_type = Some("a".into());
    document.subject = Some(layer("s", "s"));
    document.annotations = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    let bytes = document.to_bytes();
    let names = ["schemaVersion", "mediaType", "artifactType", "config", "layers", "subject", "annotations"];
    let text = String::from_utf8(bytes).unwrap();
    let positions: Vec<Option<usize>> = names.iter().map(|it| text.find(&format!("\"{it}\":"))).collect();
    assert!(positions.iter().all(Option::is_some) && positions.is_sorted(), "{text}");
}

#[test]
fn schema_1_needs_a_history_that_fits() {
    let with_history = |history: &str| samples::CONFIG.replace("\"history\":[", &format!("\"history\":[{history}"));
    let gzip = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    let more = with_history(r#"{"created_by":"RUN x"},"#);
    let none = samples::CONFIG.replace("history", "other");
    for (config, layers, reason) in [
        (none.as_str(), vec![gzip], "has no history"),
        (&more, vec![gzip], "has 2 steps with files, but it has 1 layer"),
        (samples::CONFIG, vec![gzip, gzip], "has 1 step with files, but it has 2 layers"),
        (samples::CONFIG, vec!["application/vnd.docker.image.rootfs.diff.tar.zstd"], "recompress it with gzip"),
    ] {
        let source = docker(config, &layers);
        let error = source.to_schema1(config.as_bytes(), &unchanged(&source), None).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    let source = docker(samples::CONFIG, &[gzip]);
    let name = Reference::parse("example.com/team/image:v1").unwrap();
    let converted = source.to_schema1(samples::CONFIG.as_bytes(), &unchanged(&source), Some(&name)).unwrap();
    let schema1 = Schema1::parse(converted.manifest).unwrap();
    assert_eq!((schema1.name(), schema1.tag(), schema1.architecture()), ("team/image", "v1", "arm"));
    assert_eq!(converted.losses, [Loss::LayerTypes]);
}
