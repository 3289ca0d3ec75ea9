//! Builds a layer from arbitrary bytes, and from a good tar with changes. An accepted tar must give an index that opens and merges, and whose contents
//! verify.

#![no_main]

#[path = "../../crates/layer-index/tests/it/exercise.rs"]
mod exercise;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vmroot_fuzz::{change, tar};
use vmroot_layer_index::{BuildOptions, Index, build, verify_contents};
use vmroot_output::Cancel;

const BLOCK: usize = 512;

static GOOD: LazyLock<Vec<u8>> = LazyLock::new(tar);

fuzz_target!(|data: &[u8]| {
    check(data.to_vec());
    check(change(&GOOD, data));
});

fn check(mut tar: Vec<u8>) {
    // Correct checksums let the fuzzer reach the other fields. An attacker can compute them.
    for block in tar.chunks_exact_mut(BLOCK).filter(|block| block[257..262] == *b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let options = BuildOptions { max_expanded: 1 << 24, max_entries: 10_000, ..BuildOptions::default() };
    if let Ok(built) = build(tar.as_slice(), directory.path(), &options) {
        let path = built.publish().expect("there is room for the files");
        let index = Index::open(&path).expect("a built index opens");
        verify_contents(&index, &path.with_extension("contents"), &Cancel::new())
            .expect("a built layer has valid contents");
        let bytes = std::fs::read(&path).expect("it was just opened");
        assert!(exercise::exercise(bytes));
    }
}
