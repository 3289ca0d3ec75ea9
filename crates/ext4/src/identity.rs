//! The identity of a file system, derived from the root and the options.

use sha2::{Digest as _, Sha256};
use vmroot_container_fs::ContainerFs;

use super::Ext4Options;

/// UUID, label, seed of name hashes, and creation time.
pub(super) struct Identity {
    pub(super) uuid: [u8; 16],
    pub(super) label: [u8; 16],
    pub(super) hash_seed: [u32; 4],
    /// Seconds since 1970.
    pub(super) time: u32,
}

impl Identity {
    pub(super) fn of(fs: &ContainerFs, options: &Ext4Options<'_>) -> Self {
        let Ext4Options { size, free, journal, label, strict: _, threads: _, runs: _, hook: _ } = options;
        let text = format!("size={size:?} free={free} journal={journal} label={label}");
        Self::new(fs.image_uuid("ext4", &text), label, fs.latest_mtime())
    }

    /// Returns the identity with a UUID. `label` has at most [`MAX_LABEL`](crate::MAX_LABEL) bytes.
    pub(super) fn new(uuid: [u8; 16], label: &str, time: u32) -> Self {
        let digest = Sha256::digest([b"name hashes", &uuid[..]].concat());
        let mut hash_seed = [0; 4];
        for (word, bytes) in hash_seed.iter_mut().zip(digest.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        let mut padded = [0; 16];
        padded[..label.len()].copy_from_slice(label.as_bytes());
        Self { uuid, label: padded, hash_seed, time }
    }
}
