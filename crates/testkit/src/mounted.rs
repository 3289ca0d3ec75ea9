//! Images mounted by loop devices, and programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use tempfile::TempDir;

/// An image, mounted while this lives.
pub struct Mounted(TempDir);

impl Mounted {
    /// Mounts a file as a file system of a type.
    pub fn new(image: &Path, kind: &str, options: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let options = format!("loop,{options}");
        run(Command::new("mount").args(["-t", kind, "-o", &options]).args([image, place.path()]));
        Self(place)
    }

    /// The mount point.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for _ in 0..500 {
            match unmount(self.path(), UnmountFlags::empty()) {
                // A program that another test is starting has a copy of what was open here, until it runs.
                Err(Errno::BUSY) => thread::sleep(Duration::from_millis(10)),
                unmounted => return unmounted.unwrap(),
            }
        }
        panic!("{}: busy", self.path().display());
    }
}

/// A file as a disk.
pub fn loop_device(file: &Path) -> Loop {
    let name = run(Command::new("losetup").args(["--find", "--show"]).arg(file));
    Loop(name.trim().into())
}

/// A loop device, let go of when dropped.
pub struct Loop(PathBuf);

impl Loop {
    /// The device.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // There is no one to tell.
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

/// Runs a program that has to succeed, and gives what it prints.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{printed}{errors}", output.status);
    printed.into_owned()
}
