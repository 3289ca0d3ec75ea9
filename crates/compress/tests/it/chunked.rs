//! Layers of the form zstd:chunked.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::num::NonZero;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};
use vmroot_compress::{Error, RecompressOptions, Target, recompress};
use vmroot_testkit::tar_builder::{Header, Magic, PaxRecords, TarBuilder, typeflag};

use crate::samples::{decode_all, gzip, layer_like, noise};

const PREFIX: &str = "io.github.containers.zstd-chunked.";

/// A layer and its annotations.
struct Chunked {
    bytes: Vec<u8>,
    annotations: BTreeMap<String, String>,
}

fn chunked(stream: &[u8], threads: usize) -> Result<Chunked, Error> {
    let target = Target::ZstdChunked { level: None };
    let options = RecompressOptions { threads: NonZero::new(threads), ..RecompressOptions::new(target) };
    let mut reader = recompress(Cursor::new(stream.to_vec()), &options, |_| {})?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    let annotations = reader.finish()?.annotations;
    Ok(Chunked { bytes, annotations })
}

impl Chunked {
    /// Returns the numbers of an annotation.
    fn numbers(&self, name: &str) -> Vec<usize> {
        self.annotations[&format!("{PREFIX}{name}")].split(':').map(|number| number.parse().unwrap()).collect()
    }

    /// Decodes the frame that an annotation describes.
    fn frame(&self, name: &str) -> Vec<u8> {
        let numbers = self.numbers(name);
        let frame = zstd::decode_all(&self.bytes[numbers[0]..numbers[0] + numbers[1]]).unwrap();
        assert_eq!(frame.len(), numbers[2], "{name}");
        frame
    }

    fn table(&self) -> Value {
        let [offset, length, ..] = self.numbers("manifest-position")[..] else { panic!() };
        let checksum = &self.annotations[&format!("{PREFIX}manifest-checksum")];
        assert_eq!(*checksum, sha256(&self.bytes[offset..offset + length]));
        serde_json::from_slice(&self.frame("manifest-position")).unwrap()
    }

    /// Decodes the frames from one offset to another.
    fn decode(&self, from: &Value, to: &Value) -> Vec<u8> {
        let offset = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
        zstd::decode_all(&self.bytes[offset(from)..offset(to)]).unwrap()
    }
}

fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn file(name: &str) -> Header {
    Header::new(Magic::Ustar, typeflag::FILE).name(name.as_bytes()).mode(0o644).uid(1).gid(2).mtime(1_700_000_000)
}

/// The files of [`tar`]: a large one that has many chunks, holes inside and at both ends, only zeros, a short one, and
/// none.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let mut holes = vec![0; 5000];
    holes.extend(noise(100_000, 1));
    holes.extend([0; 1023]);
    holes.extend(noise(100_000, 2));
    holes.extend([0; 1024]);
    holes.extend(noise(10, 3));
    holes.extend(vec![0; 3 << 20]);
    vec![
        ("usr/large", layer_like(5 << 20)),
        ("usr/holes", holes),
        ("usr/zeros", vec![0; 100_000]),
        ("usr/short", b"short".to_vec()),
        ("usr/noise", noise(1_500_000, 4)),
        ("usr/empty", Vec::new()),
    ]
}

fn tar() -> Vec<u8> {
    let mut tar = TarBuilder::new();
    tar.entry(Header::new(Magic::Gnu, typeflag::DIRECTORY).name(b"usr/").mode(0o755).mtime(5), b"");
    for (name, data) in files() {
        tar.entry(file(name), &data);
    }
    let pax = PaxRecords::new().record("path", "usr/\u{fc}ml\u{e4}ut".repeat(20));
    tar.pax(&pax.time("mtime", 12, 500_000_000).schily_xattr(b"user.key", b"\0\xff"));
    tar.entry(file("usr/cut"), b"pax");
    tar.gnu_long_name("usr/long/".repeat(20).as_bytes());
    tar.entry(Header::new(Magic::Gnu, typeflag::DIRECTORY).name(b"cut").mode(0o700), b"");
    tar.header(&Header::new(Magic::Ustar, typeflag::HARD_LINK).name(b"usr/link").link_name(b"usr/short"));
    tar.header(&Header::new(Magic::Ustar, typeflag::SYMLINK).name(b"usr/symlink").link_name(b"short"));
    tar.header(&Header::new(Magic::Ustar, typeflag::CHAR_DEVICE).name(b"usr/null").device(1, 3));
    tar.finish_record()
}

#[test]
fn the_layer_is_also_a_zstd_stream() {
    let tar = tar();
    let layer = chunked(&gzip(&tar, 1), 2).unwrap();
    assert!(decode_all(&layer.bytes) == tar);
    assert!(zstd::decode_all(&layer.bytes[..]).unwrap() == tar);
}

#[test]
fn the_layer_does_not_depend_on_the_threads() {
    let tar = tar();
    let one = chunked(&tar, 1).unwrap();
    for threads in [2, 5] {
        let other = chunked(&tar, threads).unwrap();
        assert!(one.bytes == other.bytes && one.annotations == other.annotations, "{threads} threads");
    }
}

