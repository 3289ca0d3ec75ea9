//! Opens arbitrary bytes as an index. Every access must work on an accepted index.

#![no_main]

#[path = "../../crates/layer-index/tests/it/exercise.rs"]
mod exercise;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    exercise::exercise(bytes.clone());
    // Again with the correct length and checksum, so that the checks after them are reached.
    if bytes.len() >= 28 {
        let length = bytes.len() as u64;
        bytes[16..24].copy_from_slice(&length.to_le_bytes());
        bytes[24..28].fill(0);
        let checksum = crc32fast::hash(&bytes);
        bytes[24..28].copy_from_slice(&checksum.to_le_bytes());
        exercise::exercise(bytes);
    }
});
