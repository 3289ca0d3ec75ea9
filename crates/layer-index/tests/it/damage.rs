//! Damaged and forged indexes and contents. Damage is reported or harmless.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;
use vmroot_layer_index::{BuildOptions, Error, Index, InodeId, build, verify_contents};
use vmroot_output::Cancel;
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::layer::{Encoding, Entry, Layer};

use crate::exercise::exercise;
use crate::stack::{Stack, build_error, merged};

/// Returns entries that fill every section of an index.
fn layer() -> Vec<Entry> {
    vec![
        Entry::directory("d").xattr("user.a", "1"),
        Entry::file("d/f", "content").xattr("user.a", "1").xattr("user.b", ""),
        Entry::file("d/g", vec![7; 5000]),
        Entry::hard_link("d/h", "d/f"),
        Entry::symlink("d/s", "target"),
        Entry::directory("d/e"),
        Entry::symlink("d/e/t", "another"),
        Entry::char_device("null", 1, 3),
        Entry::fifo("p"),
        Entry::file("empty", ""),
    ]
}

/// Returns entries that only occur in the index of a layer.
fn layer_only() -> Vec<Entry> {
    vec![Entry::whiteout("w"), Entry::opaque("o"), Entry::hard_link("l", "lower/file"), Entry::file("i/j", "x")]
}

fn index_of(entries: Vec<Entry>) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let tar = Layer::new(entries).to_tar(&Encoding::default());
    fs::read(build(tar.as_slice(), directory.path(), &BuildOptions::default()).unwrap().publish().unwrap()).unwrap()
}

/// Returns the bytes of a layer's index and of a root's.
fn samples() -> [Vec<u8>; 2] {
    let open = |entries| Index::from_bytes(index_of(entries)).unwrap();
    let root = merged(None, &[&open(layer()), &open(vec![Entry::file("d/u", "upper"), Entry::whiteout("p")])]).unwrap();
    [index_of([layer(), layer_only()].concat()), root]
}

/// Sets the correct checksum, so that the checks after it are reached.
fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= 28 {
        bytes[24..28].fill(0);
        let checksum = crc32fast::hash(&bytes);
        bytes[24..28].copy_from_slice(&checksum.to_le_bytes());
    }
    bytes
}

fn changed(bytes: &[u8], at: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let end = bytes.len().min(at + value.len());
    bytes[at..end].copy_from_slice(&value[..end - at]);
    bytes
}

#[test]
fn the_samples_are_accepted() {
    for sample in samples() {
        assert!(exercise(with_checksum(sample.clone())));
        assert!(exercise(sample));
    }
}

#[test]
fn every_changed_byte_is_found() {
    for sample in samples() {
        for (at, &byte) in sample.iter().enumerate() {
            for bit in [1, 0x80] {
                // Readers accept any minor version, but the checksum covers it.
                assert!(!exercise(changed(&sample, at, &[byte ^ bit])), "byte {at}");
            }
        }
    }
}

#[test]
fn a_changed_byte_with_a_correct_checksum_is_harmless() {
    for sample in samples() {
        for (at, &byte) in sample.iter().enumerate() {
            for value in [byte ^ 1, byte ^ 2, byte ^ 0x80, byte.wrapping_add(1), byte.wrapping_sub(1), 0, 0x7f, 0xff] {
                exercise(with_checksum(changed(&sample, at, &[value])));
            }
        }
    }
}

#[test]
fn a_changed_number_is_harmless() {
    for sample in samples() {
        for at in (0..sample.len()).step_by(4) {
            for value in (0..12).chain([0x7fff_ffff, 0x8000_0000, u32::MAX - 1, u32::MAX, sample.len() as u32]) {
                exercise(with_checksum(changed(&sample, at, &value.to_le_bytes())));
            }
            for value in [1 << 32, 1 << 63, u64::MAX, u64::MAX - 7] {
                exercise(with_checksum(changed(&sample, at, &u64::to_le_bytes(value))));
            }
        }
    }
}