#[test]
fn the_footer_has_the_positions() {
    let layer = chunked(&tar(), 2).unwrap();
    let footer = layer.bytes.last_chunk::<64>().unwrap();
    let numbers: Vec<_> =
        footer.as_chunks::<8>().0.iter().map(|number| usize::try_from(u64::from_le_bytes(*number)).unwrap()).collect();
    let [manifest, tar_split] = ["manifest-position", "tarsplit-position"].map(|name| layer.numbers(name));
    assert_eq!(numbers[..7], [manifest, tar_split].concat());
    assert_eq!(footer[56..], *b"GNUlInUx");
    let header = layer.bytes[layer.bytes.len() - 72..].first_chunk::<8>().unwrap();
    assert_eq!(header, b"\x50\x2a\x4d\x18\x40\0\0\0");
}

#[test]
fn every_file_can_be_decoded_by_itself() {
    let layer = chunked(&tar(), 2).unwrap();
    let table = layer.table();
    assert_eq!(table["version"], 1);
    let entries = table["entries"].as_array().unwrap();
    for (name, data) in files() {
        let start = entries.iter().position(|entry| entry["name"] == name).unwrap();
        let entry = &entries[start];
        assert_eq!(entry["type"], "reg", "{name}");
        assert_eq!(entry["size"].as_u64().unwrap_or(0), data.len() as u64, "{name}");
        if data.is_empty() {
            assert!(entry["digest"].is_null() && entry["offset"].is_null());
            continue;
        }
        assert_eq!(entry["digest"], sha256(&data), "{name}");
        assert!(layer.decode(&entry["offset"], &entry["endOffset"]) == data, "{name}");
        let more = entries[start + 1..].iter().take_while(|entry| entry["type"] == "chunk").count();
        if more > 0 {
            check_chunks(&layer, &entries[start..=start + more], &data);
        } else {
            assert!(entry["chunkSize"].is_null() && entry["chunkDigest"].is_null(), "{name}");
        }
    }
    let chunks = |name| entries.iter().filter(|entry| entry["name"] == name).count();
    assert!(chunks("usr/large") > 20, "{} chunks", chunks("usr/large"));
    assert_eq!(chunks("usr/zeros"), 1);
    let zeros = |entry: &&Value| entry["name"] == "usr/holes" && entry["chunkType"] == "zeros";
    let holes: Vec<_> = entries.iter().filter(zeros).map(|entry| entry["chunkSize"].as_u64().unwrap()).collect();
    assert_eq!(holes, [5000, 1024, 3 << 20]);
}

/// Checks that the chunks of a file are its data, in order.
fn check_chunks(layer: &Chunked, chunks: &[Value], data: &[u8]) {
    let mut offset = 0;
    for (number, chunk) in chunks.iter().enumerate() {
        let end = chunks.get(number + 1).map_or(&chunks[0]["endOffset"], |next| &next["offset"]);
        let bytes = layer.decode(&chunk["offset"], end);
        assert_eq!(chunk["name"], chunks[0]["name"]);
        assert_eq!(chunk["chunkOffset"].as_u64().unwrap_or(0), offset as u64);
        assert_eq!(chunk["chunkSize"], bytes.len());
        assert_eq!(chunk["chunkDigest"], sha256(&bytes));
        assert!(data[offset..].starts_with(&bytes));
        if chunk["chunkType"] == "zeros" {
            assert!(bytes.iter().all(|byte| *byte == 0));
        }
        offset += bytes.len();
    }
    assert_eq!(offset, data.len());
}

#[test]
fn the_table_has_the_fields_of_the_headers() {
    let table = chunked(&tar(), 2).unwrap().table();
    let entry = |name: &str| {
        let entries = table["entries"].as_array().unwrap();
        entries.iter().find(|entry| entry["name"] == name).unwrap_or_else(|| panic!("no {name}"))
    };
    let short = entry("usr/short");
    assert_eq!((&short["mode"], &short["uid"], &short["gid"]), (&0o644.into(), &1.into(), &2.into()));
    assert_eq!(short["modtime"], "2023-11-14T22:13:20Z");
    assert_eq!((&entry("usr/")["type"], &entry("usr/")["modtime"]), (&"dir".into(), &"1970-01-01T00:00:05Z".into()));
    let pax = entry(&"usr/\u{fc}ml\u{e4}ut".repeat(20));
    assert_eq!((&pax["modtime"], &pax["xattrs"]["user.key"]), (&"1970-01-01T00:00:12.5Z".into(), &"AP8=".into()));
    assert_eq!(entry(&"usr/long/".repeat(20))["type"], "dir");
    assert_eq!((&entry("usr/link")["type"], &entry("usr/link")["linkName"]), (&"hardlink".into(), &"usr/short".into()));
    assert_eq!(entry("usr/symlink")["type"], "symlink");
    let null = entry("usr/null");
    assert_eq!((&null["type"], &null["devMajor"], &null["devMinor"]), (&"char".into(), &1.into(), &3.into()));
}

