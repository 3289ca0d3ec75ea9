//! Damaged documents. Any result is accepted except a panic.

use proptest::prelude::*;
use vmroot_model::{
    AnyDocument, Descriptor, Digest, Document, ImageConfig, IndexFormat, LayerCompression, ManifestFormat, MediaType,
    NewManifest, Platform, Schema1, Search, WrittenLayer, chain_ids, manifest_digest,
};

use crate::samples;

/// Values that are difficult for JSON readers.
const TOKENS: [&str; 18] = [
    "null",
    "-1",
    "1e999",
    "18446744073709551616",
    "9223372036854775808",
    "{}",
    "[]",
    "[null]",
    "\"\"",
    "\"\\ud800\"",
    "true",
    "\"sha256:\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"unknown\"",
];

/// A change to a document. The place is a fraction of its length, from 0 to 1.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Byte(f64, u8),
    Cut(f64),
    Remove(f64, usize),
    Repeat(f64, usize),
    /// Replaces the value after the next colon by a token.
    Value(f64, usize),
}

pub(crate) fn changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(change(), 1..4)
}

fn change() -> impl Strategy<Value = Change> {
    let place = || 0.0..1.0;
    prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        place().prop_map(Change::Cut),
        (place(), 1..60_usize).prop_map(|(at, length)| Change::Remove(at, length)),
        (place(), 1..200_usize).prop_map(|(at, length)| Change::Repeat(at, length)),
        (place(), 0..TOKENS.len()).prop_map(|(at, token)| Change::Value(at, token)),
        (place(), 0..TOKENS.len()).prop_map(|(at, token)| Change::Value(at, token)),
    ]
}

