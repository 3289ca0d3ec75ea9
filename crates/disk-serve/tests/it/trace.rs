//! Boot traces.

use std::fs;
use std::sync::Arc;

use vmroot_disk_serve::{Device, Error, TRACE_BLOCK, Trace, TraceHeader};
use vmroot_test_roots::Root;
use vmroot_testkit::layer::Entry;
use vmroot_testkit::sample::noise;

use crate::fixture::Fixture;

const PAGE: &str = include_str!("../../../../docs/formats/trace.md");

fn device(seed: u64) -> (Root, Device) {
    let root = Root::of_entries([Entry::file("large", noise(seed, 2 << 20))]);
    let device = Device::of_root(&root.fs).unwrap();
    (root, device)
}

#[test]
fn blocks_are_recorded_once_in_their_order() {
    let (_root, device) = device(1);
    assert_eq!(device.trace(), None);
    let device = device.recording();
    let block = u64::from(TRACE_BLOCK);
    let read = |offset, length| device.read_exact_at(&mut vec![0; length], offset).unwrap();
    read(5 * block + 7, 1);
    read(0, 10);
    read(block - 1, 2);
    read(5 * block, 100);
    read(9 * block, 3 * TRACE_BLOCK as usize + 1);
    read(0, 0);
    assert!(device.read_exact_at(&mut [0; 2], device.length() - 1).is_err());
    assert_eq!(device.trace().unwrap().blocks(), [5, 0, 1, 9, 10, 11, 12]);
}

#[test]
fn a_trace_is_read_back_for_its_disk_alone() {
    let (root, first) = device(1);
    let (_other_root, other) = device(2);
    let first = first.recording();
    first.read_exact_at(&mut [0; 1], first.length() - 1).unwrap();
    first.read_exact_at(&mut [0; 1], 0).unwrap();
    let trace = first.trace().unwrap();
    let mut bytes = Vec::new();
    trace.write(&mut bytes).unwrap();
    assert_eq!(Trace::parse(&bytes, &first), Ok(trace.clone()));
    assert_eq!(Trace::parse(&bytes, &other), Err("it is the boot trace of another disk"));
    first.prefetch(&trace, || false);
    // Each byte of the header but the reserved ones matters, and so does each length.
    for at in (0..28).chain(32..bytes.len()).filter(|at| !(96..).contains(at) || (at - 96) % 4 == 3) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x80;
        assert!(Trace::parse(&damaged, &first).is_err(), "byte {at}");
    }
    for length in 0..bytes.len() {
        assert!(Trace::parse(&bytes[..length], &first).is_err(), "{length} bytes");
    }
    let path = root.files().join("trace");
    fs::write(&path, &bytes).unwrap();
    assert_eq!(Trace::open(&path, &first).unwrap(), trace);
    fs::write(&path, vec![0; 100_000]).unwrap();
    assert!(matches!(Trace::open(&path, &first), Err(Error::Trace { .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(Trace::open(&path, &first), Err(Error::TraceFile { .. })));
}

/// All doors record, because all read from the device.
#[test]
fn reads_of_clients_are_recorded() {
    let (root, device) = device(1);
    let device = Arc::new(device.recording());
    let request = [&[0, 0, 0, 3][..], b"IHAVEOPT", &[0, 0, 0, 7, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0]].concat();
    let read = [&0x2560_9513_u32.to_be_bytes()[..], &[0; 12], &(3u64 << 16).to_be_bytes(), &[0, 0, 2, 0]].concat();
    vmroot_disk_serve::serve_nbd(&device, &[request, read].concat()[..], std::io::sink());
    assert_eq!(device.trace().unwrap().blocks(), [3]);
    drop(root);
}

#[test]
fn a_prefetch_can_be_cancelled() {
    let fixture = Fixture::new();
    let device = Device::of_root(&fixture.root().fs).unwrap().recording();
    device.read_exact_at(&mut vec![0; fixture.expected.len()], 0).unwrap();
    device.prefetch(&device.trace().unwrap(), || true);
    device.prefetch(&device.trace().unwrap(), || false);
}

#[test]
fn the_page_has_the_fields_of_the_header() {
    let header = std::mem::offset_of!(TraceHeader, identity);
    let rows = [
        (std::mem::offset_of!(TraceHeader, magic), 8, "magic"),
        (std::mem::offset_of!(TraceHeader, version), 4, "version"),
        (std::mem::offset_of!(TraceHeader, block), 4, "block"),
        (std::mem::offset_of!(TraceHeader, length), 8, "length"),
        (std::mem::offset_of!(TraceHeader, count), 4, "count"),
        (std::mem::offset_of!(TraceHeader, reserved), 4, "reserved"),
        (header, 64, "identity"),
    ];
    for (offset, size, name) in rows {
        let row = format!("| {offset} | {size} | `{name}` |");
        assert!(PAGE.contains(&row), "the page has no row {row}");
    }
    assert_eq!(header + 64, size_of::<TraceHeader>());
    assert_eq!(PAGE.matches("\n| ").count(), rows.len() + 1);
    assert!(PAGE.contains(&format!("{TRACE_BLOCK}")));
}
