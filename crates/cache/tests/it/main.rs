//! The cache as its users meet it: several processes, crashes, full disks, damaged files.

mod blobs;
mod crash;
mod full_disk;
mod processes;
mod sweeping;

use std::path::Path;

use vmroot_cache::{BlobWriter, Cache, Claim, patiently};
use vmroot_model::Digest;

/// Bytes that differ from one seed to the next, and from one offset to the next.
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

/// Claims a blob that nobody else wants and that is not there.
fn claim(cache: &Cache, digest: &Digest, size: usize) -> Box<BlobWriter> {
    match cache.writer(digest, size as u64, &mut patiently).unwrap() {
        Claim::Absent(writer) => writer,
        Claim::Present(blob) => panic!("{} is there", blob.path.display()),
    }
}
