//! A changed squashfs, or any bytes, in a SIF file: refused, or an image whose layer has the size of its descriptor.

#![no_main]

use std::io::{self, Write};

use libfuzzer_sys::fuzz_target;
use vmroot_compress::Limits;
use vmroot_fuzz::{change, sif};
use vmroot_model::Document;
use vmroot_transport::{ArchiveOptions, open_sif};

/// A squashfs of mksquashfs with an entry of each kind, and without compression.
const ROOT: &[u8] = include_bytes!("../seeds/root.squashfs");

/// The bytes that a layer may have.
const MOST: u64 = 1 << 24;

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let bytes = match kind % 4 {
        0 => data.to_vec(),
        1 => sif(data),
        _ => sif(&change(ROOT, data)),
    };
    let mut file = tempfile::NamedTempFile::new().expect("there is room for a file");
    file.write_all(&bytes).expect("there is room for its bytes");
    let limits = Limits { max_output: MOST, ..Limits::default() };
    let options = ArchiveOptions { spool: std::env::temp_dir(), limits };
    let Ok(source) = open_sif(file.path(), &options) else { return };
    let raw = source.manifest(None).expect("the manifest is in memory");
    let Ok(Document::Manifest(manifest)) = Document::parse(raw.bytes, None) else { panic!("it is a manifest") };
    let layer = &manifest.layers()[0];
    let mut body = source.blob(layer, 0).expect("the layer is in a file").reader;
    assert_eq!(io::copy(&mut body, &mut io::sink()).expect("it can be read"), layer.size);
});
