//! The disk as a file in a FUSE mount.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;
use vmroot_disk_serve::{FILE_NAME, mount_file};
use vmroot_fuse_mount::{Mount, MountOptions};
use vmroot_testkit::skip;

use crate::fixture::{Fixture, run};

/// Mounts the disk of a fixture, unless the machine cannot.
fn mount(fixture: &Fixture) -> Option<Mount> {
    if !Path::new("/dev/fuse").exists() {
        skip::because("needs /dev/fuse");
        return None;
    }
    let place = fixture.directory().join("mount");
    fs::create_dir(&place).unwrap();
    Some(mount_file(Arc::clone(&fixture.device), &place, &MountOptions::default()).unwrap())
}

#[test]
fn the_file_has_the_bytes_of_the_export() {
    let fixture = Fixture::new();
    let Some(mount) = mount(&fixture) else { return };
    let path = mount.mountpoint().join(FILE_NAME);
    assert!(fs::read(&path).unwrap() == fixture.expected);
    if !skip::needs_program("qemu-img") {
        let expected = fixture.expected_file();
        let compare = ["compare", "-f", "raw", "-F", "raw", path.to_str().unwrap(), expected.to_str().unwrap()];
        run("qemu-img", &compare);
    }
    let names: Vec<_> = fs::read_dir(mount.mountpoint()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [FILE_NAME]);
    assert!(!mount.mountpoint().join("other").exists());
    mount.unmount().unwrap();
    mount.wait().unwrap();
}

#[test]
fn unaligned_and_direct_reads() {
    let fixture = Fixture::new();
    let Some(mount) = mount(&fixture) else { return };
    let path = mount.mountpoint().join(FILE_NAME);
    let direct = File::options().read(true).custom_flags(OFlags::DIRECT.bits() as i32).open(&path).unwrap();
    let cached = File::open(&path).unwrap();
    let length = fixture.expected.len();
    for file in [direct, cached] {
        for (offset, count) in
            [(0, 1), (1, 4096), (4095, 2), (511, 300_001), (length - 3, 10), (length, 1), (length + 9, 5)]
        {
            let mut found = vec![0xaa; count];
            let read = file.read_at(&mut found, offset as u64).unwrap();
            let expected = &fixture.expected[offset.min(length)..(offset + count).min(length)];
            assert!(found[..read] == *expected, "{offset} {count}");
        }
    }
    mount.unmount().unwrap();
    mount.wait().unwrap();
}

#[test]
fn the_file_cannot_be_changed() {
    let fixture = Fixture::new();
    let Some(mount) = mount(&fixture) else { return };
    let path = mount.mountpoint().join(FILE_NAME);
    assert!(File::options().write(true).open(&path).is_err());
    assert!(File::create(mount.mountpoint().join("new")).is_err());
    assert!(fs::remove_file(&path).is_err());
    mount.unmount().unwrap();
    mount.wait().unwrap();
}
