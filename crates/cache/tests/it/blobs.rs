//! One process and its blobs.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use vmroot_cache::{BlobEntry, BlobSlot, Error, LockName, Mode, Verdict, wait_forever};
use vmroot_model::{Algorithm, Digest, Hasher};
use vmroot_output::Cancel;

use crate::{bytes, open, open_writer};

#[test]
fn blob_life_cycle() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path());
    let content = bytes(1, 3_000_000);
    let digest = Digest::of(&content);
    assert_eq!(cache.get(&digest).unwrap(), None);
    assert_eq!(cache.verify(&digest, &Cancel::new()).unwrap(), Verdict::Missing);
    assert_eq!(cache.remove(&digest).unwrap(), None);

    let mut writer = open_writer(&cache, &digest, content.len());
    assert_eq!(writer.offset(), 0);
    for piece in content.chunks(70_001) {
        writer.append(piece).unwrap();
    }
    assert!(writer.is_complete());
    let blob = writer.commit().unwrap();

    assert_eq!(blob.path, directory.path().join("blobs/sha256").join(digest.hex()));
    assert_eq!(fs::read(&blob.path).unwrap(), content);
    assert_eq!(fs::metadata(&blob.path).unwrap().permissions().mode() & 0o7777, 0o444);
    assert_eq!(cache.get(&digest).unwrap(), Some(blob.clone()));
    assert_eq!(cache.verify(&digest, &Cancel::new()).unwrap(), Verdict::Whole);
    assert_eq!(cache.blobs().unwrap(), [BlobEntry { digest, length: blob.length, is_partial: false }]);
    let slot = cache.open_writer(&digest, blob.length, &mut wait_forever).unwrap();
    assert!(matches!(slot, BlobSlot::Present(present) if present == blob));

    assert_eq!(cache.remove(&digest).unwrap(), Some(blob.length));
    assert_eq!(cache.get(&digest).unwrap(), None);
}

#[test]
fn sha512_and_empty_blobs() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path());
    let mut hasher = Hasher::new(Algorithm::Sha512);
    hasher.update(b"long digest");
    let digest = hasher.finish();
    let mut writer = open_writer(&cache, &digest, 11);
    writer.write_all(b"long digest").unwrap();
    assert_eq!(writer.commit().unwrap().path, directory.path().join("blobs/sha512").join(digest.hex()));
    let empty = Digest::of(b"");
    assert_eq!(open_writer(&cache, &empty, 0).commit().unwrap().length, 0);
    assert_eq!(cache.verify(&empty, &Cancel::new()).unwrap(), Verdict::Whole);
}

#[test]
fn partial_blob_is_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path());
    let content = bytes(2, 2_500_000);
    let digest = Digest::of(&content);
    for (from, to) in [(0, 1_200_000), (1_200_000, 1_200_001), (1_200_001, 2_500_000)] {
        let mut writer = open_writer(&cache, &digest, content.len());
        assert_eq!(writer.offset(), from as u64);
        writer.append(&content[from..to]).unwrap();
        let mut kept = Vec::new();
        writer.read_kept().unwrap().read_to_end(&mut kept).unwrap();
        assert!(kept == content[..from], "the kept bytes are those before this writer");
        assert_eq!(cache.get(&digest).unwrap(), None);
    }
    let entry = BlobEntry { digest, length: 2_500_000, is_partial: true };
    assert_eq!(cache.blobs().unwrap(), [entry]);
    let writer = open_writer(&cache, &digest, content.len());
    assert!(writer.is_complete());
    writer.commit().unwrap();
    assert_eq!(cache.verify(&digest, &Cancel::new()).unwrap(), Verdict::Whole);
}

/// An uncompressed layer may contain gigabytes of zeros, for example the `lastlog` of a user with a high id.
#[test]
fn zeros_become_holes_and_are_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path());
    let content = [vec![0; 9 << 20], bytes(3, 5000), vec![0; 12 << 20], bytes(4, 3), vec![0; 3 << 20]].concat();
    let digest = Digest::of(&content);
    // The writers end in data, in a hole, and inside a block of zeros.
    for (from, to) in [(0, 7 << 20), (7 << 20, (9 << 20) + 4000), ((9 << 20) + 4000, (20 << 20) + 5)] {
        let mut writer = open_writer(&cache, &digest, content.len());
        assert_eq!(writer.offset(), from as u64);
        writer.append(&content[from..to]).unwrap();
    }
    let mut writer = open_writer(&cache, &digest, content.len());
    writer.append(&content[(20 << 20) + 5..]).unwrap();
    let blob = writer.commit().unwrap();
    assert!(fs::read(&blob.path).unwrap() == content);
    let taken = |path| fs::metadata(path).unwrap().blocks() * 512;
    assert!(taken(&blob.path) < content.len() as u64);

    let zeros = vec![0; 40 << 20];
    let digest = Digest::of(&zeros);
    let mut writer = open_writer(&cache, &digest, zeros.len());
    writer.append(&zeros).unwrap();
    let blob = writer.commit().unwrap();
    assert_eq!((blob.length, cache.verify(&digest, &Cancel::new()).unwrap()), (40 << 20, Verdict::Whole));
    assert!(taken(&blob.path) < 1 << 20, "{} bytes", taken(&blob.path));
}

