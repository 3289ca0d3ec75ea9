//! Targets of an image: file systems that share blocks, devices, full disks.

use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use vmroot_erofs::{ErofsMetaOptions, ErofsOptions, Error, write_erofs, write_erofs_meta};
use vmroot_output::{Hook, WriteProgress};
use vmroot_test_roots::Root;
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::disk::Disk;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::mounted::loop_device;
use vmroot_testkit::sample::noise;
use vmroot_testkit::skip;

use super::fixture::{cannot_mount, image, listing};

fn large() -> Layer {
    Layer::new([
        Entry::file("large", noise(1, (20 << 20) + 123)),
        Entry::file("small", "a few bytes"),
        Entry::sparse_file("sparse", 8 << 20, vec![(5 << 20, noise(2, 100_000))]),
    ])
}

#[test]
fn xfs_shares_blocks() {
    if skip::needs_root() || skip::needs_program("mkfs.xfs") {
        return;
    }
    let disk = Disk::made_by("mkfs.xfs", &["-q", "-m", "reflink=1"]);
    let root = Root::beneath(disk.path(), &[large()]);
    let here = Root::of(&[large()]);
    let file = File::create_new(disk.path().join("shared")).unwrap();
    let free = || {
        let statvfs = rustix::fs::statvfs(disk.path()).unwrap();
        statvfs.f_bfree * statvfs.f_frsize
    };
    let before = free();
    write_erofs(&root.fs, &file, &ErofsOptions::default()).unwrap();
    file.sync_all().unwrap();
    let used = before.saturating_sub(free());
    assert!(used < 4 << 20, "{used} bytes on disk for 20 MiB of contents");
    assert!(fs::read(disk.path().join("shared")).unwrap() == fs::read(image(&here)).unwrap());
}

/// tmpfs: no direct I/O, and holes as small as pages.
#[test]
fn tmpfs_is_a_valid_target() {
    if skip::needs_root() {
        return;
    }
    let disk = Disk::in_memory("100m");
    let root = Root::beneath(disk.path(), &[large()]);
    let here = Root::of(&[large()]);
    assert!(fs::read(image(&root)).unwrap() == fs::read(image(&here)).unwrap());
}

#[test]
fn a_device_with_old_bytes_is_overwritten() {
    if cannot_mount() || skip::needs_program("losetup") {
        return;
    }
    let root = Root::of(&[large()]);
    let disk = root.files().join("disk");
    fs::write(&disk, vec![0xaa; 40 << 20]).unwrap();
    let device = loop_device(&disk);
    let file = File::options().write(true).open(device.path()).unwrap();
    write_erofs(&root.fs, &file, &ErofsOptions::default()).unwrap();
    file.sync_all().unwrap();
    root.expected().assert_same(&listing(device.path(), &[]));
}

#[test]
fn a_full_disk_is_reported() {
    if skip::needs_root() {
        return;
    }
    let disk = Disk::in_memory("1m");
    let root = Root::of(&[large()]);
    let file = File::create_new(disk.path().join("image")).unwrap();
    let error = write_erofs(&root.fs, &file, &ErofsOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Write(_)), "{error:?}");
    let many = Root::of_entries((0..20_000).map(|number| Entry::directory(format!("d{number}"))));
    let file = File::create_new(disk.path().join("meta")).unwrap();
    let error = write_erofs_meta(&many.fs, &file, &ErofsMetaOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Write(_)), "{error:?}");
}

#[test]
fn truncated_contents_are_reported() {
    let root = Root::of(&[large()]);
    let contents = root.fs.contents().next().unwrap().path.clone();
    fs::set_permissions(&contents, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    File::options().write(true).open(&contents).unwrap().set_len(1 << 20).unwrap();
    let file = File::create_new(root.files().join("image")).unwrap();
    let error = write_erofs(&root.fs, &file, &ErofsOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Root(_)) && error.full_message().contains(contents.to_str().unwrap()), "{error}");
}

#[test]
fn a_hook_receives_progress_and_can_cancel() {
    let root = Root::of(&[large()]);
    let heard = AtomicU64::new(0);
    let hook = |progress: WriteProgress| {
        assert!(progress.bytes <= progress.total_bytes);
        heard.fetch_max(progress.bytes, Ordering::Relaxed);
        ControlFlow::Continue(())
    };
    let options =
        ErofsOptions { hook: Some(Hook::new(&hook)), threads: NonZeroUsize::new(2), ..ErofsOptions::default() };
    let file = File::create_new(root.files().join("image")).unwrap();
    let report = write_erofs(&root.fs, &file, &options).unwrap();
    assert_eq!(heard.into_inner(), report.bytes);
    let options = ErofsOptions {
        hook: Some(Hook::new(&|_| ControlFlow::Break(()))),
        threads: NonZeroUsize::new(2),
        ..ErofsOptions::default()
    };
    let error = write_erofs(&root.fs, &file, &options).unwrap_err();
    assert!(matches!(error, Error::Cancelled));
}
