//! Any bytes as a manifest, an index, an image config or a reference: refused, or a document that can be read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vmroot_model::{Document, ImageConfig, Platform, Reference};

fuzz_target!(|data: &[u8]| {
    for content_type in [None, Some("application/vnd.oci.image.index.v1+json")] {
        if let Ok(document) = Document::parse(data.to_vec(), content_type) {
            assert_eq!(document.raw(), data);
            assert!(document.digest().is_of(data));
        }
    }
    if let Ok(config) = ImageConfig::parse(data.to_vec()) {
        let _ = (config.platform(), config.history(), config.diff_ids());
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(reference) = Reference::parse(text) {
        let again = Reference::parse(&reference.to_string()).expect("a printed reference is one");
        assert_eq!(again, reference);
    }
    let _ = Platform::parse(text);
});
