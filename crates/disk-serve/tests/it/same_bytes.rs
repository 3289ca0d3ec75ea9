//! The bytes of a device are those of the exported image.

use std::io;

use vmroot_disk_serve::BLOCK;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::sample::noise;

use crate::fixture::Fixture;

#[test]
fn a_device_has_the_bytes_of_the_joined_export() {
    let fixture = Fixture::new();
    let mut found = vec![0; fixture.expected.len()];
    assert_eq!(fixture.device.length(), fixture.expected.len() as u64);
    fixture.device.read_exact_at(&mut found, 0).unwrap();
    assert!(found == fixture.expected);
}

/// A layer that occurs twice is on the disk once.
#[test]
fn many_layers_are_one_disk() {
    let layer = |number: u64| Layer::new([Entry::file(format!("file{number}"), noise(number, 6000))]);
    let mut layers: Vec<Layer> = (0..125).map(layer).collect();
    layers[60] = layers[3].clone();
    let fixture = Fixture::of_layers(&layers);
    let mut found = vec![0; fixture.expected.len()];
    fixture.device.read_exact_at(&mut found, 0).unwrap();
    assert!(found == fixture.expected);
}

#[test]
fn reads_of_any_offset_and_length() {
    let fixture = Fixture::new();
    let length = fixture.expected.len();
    let borders: Vec<usize> = (0..=length).step_by(BLOCK as usize).collect();
    for border in borders {
        for (before, after) in [(0, 0), (1, 0), (0, 1), (7, 4090), (513, 9000)] {
            let (start, end) = (border.saturating_sub(before), (border + after).min(length));
            let mut found = vec![0xaa; end - start];
            fixture.device.read_exact_at(&mut found, start as u64).unwrap();
            assert!(found == fixture.expected[start..end], "{start}..{end}");
        }
    }
}

#[test]
fn reads_past_the_end_are_errors() {
    let fixture = Fixture::new();
    let length = fixture.device.length();
    for (offset, count) in [(length, 1), (length - 1, 2), (length + 1, 1), (u64::MAX, 1), (u64::MAX - 1, 100)] {
        let error = fixture.device.read_exact_at(&mut vec![0; count], offset).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{offset}");
    }
    fixture.device.read_exact_at(&mut [], length).unwrap();
    fixture.device.read_exact_at(&mut [], u64::MAX).unwrap();
}

#[test]
fn extents_cover_the_disk_and_holes_are_zeros() {
    let fixture = Fixture::new();
    let (mut offset, mut holes) = (0, 0);
    while let Some(extent) = fixture.device.extent_at(offset, u64::MAX).unwrap() {
        let end = offset + extent.length;
        let bytes = &fixture.expected[offset as usize..end as usize];
        assert!(!extent.is_hole || bytes.iter().all(|byte| *byte == 0));
        holes += u64::from(extent.is_hole) * extent.length;
        offset = end;
    }
    assert_eq!(offset, fixture.device.length());
    // Not all file systems have holes.
    assert!(holes == 0 || holes >= 1 << 20, "{holes}");
}
