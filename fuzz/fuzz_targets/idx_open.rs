//! Opens arbitrary bytes, and a good index with changes, as an index. Every access must work on an accepted index.

#![no_main]

#[path = "../../crates/layer-index/tests/it/exercise.rs"]
mod exercise;

use std::{fs, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use vmroot_fuzz::{change, tar};
use vmroot_layer_index::{BuildOptions, build};

static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let built = build(tar().as_slice(), directory.path(), &BuildOptions::default()).expect("the tar is good");
    fs::read(built.publish().expect("there is room for the files")).expect("it was just written")
});

fuzz_target!(|data: &[u8]| {
    check(data.to_vec());
    check(change(&GOOD, data));
});

fn check(mut bytes: Vec<u8>) {
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
}