#[test]
fn other_lengths_are_refused() {
    for sample in samples() {
        for length in 0..sample.len() {
            assert!(!exercise(sample[..length].to_vec()), "{length} bytes");
            let mut cut = sample[..length].to_vec();
            if cut.len() >= 24 {
                cut[16..24].copy_from_slice(&(length as u64).to_le_bytes());
            }
            assert!(!exercise(with_checksum(cut)), "{length} bytes, in the header as well");
        }
        assert!(!exercise([&sample[..], &[0; 8]].concat()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    #[test]
    fn changed_words_are_harmless(
        which in 0..2_usize,
        words in proptest::collection::vec((any::<prop::sample::Index>(), prop_oneof![0..20_u32, any::<u32>()]), 1..6),
    ) {
        thread_local!(static SAMPLES: [Vec<u8>; 2] = samples());
        let mut bytes = SAMPLES.with(|samples| samples[which].clone());
        for (place, value) in words {
            let at = place.index(bytes.len() / 4) * 4;
            bytes = changed(&bytes, at, &value.to_le_bytes());
        }
        exercise(with_checksum(bytes));
    }
}

#[test]
fn errors_name_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.idx");
    let error = Index::open(&path).unwrap_err();
    assert!(matches!(&error, Error::Io { path: named, .. } if *named == path), "{error}");
    for (bytes, reason) in [
        (vec![], "shorter than a header".to_owned()),
        (vec![0; 1000], "the magic number is wrong".to_owned()),
        (changed(&samples()[0], 8, &[2]), "version 2, this program reads version 1".to_owned()),
    ] {
        fs::write(&path, bytes).unwrap();
        for error in [Index::open(&path).unwrap_err(), Index::read(&path).unwrap_err()] {
            let message = error.full_message();
            assert_eq!(message, format!("{}: not a valid index: {reason}", path.display()));
        }
    }
}

/// A mapped index would end the process here.
#[test]
fn an_index_in_memory_survives_the_loss_of_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.idx");
    let bytes = &samples()[0];
    fs::write(&path, bytes).unwrap();
    let index = Index::read(&path).unwrap();
    fs::write(&path, b"").unwrap();
    assert!(index.bytes() == bytes);
    assert!(index.children(InodeId::ROOT, 0).next().is_some());
}

#[test]
fn a_newer_minor_version_is_accepted() {
    assert!(exercise(with_checksum(changed(&samples()[0], 10, &[9]))));
}

/// Publishes a layer whose `.contents` a test may damage.
fn published() -> (TempDir, Index, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let tar = Layer::new(layer()).to_tar(&Encoding::default());
    let path = build(tar.as_slice(), directory.path(), &BuildOptions::default()).unwrap().publish().unwrap();
    let contents = path.with_extension("contents");
    (directory, Index::open(&path).unwrap(), contents)
}

#[test]
fn every_changed_byte_of_contents_is_found() {
    let (_directory, index, path) = published();
    assert_eq!(verify_contents(&index, &path, &Cancel::new()).unwrap(), 7 + 5000);
    // This needs root, which may write despite the mode.
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 3 * 4096);
    for at in (0..bytes.len()).step_by(7).chain([6, 7, 4095, 4096, 9095, 9096, bytes.len() - 1]) {
        file.write_all_at(&[bytes[at] ^ 0x10], at as u64).unwrap();
        match verify_contents(&index, &path, &Cancel::new()).unwrap_err() {
            Error::InvalidContents { path: named, reason } => {
                assert_eq!(named, path);
                assert!(reason.contains("inode"), "{reason}");
            }
            other => panic!("{other}"),
        }
        file.write_all_at(&bytes[at..=at], at as u64).unwrap();
    }
    assert!(verify_contents(&index, &path, &Cancel::new()).is_ok());
}

#[test]
fn contents_of_a_wrong_length_are_found() {
    let (_directory, index, path) = published();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    for length in [0, 1, 4096, 3 * 4096 - 1, 3 * 4096 + 1, 4 * 4096] {
        file.set_len(length).unwrap();
        let message = verify_contents(&index, &path, &Cancel::new()).unwrap_err().full_message();
        assert_eq!(message, format!("{}: {length} bytes long, expected 12288", path.display()));
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(verify_contents(&index, &path, &Cancel::new()).unwrap_err(), Error::Io { .. }));
    let root = Stack::build(&[Layer::new(layer()).to_tar(&Encoding::default())]).unwrap();
    let roots = merged(None, &[&root.layers[0], &root.layers[0]]).unwrap();
    let error = verify_contents(&Index::from_bytes(roots).unwrap(), &path, &Cancel::new()).unwrap_err();
    assert!(error.full_message().ends_with("its index refers to 2 contents files, expected 1"), "{error}");
}

#[test]
fn a_failed_build_leaves_no_files() {
    assert!(matches!(build_error(b"no tar".as_slice()), Error::NotATar { .. }));
}
