//! Any bytes as a manifest, list or schema 1 image that is converted: refused, or a document that can be read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vmroot_model::{
    AnyDocument, Converted, Digest, Index, IndexFormat, Instance, LayerCompression, Manifest, ManifestFormat,
    MediaType, Platform, Reference, Schema1, WrittenLayer,
};

/// A config, which the layers of a manifest need not fit.
const CONFIG: &[u8] = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},
    "history":[{"created_by":"a"},{"created_by":"b","empty_layer":true}]}"#;

fuzz_target!(|data: &[u8]| {
    match AnyDocument::parse(data.to_vec(), None) {
        Ok(AnyDocument::Manifest(manifest)) => convert_manifest(&manifest),
        Ok(AnyDocument::Index(index)) => convert_index(&index),
        Ok(AnyDocument::Schema1(image)) => convert_schema1(&image),
        Err(_) => {}
    }
});

fn convert_manifest(manifest: &Manifest) {
    let unchanged: Vec<WrittenLayer> = manifest.layers().iter().map(WrittenLayer::unchanged).collect();
    let same = manifest.with_layers(&unchanged).expect("unchanged layers fit");
    assert_eq!(same.manifest, manifest.raw());
    let name = Reference::parse("example.com/a:b").expect("it is a name");
    for compression in [LayerCompression::None, LayerCompression::Gzip, LayerCompression::Zstd] {
        let layers: Vec<WrittenLayer> = manifest.layers().iter().map(|it| changed(&it.digest, compression)).collect();
        for format in [ManifestFormat::Oci, ManifestFormat::Schema2] {
            check(manifest.convert(format, CONFIG, &layers).ok());
            check(manifest.convert(format, CONFIG, &unchanged).ok());
        }
        check(manifest.to_schema1(CONFIG, &layers, Some(&name)).ok());
    }
}

fn convert_schema1(image: &Schema1) {
    for format in [ManifestFormat::Oci, ManifestFormat::Schema2, ManifestFormat::Schema1] {
        let layers: Vec<WrittenLayer> =
            image.layers_in(format).into_iter().map(|it| changed(it.digest(), LayerCompression::Gzip)).collect();
        check(image.convert(format, &layers).ok());
    }
    let _ = image.config();
}

fn convert_index(index: &Index) {
    let host = Platform::host();
    let same = index.edit().finish().expect("nothing changes");
    assert_eq!(same.bytes, index.raw());
    let _ = (index.choose_instance(&host, true), index.instances_for(&host), index.platforms());
    for format in [IndexFormat::Oci, IndexFormat::DockerList] {
        let mut edit = index.edit();
        edit.remove(1);
        let new = MediaType::OCI_MANIFEST;
        edit.replace(0, Instance { digest: Digest::of(b"new"), size: 3, media_type: new, zstd: true });
        if let Ok(edited) = edit.finish_as(format, &host) {
            let Ok(AnyDocument::Index(again)) = AnyDocument::parse(edited.bytes, Some(edited.media_type.as_str()))
            else {
                panic!("an edited list is a list")
            };
            assert_eq!(again.format(), format);
        }
    }
}

/// Returns a layer with another digest.
fn changed(old: &Digest, compression: LayerCompression) -> WrittenLayer {
    let digest = Digest::of(old.to_string().as_bytes());
    WrittenLayer { diff_id: Some(*old), ..WrittenLayer::recompressed(digest, 1, compression) }
}

/// Reads a converted document again.
fn check(converted: Option<Converted>) {
    if let Some(Converted { manifest, media_type, .. }) = converted {
        let again = AnyDocument::parse(manifest, Some(media_type.as_str()));
        assert!(!matches!(again, Err(_) | Ok(AnyDocument::Index(_))), "{again:?}");
    }
}
