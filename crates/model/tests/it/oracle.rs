//! Comparison with `oci-spec`: both read the same values.

use oci_spec::image as oci;
use proptest::prelude::*;
use vmroot_model::{Descriptor, Document, Error, ImageConfig, Platform};

use crate::{mutation, samples};

fn assert_same_descriptor(ours: &Descriptor, theirs: &oci::Descriptor) {
    assert_eq!(ours.media_type.as_str(), theirs.media_type().to_string());
    assert_eq!(ours.digest.to_string(), theirs.digest().to_string());
    assert_eq!(ours.size, theirs.size());
    assert_eq!(ours.urls, theirs.urls().clone().unwrap_or_default());
    assert_eq!(ours.annotations, theirs.annotations().clone().unwrap_or_default().into_iter().collect());
    assert_eq!(ours.data, *theirs.data());
    assert_eq!(
        ours.artifact_type.as_ref().map(ToString::to_string),
        theirs.artifact_type().as_ref().map(ToString::to_string)
    );
    assert_eq!(ours.platform.is_some(), theirs.platform().is_some());
    if let (Some(ours), Some(theirs)) = (&ours.platform, theirs.platform()) {
        assert_same_platform(ours, theirs);
    }
}

fn assert_same_platform(ours: &Platform, theirs: &oci::Platform) {
    assert_eq!(ours.os, theirs.os().to_string());
    assert_eq!(ours.architecture, theirs.architecture().to_string());
    assert_eq!(ours.variant, *theirs.variant());
    // os.version and os.features are not compared: oci-spec 0.10 reads them as os_version and os_features, contrary to
    // the specification.
}

fn assert_same_descriptors(ours: &[Descriptor], theirs: &[oci::Descriptor]) {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).for_each(|(ours, theirs)| assert_same_descriptor(ours, theirs));
}

fn assert_same_manifest(bytes: &[u8], theirs: &oci::ImageManifest) {
    let Ok(Document::Manifest(ours)) = Document::parse(bytes.to_vec(), None) else {
        panic!("not a manifest: {}", String::from_utf8_lossy(bytes))
    };
    assert_same_descriptor(ours.config(), theirs.config());
    assert_same_descriptors(ours.layers(), theirs.layers());
    assert_eq!(*ours.annotations(), theirs.annotations().clone().unwrap_or_default().into_iter().collect());
    assert_eq!(ours.subject().is_some(), theirs.subject().is_some());
    if let (Some(ours), Some(theirs)) = (ours.subject(), theirs.subject()) {
        assert_same_descriptor(ours, theirs);
    }
}

fn assert_same_index(bytes: &[u8], theirs: &oci::ImageIndex) {
    let Ok(Document::Index(ours)) = Document::parse(bytes.to_vec(), None) else {
        panic!("not an index: {}", String::from_utf8_lossy(bytes))
    };
    assert_same_descriptors(ours.manifests(), theirs.manifests());
    assert_eq!(*ours.annotations(), theirs.annotations().clone().unwrap_or_default().into_iter().collect());
}

