//! Any bytes as an image archive: refused, or images whose documents and layers can be read.

#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;
use vmroot_compress::Limits;
use vmroot_transport::{Archive, ArchiveOptions};

/// The bytes that a compressed archive may decode to.
const MOST: u64 = 1 << 24;

fuzz_target!(|data: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().expect("there is room for a file");
    file.write_all(data).expect("there is room for its bytes");
    let limits = Limits { max_output: MOST, ..Limits::default() };
    let options = ArchiveOptions { spool: std::env::temp_dir(), limits };
    let Ok(archive) = Archive::open(file.path(), &options) else { return };
    for image in archive.images() {
        let Ok(source) = archive.source(image) else { continue };
        let _ = source.manifest(None);
    }
});
