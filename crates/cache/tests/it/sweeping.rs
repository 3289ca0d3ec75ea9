//! A sweep removes abandoned files and keeps those in use.

use std::fs;
use std::io::Write;

use vmroot_cache::{Cache, LockName, Mode, SweepReport};
use vmroot_model::Digest;
use vmroot_output::{TemporaryDirectory, TemporaryFile};

use crate::{bytes, open, open_writer};

fn lock_count(cache: &Cache) -> usize {
    fs::read_dir(cache.layout().locks()).unwrap().count()
}

#[test]
fn sweep_removes_only_abandoned_files() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path());
    let target = cache.layout().image_record(&Digest::of(b"record"));
    let mut living = TemporaryFile::create_in(target.parent().unwrap(), 0o600).unwrap();
    living.write_all(b"on its way").unwrap();
    fs::write(cache.layout().layers().join(".tmp-99-1"), bytes(1, 1_000)).unwrap();
    fs::write(cache.layout().roots().join(".tmp-AbCdEf"), bytes(1, 234)).unwrap();
    fs::write(cache.layout().roots().join("kept.idx"), b"kept").unwrap();
    fs::create_dir(directory.path().join(".tmp-top-1")).unwrap();
    fs::write(directory.path().join(".tmp-top-1/one.contents"), bytes(1, 4_096)).unwrap();
    let would = cache.list_abandoned().unwrap();
    let swept = cache.sweep().unwrap();
    assert_eq!((swept.files, swept.directories, swept.bytes, swept.paths.len()), (3, 1, 5_330, 3));
    assert_eq!(would, swept);
    assert_eq!(cache.sweep().unwrap(), SweepReport::default());
    assert!(!directory.path().join(".tmp-top-1").exists());
    living.publish(&target, None).unwrap();
    assert_eq!(fs::read(target).unwrap(), b"on its way");
    assert_eq!(cache.usage().unwrap().roots.files, 1);
}

#[test]
fn sweep_keeps_directories_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path());
    let living = TemporaryDirectory::create_in(directory.path()).unwrap();
    fs::write(living.path().join("file"), b"in use").unwrap();
    let path = living.path().to_owned();
    assert_eq!(cache.sweep().unwrap(), SweepReport::default());
    assert_eq!(fs::read(path.join("file")).unwrap(), b"in use");
    drop(living);
    assert!(!path.exists());
}

#[test]
fn sweep_removes_free_lock_files() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path());
    let held = cache.try_lock(&LockName::Layer(Digest::of(b"held")), Mode::Shared).unwrap().unwrap();
    drop(cache.try_lock(&LockName::Root(Digest::of(b"free")), Mode::Exclusive).unwrap().unwrap());
    assert_eq!(lock_count(&cache), 2);
    cache.sweep().unwrap();
    assert_eq!(lock_count(&cache), 1);
    assert!(cache.try_lock(&LockName::Layer(Digest::of(b"held")), Mode::Exclusive).unwrap().is_none());
    drop(held);
    cache.sweep().unwrap();
    assert_eq!(lock_count(&cache), 0);
}

#[test]
fn sweep_keeps_partial_blobs_in_fetch() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path());
    let (left, growing) = (Digest::of(b"left"), Digest::of(b"growing"));
    open_writer(&cache, &left, 4).append(b"le").unwrap();
    let mut writer = open_writer(&cache, &growing, 7);
    writer.append(b"grow").unwrap();
    assert_eq!(cache.usage().unwrap().unfinished.files, 2);
    let swept = cache.sweep_partials().unwrap();
    assert_eq!((swept.files, swept.bytes), (1, 2));
    writer.append(b"ing").unwrap();
    writer.commit().unwrap();
    assert_eq!(cache.blobs().unwrap().len(), 1);
}

#[test]
fn usage_counts_holes_in_bytes_but_not_in_disk_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path());
    let file = fs::File::create(cache.layout().layer_contents(&Digest::of(b"layer"))).unwrap();
    file.set_len(10_000_000).unwrap();
    open_writer(&cache, &Digest::of(b"half"), 4).append(b"ha").unwrap();
    let usage = cache.usage().unwrap();
    assert_eq!((usage.layers.files, usage.layers.bytes), (1, 10_000_000));
    assert!(usage.layers.disk_bytes < 1_000_000);
    assert_eq!((usage.unfinished.files, usage.unfinished.bytes), (1, 2));
    assert_eq!(usage.blobs.files, 0);
}