fn assert_same_config(bytes: &[u8], theirs: &oci::ImageConfiguration) {
    let image = ImageConfig::parse(bytes.to_vec()).unwrap();
    assert_eq!(image.os(), theirs.os().to_string());
    assert_eq!(image.architecture(), theirs.architecture().to_string());
    assert_eq!(image.created(), theirs.created().as_deref());
    assert_eq!(image.author(), theirs.author().as_deref());
    let diff_ids: Vec<String> = image.diff_ids().iter().map(ToString::to_string).collect();
    assert_eq!(diff_ids, *theirs.rootfs().diff_ids());
    let history = theirs.history().clone().unwrap_or_default();
    assert_eq!(image.history().len(), history.len());
    for (ours, theirs) in image.history().iter().zip(&history) {
        assert_eq!(ours.created, *theirs.created());
        assert_eq!(ours.created_by, *theirs.created_by());
        assert_eq!(ours.empty_layer, theirs.empty_layer().unwrap_or_default());
    }
    let (ours, theirs) = (image.config(), theirs.config().clone().unwrap_or_default());
    assert_eq!(ours.user, theirs.user().clone().unwrap_or_default());
    assert_eq!(ours.env, theirs.env().clone().unwrap_or_default());
    assert_eq!(ours.entrypoint, theirs.entrypoint().clone().unwrap_or_default());
    assert_eq!(ours.cmd, theirs.cmd().clone().unwrap_or_default());
    assert_eq!(ours.working_dir, theirs.working_dir().clone().unwrap_or_default());
    assert_eq!(ours.labels, theirs.labels().clone().unwrap_or_default().into_iter().collect());
    assert_eq!(ours.stop_signal, theirs.stop_signal().clone().unwrap_or_default());
    assert_eq!(ours.exposed_ports, sorted(theirs.exposed_ports().clone()));
    assert_eq!(ours.volumes, sorted(theirs.volumes().clone()));
}

fn sorted(list: Option<Vec<String>>) -> Vec<String> {
    let mut list = list.unwrap_or_default();
    list.sort_unstable();
    list
}

#[test]
fn samples_read_alike() {
    for json in [samples::OCI_MANIFEST, samples::DOCKER_MANIFEST] {
        assert_same_manifest(json.as_bytes(), &oci::ImageManifest::from_reader(json.as_bytes()).unwrap());
    }
    for json in [samples::OCI_INDEX, samples::DOCKER_LIST] {
        assert_same_index(json.as_bytes(), &oci::ImageIndex::from_reader(json.as_bytes()).unwrap());
    }
    let json = samples::CONFIG.as_bytes();
    assert_same_config(json, &oci::ImageConfiguration::from_reader(json).unwrap());
}

fn digest() -> impl Strategy<Value = oci::Digest> {
    "sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}".prop_map(|it| it.parse().unwrap())
}

fn media_type() -> impl Strategy<Value = oci::MediaType> {
    "application/vnd\\.oci\\.image\\.(layer\\.v1\\.tar(\\+gzip|\\+zstd)?|manifest\\.v1\\+json|index\\.v1\\+json|config\\.v1\\+json)|[a-z]{1,5}/[a-z.+;=]{1,9}"
        .prop_map(|it| oci::MediaType::from(it.as_str()))
}

fn notes() -> impl Strategy<Value = std::collections::HashMap<String, String>> {
    prop::collection::hash_map("[a-z.]{1,9}", "\\PC{0,9}", 0..3)
}

fn platform() -> impl Strategy<Value = oci::Platform> {
    let names = ("linux|windows|plan9", "amd64|arm64|arm|ppc64le|x86_64|unknown", prop::option::of("v[5-8]"));
    names.prop_map(|(os, architecture, variant)| {
        let mut platform = oci::Platform::default();
        platform.set_os(os.as_str().into()).set_architecture(architecture.as_str().into());
        platform.set_variant(variant);
        platform
    })
}

fn descriptor() -> impl Strategy<Value = oci::Descriptor> {
    let required = (media_type(), 0..=i64::MAX as u64, digest());
    let urls = prop::option::of(prop::collection::vec("https://[a-z]{1,9}", 0..2));
    (required, urls, prop::option::of(notes()), prop::option::of(platform())).prop_map(
        |((media_type, size, digest), urls, annotations, platform)| {
            let mut descriptor = oci::Descriptor::new(media_type, size, digest);
            descriptor.set_urls(urls).set_annotations(annotations).set_platform(platform);
            descriptor
        },
    )
}

