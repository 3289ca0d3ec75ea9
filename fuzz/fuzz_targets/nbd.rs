//! Any bytes of an NBD client: the conversation ends, with replies or without.
//!
//! The first byte selects the part of a good handshake that precedes the others.

#![no_main]

use std::io;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vmroot_disk_serve::{Device, serve_nbd};
use vmroot_test_roots::Root;
use vmroot_testkit::layer::Entry;

/// Good handshakes: none, flags, simple replies, structured replies with the metadata context.
const HANDSHAKES: [&[u8]; 4] = [
    b"",
    b"\0\0\0\x03",
    b"\0\0\0\x03IHAVEOPT\0\0\0\x07\0\0\0\x06\0\0\0\0\0\0",
    b"\0\0\0\x03IHAVEOPT\0\0\0\x08\0\0\0\0IHAVEOPT\0\0\0\x0a\0\0\0\x1b\0\0\0\0\0\0\0\x01\0\0\0\x0fbase:allocation\
      IHAVEOPT\0\0\0\x07\0\0\0\x06\0\0\0\0\0\0",
];

static SERVED: LazyLock<(Root, Device)> = LazyLock::new(|| {
    let root = Root::of_entries([
        Entry::file("file", [7; 100_000]),
        Entry::sparse_file("sparse", 1 << 20, vec![(4096, vec![1; 512]), (65_536, vec![2; 512])]),
    ]);
    let device = Device::of_root(&root.fs).unwrap();
    (root, device)
});

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let start = HANDSHAKES[usize::from(*first) % HANDSHAKES.len()];
    serve_nbd(&SERVED.1, &[start, rest].concat()[..], io::sink());
});