/// Returns the document with the changes applied.
pub(crate) fn changed(json: &str, changes: &[Change]) -> Vec<u8> {
    let mut bytes = json.as_bytes().to_vec();
    changes.iter().for_each(|it| apply(&mut bytes, it));
    bytes
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a fraction")]
fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let position = |at: f64, bytes: &[u8]| (at * bytes.len() as f64) as usize;
    match *change {
        Change::Byte(at, byte) => {
            let at = position(at, bytes);
            bytes.splice(at..(at + 1).min(bytes.len()), [byte]);
        }
        Change::Cut(at) => bytes.truncate(position(at, bytes)),
        Change::Remove(at, length) => {
            let at = position(at, bytes);
            bytes.drain(at..(at + length).min(bytes.len()));
        }
        Change::Repeat(at, length) => {
            let at = position(at, bytes);
            let piece = bytes[at..(at + length).min(bytes.len())].to_vec();
            bytes.splice(at..at, piece);
        }
        Change::Value(at, token) => {
            let at = position(at, bytes);
            let Some(colon) = bytes[at..].windows(2).position(|it| it == b"\":").map(|it| at + it + 2) else { return };
            let end = bytes[colon..].iter().position(|it| b",}]".contains(it)).map_or(bytes.len(), |it| colon + it);
            bytes.splice(colon..end, TOKENS[token].bytes());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damaged_documents_do_not_panic(sample in 0..samples::DOCUMENTS.len(), changes in changes()) {
        let bytes = changed(samples::DOCUMENTS[sample], &changes);
        if let Ok(document) = Document::parse(bytes.clone(), None) {
            prop_assert_eq!(document.raw(), &bytes[..]);
            prop_assert_eq!(document.digest(), &Digest::of(&bytes));
            // An accepted document gives the same result with its own media type.
            let again = Document::parse(bytes, Some(document.media_type().as_str())).unwrap();
            prop_assert_eq!(&again, &document);
            if let Document::Index(index) = document {
                let mut search = Search::new(&Platform::host());
                search.enter(&index);
                while let Ok(candidate) = search.next_candidate() {
                    prop_assert!(!candidate.is_attestation());
                }
            }
        }
    }

    #[test]
    fn damaged_configs_do_not_panic(changes in changes()) {
        let bytes = changed(samples::CONFIG, &changes);
        if let Ok(config) = ImageConfig::parse(bytes.clone()) {
            prop_assert_eq!(config.digest(), &Digest::of(&bytes));
            prop_assert_eq!(chain_ids(config.diff_ids()).len(), config.diff_ids().len());
            let _ = config.check_platform(&Platform::host());
            // Writing and reading it again gives the same value.
            let json = serde_json::to_string(config.config()).unwrap();
            prop_assert_eq!(&serde_json::from_str::<vmroot_model::ContainerConfig>(&json).unwrap(), config.config());
        }
    }

    #[test]
    fn damaged_documents_are_converted_or_refused(sample in 0..samples::DOCUMENTS.len(), changes in changes()) {
        match Document::parse(changed(samples::DOCUMENTS[sample], &changes), None) {
            Ok(Document::Manifest(manifest)) => {
                let layers: Vec<_> = manifest.layers().iter().map(WrittenLayer::unchanged).collect();
                prop_assert_eq!(&manifest.with_layers(&layers).unwrap().manifest[..], manifest.raw());
                let _ = manifest.convert(ManifestFormat::Oci, b"{}", &layers);
                if let Ok(converted) = manifest.convert(ManifestFormat::Schema2, b"{}", &layers) {
                    let _: Vec<String> = converted.losses.iter().map(ToString::to_string).collect();
                    prop_assert!(Document::parse(converted.manifest, Some(converted.media_type.as_str())).is_ok());
                }
                let digest = Digest::of(b"new");
                let gzip: Vec<_> =
                    layers.iter().map(|_| WrittenLayer::recompressed(digest, 3, LayerCompression::Gzip)).collect();
                if let Ok(converted) = manifest.with_layers(&gzip) {
                    let Document::Manifest(new) = Document::parse(converted.manifest, None).unwrap() else { panic!() };
                    prop_assert!(new.layers().iter().all(|it| it.digest == digest));
                    prop_assert_eq!((new.config(), new.annotations()), (manifest.config(), manifest.annotations()));
                }
            }
            Ok(Document::Index(index)) => {
                let _ = index.choose_instance(&Platform::host(), false);
                let same = index.edit().finish().unwrap();
                prop_assert_eq!(&same.bytes[..], index.raw());
                let mut edit = index.edit();
                edit.remove(0);
                if let Ok(edited) = edit.clone().finish() {
                    let Document::Index(new) = Document::parse(edited.bytes, None).unwrap() else { panic!() };
                    prop_assert_eq!(new.manifests(), index.manifests().get(1..).unwrap_or_default());
                }
                for format in [IndexFormat::Oci, IndexFormat::DockerList] {
                    if let Ok(edited) = edit.clone().finish_as(format, &Platform::host()) {
                        let Document::Index(new) = Document::parse(edited.bytes, None).unwrap() else { panic!() };
                        prop_assert_eq!(new.manifests().len(), index.manifests().len().saturating_sub(1));
                    }
                }
            }
            Err(_) => {}
        }
    }

    #[test]
    fn damaged_configs_are_converted_or_refused(changes in changes()) {
        let bytes = changed(samples::CONFIG, &changes);
        let config = Descriptor::of(MediaType::DOCKER_CONFIG, &bytes);
        let layer = Descriptor::of(MediaType::DOCKER_LAYER_GZIP, b"x");
        let source = samples::manifest(std::str::from_utf8(&NewManifest::schema2(config, vec![layer]).to_bytes()).unwrap());
        let layers = [WrittenLayer::unchanged(&source.layers()[0])];
        if let Ok(converted) = source.convert(ManifestFormat::Oci, &bytes, &layers) {
            let (old, new) = (ImageConfig::parse(bytes.clone()).unwrap(), ImageConfig::parse(converted.config.unwrap()).unwrap());
            prop_assert_eq!((old.diff_ids(), old.history().len()), (new.diff_ids(), new.history().len()));
            prop_assert_eq!(&old.config().env, &new.config().env);
        }
        if let Ok(converted) = source.to_schema1(&bytes, &layers, None) {
            prop_assert_eq!(Schema1::parse(converted.manifest).unwrap().layers()[0].is_empty(), false);
        }
    }

    #[test]
    fn damaged_schema_1_is_converted_or_refused(changes in changes()) {
        let bytes = changed(samples::SCHEMA1, &changes);
        let digest = manifest_digest(&bytes);
        if let Ok(AnyDocument::Schema1(schema1)) = AnyDocument::parse(bytes, None) {
            prop_assert_eq!(schema1.digest(), &digest.unwrap());
            let _ = schema1.config();
            let written = |format| -> Vec<WrittenLayer> {
                let layers = schema1.layers_in(format).into_iter();
                let layer = |digest| WrittenLayer::recompressed(digest, 1, LayerCompression::Gzip);
                layers.map(|it| WrittenLayer { diff_id: Some(*it.digest()), ..layer(*it.digest()) }).collect()
            };
            let same = schema1.with_layers(&written(ManifestFormat::Schema1), None).unwrap();
            prop_assert_eq!(&same.manifest[..], schema1.raw());
            for format in [ManifestFormat::Oci, ManifestFormat::Schema2] {
                if let Ok(converted) = schema1.convert(format, &written(format)) {
                    let config = ImageConfig::parse(converted.config.unwrap()).unwrap();
                    prop_assert_eq!(config.history().len(), schema1.layers().len());
                    prop_assert!(Document::parse(converted.manifest, None).is_ok());
                }
            }
        }
    }
}
