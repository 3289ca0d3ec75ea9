//! Hash trees: superblocks, appended trees, files of digests, and verification against a root hash of the input.

#![no_main]

use std::fs::File;
use std::io::Write;
use std::num::NonZeroUsize;

use libfuzzer_sys::fuzz_target;
use vmroot_verity::{Data, Leaves, Options, RootHash, Superblock, find_appended, verify};

fuzz_target!(|bytes: &[u8]| {
    let mut file: File = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).expect("a temporary file takes bytes");
    let length = bytes.len() as u64;
    if let Ok(superblock) = Superblock::read(&file, 0) {
        let bytes = superblock.to_bytes();
        assert_eq!(Superblock::parse(&bytes, 0).expect("it was written"), superblock);
    }
    let offset = find_appended(&file, length).ok().flatten().unwrap_or(0);
    let digits: String = bytes.iter().rev().take(32).map(|byte| format!("{byte:02x}")).collect();
    if let Ok(root_hash) = digits.parse::<RootHash>() {
        let options = Options { threads: NonZeroUsize::new(1), ..Options::default() };
        let _ = verify(&Data::of_file(&file, length), &file, offset, &root_hash, &options);
    }
    let _ = Leaves::open(file);
});