proptest! {
    #[test]
    fn manifests_read_alike(
        config in descriptor(),
        layers in prop::collection::vec(descriptor(), 0..4),
        annotations in prop::option::of(notes()),
        subject in prop::option::of(descriptor()),
    ) {
        let mut manifest = oci::ImageManifestBuilder::default()
            .schema_version(2_u32).config(config).layers(layers).build().unwrap();
        manifest.set_annotations(annotations).set_subject(subject);
        assert_same_manifest(manifest.to_string().unwrap().as_bytes(), &manifest);
    }

    #[test]
    fn indexes_read_alike(
        manifests in prop::collection::vec(descriptor(), 0..6),
        annotations in prop::option::of(notes()),
    ) {
        let mut index = oci::ImageIndexBuilder::default().schema_version(2_u32).manifests(manifests).build().unwrap();
        index.set_annotations(annotations);
        assert_same_index(index.to_string().unwrap().as_bytes(), &index);
    }

    #[test]
    fn configs_read_alike(
        user in prop::option::of("[a-z:0-9]{0,9}"),
        env in prop::option::of(prop::collection::vec("\\PC{0,20}", 0..4)),
        entrypoint in prop::option::of(prop::collection::vec("\\PC{0,20}", 0..4)),
        labels in prop::option::of(notes()),
        volumes in prop::option::of(prop::collection::btree_set("/[a-z]{0,5}", 0..3)),
        diff_ids in prop::collection::vec(digest(), 0..4),
        platform in platform(),
    ) {
        let mut config = oci::Config::default();
        config.set_user(user).set_env(env).set_entrypoint(entrypoint).set_labels(labels);
        config.set_volumes(volumes.map(|it| it.into_iter().collect()));
        let diff_ids: Vec<String> = diff_ids.iter().map(ToString::to_string).collect();
        let mut image = oci::ImageConfiguration::default();
        image.set_config(Some(config)).set_os(platform.os().clone()).set_architecture(platform.architecture().clone());
        image.set_rootfs(oci::RootFsBuilder::default().typ("layers").diff_ids(diff_ids).build().unwrap());
        assert_same_config(image.to_string().unwrap().as_bytes(), &image);
    }
}

/// Removes the fields from a sample that `oci-spec` does not read, and therefore does not check.
fn without_unread_fields(json: &str) -> String {
    const UNREAD: [&str; 2] = [
        r#","os.version":"10.0.20348.2322","os.features":["win32k"]"#,
        r#","Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":30000000000,"Retries":3},"Shell":["/bin/bash","-c"],"OnBuild":["RUN true"]"#,
    ];
    UNREAD.iter().fold(json.to_owned(), |json, field| json.replace(field, ""))
}

/// Returns whether an error is one of the cases in which this crate is stricter than `oci-spec` on purpose.
fn is_stricter(error: &Error) -> bool {
    match error {
        Error::InvalidDocument { reason, .. } => {
            let reasons = ["digest", "schemaVersion", "is above", "but has"];
            reasons.iter().any(|it| reason.contains(it))
        }
        Error::AmbiguousManifest { .. } | Error::Schema1 { .. } | Error::UnsupportedMediaType { .. } => true,
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn documents_that_oci_spec_reads_are_accepted(sample in 0..samples::DOCUMENTS.len(), changes in mutation::changes()) {
        let bytes = mutation::changed(&without_unread_fields(samples::DOCUMENTS[sample]), &changes);
        let is_known = if samples::DOCUMENTS[sample].contains("\"manifests\"") {
            oci::ImageIndex::from_reader(&bytes[..]).is_ok()
        } else {
            oci::ImageManifest::from_reader(&bytes[..]).is_ok()
        };
        if is_known && let Err(error) = Document::parse(bytes, None) {
            prop_assert!(is_stricter(&error), "{}", error);
        }
        let bytes = mutation::changed(&without_unread_fields(samples::CONFIG), &changes);
        if oci::ImageConfiguration::from_reader(&bytes[..]).is_ok() && let Err(error) = ImageConfig::parse(bytes) {
            prop_assert!(is_stricter(&error), "{}", error);
        }
    }
}