#[test]
fn tar_split_and_the_files_give_the_tar() {
    let tar = tar();
    let layer = chunked(&tar, 2).unwrap();
    let [offset, length, ..] = layer.numbers("tarsplit-position")[..] else { panic!() };
    assert_eq!(layer.table()["tarSplitDigest"], sha256(&layer.bytes[offset..offset + length]));

    let table = layer.table();
    let entries = table["entries"].as_array().unwrap();
    let lines = layer.frame("tarsplit-position");
    let mut built = Vec::new();
    let mut names = Vec::new();
    for (position, line) in lines.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let entry: Value = serde_json::from_slice(line).unwrap();
        assert_eq!(entry["position"], position);
        let payload = entry["payload"].as_str().map(|text| BASE64_STANDARD.decode(text).unwrap());
        if entry["type"] == 2 {
            built.extend(payload.unwrap());
            continue;
        }
        assert_eq!(entry["type"], 1);
        names.push(entry["name"].clone());
        if let Some(size) = entry["size"].as_u64() {
            let file = entries.iter().find(|file| file["name"] == entry["name"]).unwrap();
            let data = layer.decode(&file["offset"], &file["endOffset"]);
            assert_eq!(data.len() as u64, size);
            assert_eq!(payload.unwrap(), crc64(&data).to_be_bytes());
            built.extend(data);
        } else {
            assert!(payload.is_none());
        }
    }
    assert!(built == tar);
    let all: Vec<_> =
        entries.iter().filter(|entry| entry["type"] != "chunk").map(|entry| entry["name"].clone()).collect();
    assert_eq!(names, all);
}

/// Returns the CRC-64 of Go's `crc64.ISO`, bit by bit.
fn crc64(bytes: &[u8]) -> u64 {
    let crc = bytes.iter().fold(!0_u64, |crc, byte| {
        (0..8).fold(crc ^ u64::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0xd800_0000_0000_0000 } else { 0 })
    });
    !crc
}

#[test]
fn equal_files_have_equal_chunks() {
    let data = layer_like(3 << 20);
    let layer = |before: &[u8]| {
        let mut tar = TarBuilder::new();
        tar.entry(file("file"), &[before, &data].concat());
        let table = chunked(&tar.finish(), 2).unwrap().table();
        let digests = table["entries"].as_array().unwrap().iter().map(|entry| entry["chunkDigest"].to_string());
        digests.collect::<std::collections::BTreeSet<_>>()
    };
    let (one, other) = (layer(b""), layer(b"some bytes before the same data"));
    let shared = one.intersection(&other).count();
    assert!(shared + 3 >= one.len(), "{shared} of {} chunks are shared", one.len());
}

#[test]
fn the_end_of_the_archive_may_be_missing_or_long() {
    let mut builder = TarBuilder::new();
    builder.entry(file("file"), b"data");
    let unterminated = builder.clone().finish_unterminated();
    let without_padding = unterminated[..512 + 4].to_vec();
    let long = [builder.clone().finish(), vec![0; 3 << 20]].concat();
    for tar in [unterminated, without_padding, long, vec![0; 1024], Vec::new()] {
        let layer = chunked(&tar, 2).unwrap();
        assert!(decode_all(&layer.bytes) == tar, "{} bytes", tar.len());
        assert_eq!(layer.table()["version"], 1);
    }
}

#[test]
fn other_layers_are_errors() {
    let regular = |name: &[u8]| Header::new(Magic::Ustar, typeflag::FILE).name(name);
    let with = |build: &dyn Fn(&mut TarBuilder)| {
        let mut tar = TarBuilder::new();
        build(&mut tar);
        tar.finish()
    };
    let cases: [(&str, Vec<u8>); 7] = [
        ("not a tar", noise(2000, 1)),
        (
            "a damaged header",
            with(&|tar| {
                tar.raw(&file("a").to_block_corrupt());
            }),
        ),
        (
            "an early end",
            with(&|tar| {
                tar.entry(file("a"), &[1; 2000]);
            })[..1000]
                .to_vec(),
        ),
        ("an incomplete header", with(&|_| {})[..100].to_vec()),
        (
            "a sparse file",
            with(&|tar| {
                tar.entry(Header::new(Magic::Gnu, b'S').name(b"a"), b"");
            }),
        ),
        (
            "a sparse file of PAX",
            with(&|tar| {
                tar.pax(&PaxRecords::new().record("GNU.sparse.major", "1")).entry(file("a"), b"");
            }),
        ),
        (
            "a name that is not UTF-8",
            with(&|tar| {
                tar.entry(regular(b"\xff"), b"data");
            }),
        ),
    ];
    for (what, tar) in cases {
        match chunked(&tar, 2) {
            Err(Error::NotChunked { .. }) => {}
            Err(error) => panic!("{what}: {error}"),
            Ok(_) => panic!("{what}: no error"),
        }
    }
}
