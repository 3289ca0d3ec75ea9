//! Growth that is interrupted at each of its writes.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use vmroot_testkit::mounted::{Mounted, run};
use vmroot_testkit::skip;

use super::device::Device;
use super::{grow, grow_ext4};
use crate::{CreateOptions, Error, create_ext4};

const MEBI: u64 = 1 << 20;

/// A file that fails at a write, as if the process were killed before it.
struct Killed<'f> {
    file: &'f File,
    writes_left: usize,
}

impl Device for Killed<'_> {
    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        Device::read(&self.file, bytes, offset)
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.writes_left = self.writes_left.checked_sub(1).ok_or(io::ErrorKind::Interrupted)?;
        Device::write(&mut self.file, bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn length(&self) -> io::Result<(u64, bool)> {
        self.file.length()
    }

    fn extend(&mut self, length: u64) -> io::Result<()> {
        self.file.extend(length)
    }

    fn next_data(&self, start: u64, end: u64) -> io::Result<Option<(u64, u64)>> {
        self.file.next_data(start, end)
    }
}

struct Disk {
    directory: TempDir,
}

impl Disk {
    fn new() -> Self {
        Self { directory: tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// Creates the disk `first` with a file.
    fn with_file(self, make: impl FnOnce(&Path)) -> Self {
        make(&self.path("first"));
        fs::write(self.path("data"), data()).unwrap();
        let request = format!("write {} kept", self.path("data").display());
        run(Command::new("debugfs").args(["-w", "-R", &request]).arg(self.path("first")));
        self
    }

    /// Asserts that the file has its bytes.
    fn assert_kept(&self, name: &str) {
        let found = Command::new("debugfs").args(["-R", "cat kept"]).arg(self.path(name)).output().unwrap();
        assert!(found.stdout == data(), "{name}: the file has other bytes");
    }
}

fn data() -> Vec<u8> {
    (0..200_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn open(path: &Path) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

/// Interrupts the growth of a disk at each write. Afterwards e2fsck can repair it, and a second growth completes it.
fn interrupt_everywhere(disk: &Disk, size: u64) {
    let mut writes = 0;
    loop {
        let path = disk.path("killed");
        fs::copy(disk.path("first"), &path).unwrap();
        let file = open(&path);
        let interrupted = match grow(Killed { file: &file, writes_left: writes }, size) {
            Err(Error::Write(error)) if error.kind() == io::ErrorKind::Interrupted => true,
            grown => grown.map(|_| false).unwrap(),
        };
        drop(file);
        disk.assert_kept("killed");
        if !skip::needs_root() {
            let mounted = Mounted::new(&path, "ext4", "ro");
            assert!(fs::read(mounted.path().join("kept")).unwrap() == data());
        }
        fs::copy(&path, disk.path("repaired")).unwrap();
        let repaired = Command::new("e2fsck").arg("-fy").arg(disk.path("repaired")).output().unwrap();
        assert!(matches!(repaired.status.code(), Some(0 | 1)), "{writes}: {repaired:?}");
        disk.assert_kept("repaired");
        grow_ext4(&open(&path), size).unwrap_or_else(|error| panic!("{writes}: {error}"));
        disk.assert_kept("killed");
        run(Command::new("e2fsck").arg("-fn").arg(&path));
        // A repaired disk can be grown, too.
        grow_ext4(&open(&disk.path("repaired")), size + 40 * MEBI).unwrap();
        run(Command::new("e2fsck").arg("-fn").arg(disk.path("repaired")));
        if !interrupted {
            break;
        }
        writes += 1;
    }
    assert!(writes > 8, "{writes} writes");
}

fn is_skipped() -> bool {
    ["e2fsck", "debugfs", "mke2fs"].into_iter().any(skip::needs_program)
}

#[test]
fn an_interrupted_growth_loses_nothing() {
    if is_skipped() {
        return;
    }
    let disk = Disk::new().with_file(|path| {
        let options = CreateOptions { journal: true, ..CreateOptions::default() };
        create_ext4(&File::create_new(path).unwrap(), 20 * MEBI, &options).unwrap();
    });
    interrupt_everywhere(&disk, 300 * MEBI);
}

#[test]
fn an_interrupted_growth_with_a_resize_inode_loses_nothing() {
    if is_skipped() {
        return;
    }
    let disk = Disk::new().with_file(|path| {
        File::create_new(path).unwrap().set_len(20 * MEBI).unwrap();
        run(Command::new("mke2fs").args(["-q", "-t", "ext4", "-b", "1024"]).arg(path));
    });
    interrupt_everywhere(&disk, 50 * MEBI);
}

#[test]
fn an_interrupted_growth_without_checksums_loses_nothing() {
    if is_skipped() {
        return;
    }
    let disk = Disk::new().with_file(|path| {
        File::create_new(path).unwrap().set_len(20 * MEBI).unwrap();
        run(Command::new("mke2fs").args(["-q", "-t", "ext2", "-b", "4096"]).arg(path));
    });
    interrupt_everywhere(&disk, 200 * MEBI);
}