#[test]
fn read_only_partial_is_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path());
    let digest = Digest::of(b"all of it");
    let partial = cache.layout().partial(&digest);
    fs::write(&partial, b"all of it").unwrap();
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o444)).unwrap();
    open_writer(&cache, &digest, 9).commit().unwrap();
    assert!(!partial.exists());
}

#[test]
fn corrupt_partial_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path());
    let content = bytes(3, 100_000);
    let digest = Digest::of(&content);
    let partial = cache.layout().partial(&digest);
    fs::write(&partial, bytes(4, 40_000)).unwrap();
    let mut writer = open_writer(&cache, &digest, content.len());
    assert_eq!(writer.offset(), 40_000);
    writer.append(&content[40_000..]).unwrap();
    let error = writer.commit().unwrap_err();
    assert!(
        matches!(&error, Error::DigestMismatch { digest: wanted, actual, path }
            if *wanted == digest && *actual != digest && *path == partial),
        "{error}"
    );
    assert_eq!(cache.blobs().unwrap(), []);
    let mut writer = open_writer(&cache, &digest, content.len());
    assert_eq!(writer.offset(), 0);
    writer.append(&content).unwrap();
    writer.commit().unwrap();
}

#[test]
fn oversized_partial_is_truncated() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path());
    let content = bytes(5, 50_000);
    let digest = Digest::of(&content);
    fs::write(cache.layout().partial(&digest), [content.clone(), vec![0; 7]].concat()).unwrap();
    open_writer(&cache, &digest, content.len()).commit().unwrap();
    assert_eq!(cache.verify(&digest, &Cancel::new()).unwrap(), Verdict::Whole);
}

#[test]
fn restart_discards_kept_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path());
    let digest = Digest::of(b"right");
    fs::write(cache.layout().partial(&digest), b"wro").unwrap();
    let mut writer = open_writer(&cache, &digest, 5);
    writer.restart().unwrap();
    assert_eq!(writer.offset(), 0);
    assert_eq!(writer.read_kept().unwrap().read_to_end(&mut Vec::new()).unwrap(), 0);
    writer.append(b"right").unwrap();
    writer.commit().unwrap();
}

#[test]
fn wrong_number_of_bytes_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path());
    let digest = Digest::of(b"12345678");
    let mut writer = open_writer(&cache, &digest, 8);
    writer.append(b"12345").unwrap();
    assert!(matches!(writer.append(b"6789").unwrap_err(), Error::TooLong { size: 8, .. }));
    let error = writer.write_all(b"6789").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains(&digest.to_string()), "{error}");
    assert_eq!(writer.offset(), 5);
    assert!(matches!(writer.commit().unwrap_err(), Error::TooShort { size: 8, actual: 5, .. }));
    assert_eq!(open_writer(&cache, &digest, 8).offset(), 5);
}

#[test]
fn empty_writer_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path());
    drop(open_writer(&cache, &Digest::of(b"x"), 1));
    assert_eq!(cache.blobs().unwrap(), []);
}

#[test]
fn damaged_blob_is_fetched_again() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path());
    let digest = Digest::of(b"whole");
    let path = cache.layout().blob(&digest);
    fs::write(&path, b"whale").unwrap();
    let actual = Digest::of(b"whale");
    assert_eq!(cache.verify(&digest, &Cancel::new()).unwrap(), Verdict::Damaged { actual, path: path.clone() });
    // A wrong length is noticed at the next fetch, without hashing the blob.
    fs::write(&path, b"who").unwrap();
    let mut writer = open_writer(&cache, &digest, 5);
    writer.append(b"whole").unwrap();
    writer.commit().unwrap();
    assert_eq!(cache.verify(&digest, &Cancel::new()).unwrap(), Verdict::Whole);
    // If only the size in the descriptor is wrong, the blob stays.
    let error = cache.open_writer(&digest, 6, &mut wait_forever).unwrap_err();
    assert!(matches!(error, Error::SizeMismatch { size: 6, actual: 5, .. }), "{error}");
    assert_eq!(cache.verify(&digest, &Cancel::new()).unwrap(), Verdict::Whole);
}

#[test]
fn blob_in_fetch_is_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path());
    let digest = Digest::of(b"12");
    let mut writer = open_writer(&cache, &digest, 2);
    writer.append(b"1").unwrap();
    assert_eq!(cache.remove(&digest).unwrap(), None);
    assert!(cache.try_lock(&LockName::Blob(digest), Mode::Exclusive).unwrap().is_none());
    writer.append(b"2").unwrap();
    writer.commit().unwrap();
    assert!(cache.try_lock(&LockName::Blob(digest), Mode::Exclusive).unwrap().is_some());
}

#[test]
fn other_file_names_are_not_listed() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path());
    let blobs = cache.layout().blobs(Algorithm::Sha256);
    for name in ["README", ".tmp-1-2", "0123", &"G".repeat(64), &format!("{}.part", "0".repeat(64))] {
        fs::write(blobs.join(name), b"").unwrap();
    }
    assert_eq!(cache.blobs().unwrap(), []);
}
