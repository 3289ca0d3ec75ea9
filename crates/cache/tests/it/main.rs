//! Tests of the public API: several processes, crashes, full disks, damaged files.

mod blobs;
mod crash;
mod full_disk;
mod processes;
mod sweeping;

use std::path::Path;

use vmroot_cache::{BlobSlot, BlobWriter, Cache, wait_forever};
use vmroot_model::Digest;

/// Returns pseudo-random bytes that depend on the seed.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(len).collect()
}

fn open(directory: &Path) -> Cache {
    Cache::open(directory).unwrap()
}

/// Returns a writer for a blob that is missing and has no other writer.
fn open_writer(cache: &Cache, digest: &Digest, size: usize) -> Box<BlobWriter> {
    match cache.open_writer(digest, size as u64, &mut wait_forever).unwrap() {
        BlobSlot::Absent(writer) => writer,
        BlobSlot::Present(blob) => panic!("{} is there", blob.path.display()),
    }
}
