//! Mounts images with loop devices, and runs programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use tempfile::TempDir;

/// A mounted image, which is unmounted when dropped.
#[derive(Debug)]
pub struct Mounted(TempDir);

impl Mounted {
    /// Mounts a file as a file system of a type.
    pub fn new(image: &Path, kind: &str, options: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let options = format!("loop,{options}");
        run(Command::new("mount").args(["-t", kind, "-o", &options]).args([image, place.path()]));
        Self(place)
    }

    /// Returns the mount point.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for _ in 0..500 {
            match unmount(self.path(), UnmountFlags::empty()) {
                // A program that another test is starting has copies of files that were open here, until it calls exec.
                Err(Errno::BUSY) => thread::sleep(Duration::from_millis(10)),
                unmounted => return unmounted.unwrap(),
            }
        }
        panic!("{}: busy", self.path().display());
    }
}

/// Attaches a file to a loop device.
pub fn loop_device(file: &Path) -> Loop {
    let name = run(Command::new("losetup").args(["--find", "--show"]).arg(file));
    Loop(name.trim().into())
}

/// A loop device, which is detached when dropped.
#[derive(Debug)]
pub struct Loop(PathBuf);

impl Loop {
    /// Returns the path of the device.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // Errors are ignored: drop cannot return them.
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

/// Runs a program that must succeed, and returns its standard output.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{printed}{errors}", output.status);
    printed.into_owned()
}
