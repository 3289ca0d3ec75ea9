//! File systems of their own, to write to: such as share blocks, and such as are full soon.

use std::ffi::CString;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{fstatvfs, syncfs};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

/// Bytes of a disk; mkfs.xfs makes none under 300 MiB.
const SIZE: u64 = 400 << 20;

/// A file system on a directory, taken away when dropped. Needs root.
#[derive(Debug)]
pub struct Disk {
    place: TempDir,
    _image: TempDir,
}

impl Disk {
    /// One in a file, made by a program such as `mkfs.xfs` with these options.
    ///
    /// # Panics
    /// When that fails, or the kernel does not mount it.
    pub fn made_by(mkfs: &str, options: &[&str]) -> Self {
        let (place, directory) = directories();
        let image = directory.path().join("image");
        File::create(&image).and_then(|file| file.set_len(SIZE)).expect("a file with a hole takes no room");
        run(Command::new(mkfs).args(options).arg(&image));
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(place.path()));
        Self { place, _image: directory }
    }

    /// One in memory, of a size in bytes, or with `k` or `m`.
    ///
    /// # Panics
    /// When the kernel does not mount it.
    pub fn in_memory(size: &str) -> Self {
        let (place, directory) = directories();
        let options = CString::new(format!("size={size}")).expect("a size has no NUL");
        mount("none", place.path(), "tmpfs", MountFlags::empty(), Some(options.as_c_str())).expect("a tmpfs");
        Self { place, _image: directory }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Bytes that are in use, once all is written.
    ///
    /// # Panics
    /// When the file system does not say.
    pub fn used(&self) -> u64 {
        let root = File::open(self.path()).expect("it is mounted");
        syncfs(&root).expect("it is not full");
        let statvfs = fstatvfs(&root).expect("it is mounted");
        (statvfs.f_blocks - statvfs.f_bfree) * statvfs.f_frsize
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Open files of a failing test must not keep the directory from being removed.
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
