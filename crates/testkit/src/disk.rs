//! Temporary file systems to write to, such as ones with shared blocks or with little space.

use std::ffi::CString;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{fstatvfs, syncfs};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

/// The size of a disk in bytes. mkfs.xfs needs at least 300 MiB.
const SIZE: u64 = 400 << 20;

/// A mounted file system, which is unmounted when dropped. Needs root.
#[derive(Debug)]
pub struct Disk {
    place: TempDir,
    _image: TempDir,
}

impl Disk {
    /// Creates a file system in a file with a program such as `mkfs.xfs` and its options, and mounts it.
    ///
    /// # Panics
    /// If the program fails, or the kernel cannot mount the file system.
    pub fn made_by(mkfs: &str, options: &[&str]) -> Self {
        let (place, directory) = directories();
        let image = directory.path().join("image");
        File::create(&image).and_then(|file| file.set_len(SIZE)).expect("a file with a hole takes no room");
        run(Command::new(mkfs).args(options).arg(&image));
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(place.path()));
        Self { place, _image: directory }
    }

    /// Mounts a tmpfs of a size in bytes, or with the suffix `k` or `m`.
    ///
    /// # Panics
    /// If the kernel cannot mount it.
    pub fn in_memory(size: &str) -> Self {
        let (place, directory) = directories();
        let options = CString::new(format!("size={size}")).expect("a size has no NUL");
        mount("none", place.path(), "tmpfs", MountFlags::empty(), Some(options.as_c_str())).expect("a tmpfs");
        Self { place, _image: directory }
    }

    /// Returns the mount point.
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Returns the number of bytes in use, after syncing.
    ///
    /// # Panics
    /// If the file system cannot be queried.
    pub fn used(&self) -> u64 {
        let root = File::open(self.path()).expect("it is mounted");
        syncfs(&root).expect("it is not full");
        let statvfs = fstatvfs(&root).expect("it is mounted");
        (statvfs.f_blocks - statvfs.f_bfree) * statvfs.f_frsize
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Detached, because open files of a failing test must not keep the directory.
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}

fn directories() -> (TempDir, TempDir) {
    let directory = || tempfile::tempdir().expect("a temporary directory");
    (directory(), directory())
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("the program is there");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
