//! gzip headers, trailers and padding.

use std::io::Write;

use flate2::{Compression as Level, GzBuilder};
use vmroot_compress::{Error, Limits};

use crate::samples::{decode, decode_all, gzip, layer_like};

/// A last, stored block that contains "data".
const BODY: &[u8] = b"\x01\x04\x00\xfb\xffdata";

fn member(flags: u8, fields: &[u8]) -> Vec<u8> {
    let mut member = [&[0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3], fields, BODY].concat();
    member.extend(crc32fast::hash(b"data").to_le_bytes());
    member.extend(4u32.to_le_bytes());
    member
}

fn reason(stream: &[u8]) -> String {
    Error::from(decode(stream, &Limits::default()).1.unwrap_err()).to_string()
}

#[test]
fn header_fields_are_skipped() {
    let mut encoder = GzBuilder::new()
        .filename("layer.tar")
        .comment("a comment")
        .extra(vec![7; 65_535])
        .mtime(1)
        .write(Vec::new(), Level::fast());
    encoder.write_all(b"data").unwrap();
    assert_eq!(decode_all(&encoder.finish().unwrap()), b"data");
}

#[test]
fn header_checksum_is_checked() {
    let header = [0x1f, 0x8b, 8, 2, 0, 0, 0, 0, 0, 3];
    let crc = (crc32fast::hash(&header) as u16).to_le_bytes();
    assert_eq!(decode_all(&member(2, &crc)), b"data");
    assert!(reason(&member(2, &[crc[0] ^ 1, crc[1]])).contains("header has a wrong checksum"));
}

#[test]
fn reserved_flags_are_rejected() {
    for flag in [0x20, 0x40, 0x80] {
        assert!(reason(&member(flag, &[])).contains("reserved flag"));
    }
}

#[test]
fn checksum_and_size_are_checked() {
    let good = member(0, &[]);
    assert_eq!(decode_all(&good), b"data");
    for (at, what) in [(8, "CRC-32"), (4, "size of the data")] {
        let mut bad = good.clone();
        let at = bad.len() - at;
        bad[at] ^= 1;
        assert!(reason(&bad).contains(what));
    }
}

#[test]
fn many_members_as_in_estargz() {
    let data = layer_like(500_000);
    let stream: Vec<u8> = data.chunks(1_000).flat_map(|part| gzip(part, 6)).collect();
    assert!(decode_all(&stream) == data);
}

#[test]
fn trailing_zeros_are_ignored() {
    let data = layer_like(10_000);
    for zeros in [1, 2, 511, 1_000_000] {
        let stream = [gzip(&data, 6), vec![0; zeros]].concat();
        assert!(decode_all(&stream) == data, "{zeros}");
    }
}

#[test]
fn trailing_garbage_is_an_error() {
    let stream = gzip(b"data", 6);
    for garbage in [&b"x"[..], b"\x1f", b"\x1f\x8b", b"\x1f\x8b\x07rest", b"\0\0x", b"\0\x1f\x8b\x08"] {
        let (out, ended) = decode(&[&stream, garbage].concat()[..], &Limits::default());
        assert_eq!(out, b"data");
        let offset = stream.len() as u64 + garbage.iter().take_while(|b| **b == 0).count() as u64;
        let error = Error::from(ended.unwrap_err());
        assert!(matches!(error, Error::TrailingGarbage { offset: at, .. } if at == offset), "{garbage:x?}: {error:?}");
    }
}
