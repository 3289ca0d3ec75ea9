//! Processes that are killed during a write.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use vmroot_cache::{BlobSlot, Cache, LockName, Mode, PUBLISHED_MODE, SweepReport, Verdict, wait_forever};
use vmroot_model::Digest;
use vmroot_output::Cancel;
use vmroot_output::TemporaryFile;

use crate::processes::{in_child, spawn};
use crate::{bytes, open};

const KILLS: u64 = 100;
const BLOBS: u64 = 12;

/// The file that a process creates before its first write.
const STARTED: &str = "started";

fn content(seed: u64) -> Vec<u8> {
    bytes(seed + 100, 150_000 * (seed as usize + 1))
}

/// Fetches all blobs and writes a record for each, again and again until the process is killed.
fn work(directory: &Path) {
    let cache = open(directory);
    fs::write(directory.join(STARTED), b"").unwrap();
    loop {
        for seed in 0..BLOBS {
            fetch(&cache, seed);
        }
        cache.remove(&Digest::of(&content(BLOBS / 2))).unwrap();
    }
}

fn fetch(cache: &Cache, seed: u64) {
    let _in_use = cache.lock(&LockName::Cache, Mode::Shared, &mut wait_forever).unwrap();
    let content = content(seed);
    let digest = Digest::of(&content);
    if let BlobSlot::Absent(mut writer) = cache.open_writer(&digest, content.len() as u64, &mut wait_forever).unwrap() {
        for piece in content[writer.offset() as usize..].chunks(4_096) {
            writer.append(piece).unwrap();
        }
        writer.commit().unwrap();
    }
    let path = cache.layout().image_record(&digest);
    let mut record = TemporaryFile::create_in(path.parent().unwrap(), 0o600).unwrap();
    for piece in content.chunks(4_096) {
        record.write_all(piece).unwrap();
    }
    record.publish(&path, Some(PUBLISHED_MODE)).unwrap();
}

#[test]
fn files_are_complete_after_a_kill() {
    if let Some(directory) = in_child() {
        return work(&directory);
    }
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path());
    let mut unfinished_rounds = 0;
    for round in 0..KILLS {
        let mut child = spawn("crash::files_are_complete_after_a_kill", directory.path());
        child.wait_for(&directory.path().join(STARTED));
        std::thread::sleep(Duration::from_micros(round * 7_919 % 40_000));
        child.kill();
        fs::remove_file(directory.path().join(STARTED)).unwrap();
        check(&cache, directory.path());
        unfinished_rounds += u64::from(cache.usage().unwrap().unfinished.files > 0);
    }
    assert!(unfinished_rounds > 0, "none of {KILLS} kills interrupted a write");

    for seed in 0..BLOBS {
        fetch(&cache, seed);
    }
    check(&cache, directory.path());
    let whole = cache.blobs().unwrap();
    assert_eq!(whole.iter().filter(|blob| !blob.is_partial).count() as u64, BLOBS);
    cache.sweep().unwrap();
    assert_eq!(cache.sweep_partials().unwrap(), SweepReport::default());
    assert_eq!(cache.usage().unwrap().unfinished.files, 0);
}

/// Checks every blob and record under its final name.
fn check(cache: &Cache, directory: &Path) {
    for blob in cache.blobs().unwrap().iter().filter(|blob| !blob.is_partial) {
        assert_eq!(cache.verify(&blob.digest, &Cancel::new()).unwrap(), Verdict::Whole);
    }
    for entry in fs::read_dir(directory.join("images")).unwrap() {
        let path = entry.unwrap().path();
        let Some(hex) = path.file_name().unwrap().to_str().unwrap().strip_suffix(".json") else { continue };
        assert_eq!(Digest::of(&fs::read(&path).unwrap()).hex(), hex, "{path:?}");
    }
}
