//! Creating, growing, cloning and describing disks.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::thread;

use tempfile::TempDir;
use vmroot_disk::writable::{
    CloneOptions, CreateOptions, Error, Identity, LockMode, UpperState, clone_disk, create_disk, disk_info, grow_disk,
    lock_disk,
};
use vmroot_testkit::mounted::{loop_device, run};
use vmroot_testkit::skip;

const MEBI: u64 = 1 << 20;

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn check(path: &Path) {
    if !skip::needs_program("e2fsck") {
        run(Command::new("e2fsck").arg("-fn").arg(path));
    }
}

#[test]
fn a_hundred_disks_are_made_at_once() {
    let directory = directory();
    let path = |number: usize| directory.path().join(format!("{number}.ext4"));
    thread::scope(|scope| {
        for number in 0..100 {
            let path = path(number);
            scope.spawn(move || create_disk(&path, &CreateOptions::new(8 << 30)).unwrap());
        }
    });
    let first = disk_info(&path(0)).unwrap();
    for number in 0..100 {
        let info = disk_info(&path(number)).unwrap();
        assert_eq!(info.file_system, first.file_system);
        assert_eq!(info.size, 8 << 30);
        assert!(info.allocated < MEBI, "{}", info.allocated);
    }
    check(&path(99));
}

#[test]
fn a_file_is_replaced_only_on_request() {
    let directory = directory();
    let path = directory.path().join("disk");
    fs::write(&path, "mine").unwrap();
    let options = CreateOptions::new(16 * MEBI);
    assert!(matches!(create_disk(&path, &options), Err(Error::Exists { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    create_disk(&path, &CreateOptions { replace: true, ..options }).unwrap();
    check(&path);
    // A size that is too small leaves nothing.
    let small = directory.path().join("small");
    assert!(matches!(create_disk(&small, &CreateOptions::new(4096)), Err(Error::Ext4 { .. })));
    assert!(!small.exists());
}

#[test]
fn identities_are_derived_random_or_chosen() {
    let directory = directory();
    let uuid = |name: &str, identity| {
        let path = directory.path().join(name);
        create_disk(&path, &CreateOptions { identity, ..CreateOptions::new(9 * MEBI) }).unwrap();
        disk_info(&path).unwrap().file_system.uuid
    };
    assert_eq!(uuid("a", Identity::Derived), uuid("b", Identity::Derived));
    assert_ne!(uuid("c", Identity::Random), uuid("d", Identity::Random));
    assert_eq!(uuid("e", Identity::Uuid([5; 16])), [5; 16]);
}

#[test]
fn a_clone_is_sparse_and_equal_but_for_its_identity() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    create_disk(&path("disk"), &CreateOptions::new(2 << 30)).unwrap();
    clone_disk(&path("disk"), &path("same"), &CloneOptions::default()).unwrap();
    let random = CloneOptions { identity: Identity::Random, ..CloneOptions::default() };
    clone_disk(&path("disk"), &path("other"), &random).unwrap();
    let infos = ["disk", "same", "other"].map(|name| disk_info(&path(name)).unwrap());
    assert_eq!(infos[0].file_system, infos[1].file_system);
    assert_ne!(infos[0].file_system.uuid, infos[2].file_system.uuid);
    for (name, info) in ["same", "other"].into_iter().zip(&infos[1..]) {
        assert_eq!(info.size, 2 << 30);
        assert!(info.allocated < MEBI, "{}", info.allocated);
        check(&path(name));
    }
    // Neither an existing file nor the original is replaced by mistake.
    assert!(matches!(clone_disk(&path("disk"), &path("same"), &random), Err(Error::Exists { .. })));
    let forced = CloneOptions { replace: true, ..CloneOptions::default() };
    assert!(matches!(clone_disk(&path("disk"), &path("disk"), &forced), Err(Error::Same { .. })));
    clone_disk(&path("disk"), &path("same"), &forced).unwrap();
}

#[test]
fn a_disk_in_use_is_refused() {
    let directory = directory();
    let path = directory.path().join("disk");
    create_disk(&path, &CreateOptions::new(16 * MEBI)).unwrap();
    let copy = directory.path().join("copy");
    let refused = |path: &Path| {
        assert!(matches!(grow_disk(path, 32 * MEBI), Err(Error::InUse { .. })));
        assert!(matches!(clone_disk(path, &copy, &CloneOptions::default()), Err(Error::InUse { .. })));
        let replace = CreateOptions { replace: true, ..CreateOptions::new(16 * MEBI) };
        assert!(matches!(create_disk(path, &replace), Err(Error::InUse { .. })));
        assert!(disk_info(path).is_ok());
    };
    let lock = lock_disk(&path, LockMode::Write).unwrap();
    refused(&path);
    drop(lock);
    grow_disk(&path, 32 * MEBI).unwrap();
    if skip::needs_root() || skip::needs_program("losetup") {
        return;
    }
    let device = loop_device(&path);
    refused(&path);
    drop(device);
    clone_disk(&path, &copy, &CloneOptions::default()).unwrap();
}

#[test]
fn info_knows_a_writable_layer_and_other_files() {
    let directory = directory();
    let path = directory.path().join("disk");
    create_disk(&path, &CreateOptions { label: "layer", ..CreateOptions::new(16 * MEBI) }).unwrap();
    let info = disk_info(&path).unwrap();
    assert_eq!(info.upper, UpperState::No);
    assert_eq!(info.file_system.label, b"layer");
    assert_eq!(info.allocated, fs::metadata(&path).unwrap().blocks() * 512);
    if !skip::needs_program("debugfs") {
        for name in ["upper", "work"] {
            run(Command::new("debugfs").args(["-w", "-R", &format!("mkdir {name}")]).arg(&path));
        }
        let record = directory.path().join("record");
        fs::write(&record, r#"{"version": 1, "image": "sha256:00", "name": "alpine:3.20"}"#).unwrap();
        let request = format!("write {} vmroot.json", record.display());
        run(Command::new("debugfs").args(["-w", "-R", &request]).arg(&path));
        let info = disk_info(&path).unwrap();
        assert_eq!(info.upper, UpperState::Yes);
        assert_eq!(info.image.unwrap().name, "alpine:3.20");
    }
    let other = directory.path().join("other");
    fs::write(&other, "hsqs".repeat(600)).unwrap();
    let error = disk_info(&other).unwrap_err();
    assert!(
        error.to_string().ends_with("no disk with an ext4 file system; it seems to be a squashfs image"),
        "{error}"
    );
    File::options().write(true).open(&path).unwrap().write_all_at(b"??", 1024 + 8).unwrap();
    assert!(matches!(disk_info(&path), Err(Error::Ext4 { .. })));
}

#[test]
fn several_copies_are_made_at_once_but_not_beside_a_monitor() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    create_disk(&path("disk"), &CreateOptions::new(16 * MEBI)).unwrap();
    let reader = lock_disk(&path("disk"), LockMode::Read).unwrap();
    clone_disk(&path("disk"), &path("copy"), &CloneOptions::default()).unwrap();
    assert!(matches!(grow_disk(&path("disk"), 32 * MEBI), Err(Error::InUse { .. })));
    drop(reader);
    // QEMU has locks of this kind.
    let monitor = File::options().read(true).write(true).open(path("disk")).unwrap();
    vmroot_sys::lock_shared(&monitor).unwrap();
    assert!(matches!(clone_disk(&path("disk"), &path("other"), &CloneOptions::default()), Err(Error::InUse { .. })));
    drop(monitor);
    clone_disk(&path("disk"), &path("other"), &CloneOptions::default()).unwrap();
}
