//! The files with an image's manifests and config.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use vmroot_model::Digest;

/// The name of the data item with the manifest of the image.
pub(super) const MANIFEST: &str = "manifest";

/// Returns the name of the data item with the manifest of a digest.
pub(super) fn manifest_item(digest: &Digest) -> String {
    format!("{MANIFEST}-{digest}")
}

/// Returns the name of the file of a data item.
pub(super) fn file_name(item: &str) -> String {
    if item.bytes().all(|byte| matches!(byte, b'.' | b'0'..=b'9' | b'a'..=b'z')) {
        item.to_owned()
    } else {
        format!("={}", STANDARD.encode(item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_other_than_words_are_encoded() {
        assert_eq!(file_name("manifest"), "manifest");
        assert_eq!(file_name("sha256:0a"), "=c2hhMjU2OjBh");
        assert_eq!(file_name("../x"), "=Li4veA==");
    }
}
