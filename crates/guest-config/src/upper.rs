//! `vmroot.json` on a disk with the upper layer of an overlay, and the names beside it.

use serde::{Deserialize, Serialize};

/// The directory of the upper layer, in the top directory of the disk.
pub const UPPER: &str = "upper";

/// The work directory of overlayfs, in the top directory of the disk.
pub const UPPER_WORK: &str = "work";

/// The record of the image below, in the top directory of the disk.
pub const UPPER_RECORD: &str = "vmroot.json";

/// The maximum size of the record in bytes.
pub const MAX_UPPER_RECORD: u64 = 64 << 10;

/// The mount options of the overlay (Documentation/filesystems/overlayfs.rst).
///
/// `index` binds a layer to one lower file system. `metacopy` and `redirect_dir` make layers whose files and directories are
/// elsewhere. `off` would follow redirects on kernels with `REDIRECT_ALWAYS_FOLLOW`.
pub const UPPER_OPTIONS: &str = "index=off,metacopy=off,redirect_dir=nofollow,xino=off";

/// The image that an upper layer was made over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpperRecord {
    /// The version of the disk's layout: 1.
    pub version: u32,
    /// The id of the image: the digest of its config, or of the chain of its layers if it has no config.
    pub image: String,
    /// The name by which the user called the image, for messages.
    #[serde(default)]
    pub name: String,
}

impl UpperRecord {
    /// The version that this crate writes.
    pub const VERSION: u32 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../docs/formats/upper.md");

    #[test]
    fn the_page_has_the_record_and_the_options() {
        let record = UpperRecord {
            version: UpperRecord::VERSION,
            image: "sha256:9121dff344a75f37f23f9ba0e247345b9c750969cee9d915987d8b8224c2ee00".to_owned(),
            name: "alpine:3.20".to_owned(),
        };
        let text = serde_json::to_string_pretty(&record).unwrap();
        assert!(PAGE.contains(&text), "{text}");
        assert_eq!(serde_json::from_str::<UpperRecord>(&text).unwrap(), record);
        for word in [UPPER, UPPER_WORK, UPPER_RECORD, UPPER_OPTIONS] {
            assert!(PAGE.contains(&format!("`{word}")), "{word}");
        }
    }
}
