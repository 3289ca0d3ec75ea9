//! The mount of an image, for tests.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;

use rustix::mount::{UnmountFlags, unmount};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::skip;

use crate::program::Program;
use crate::samples::{image, serve};

/// Returns whether this machine cannot mount with FUSE.
pub(crate) fn cannot_mount() -> bool {
    if OpenOptions::new().read(true).write(true).open("/dev/fuse").is_err() {
        return skip::because("needs /dev/fuse");
    }
    !rustix::process::geteuid().is_root() && skip::needs_program("fusermount3")
}

/// An image in a cache, and a place for its mount. What is mounted there is unmounted on drop.
pub(crate) struct MountTest {
    pub(crate) program: Program,
    pub(crate) image: String,
    pub(crate) place: PathBuf,
}

impl MountTest {
    /// Creates the place, a directory of this name.
    pub(crate) fn new(name: &str) -> Self {
        let test = Self::without_place(name);
        fs::create_dir(&test.place).unwrap();
        test
    }

    /// Creates the place, unless this user cannot mount as root.
    pub(crate) fn as_root(name: &str) -> Option<Self> {
        (!skip::needs_root() && !cannot_mount()).then(|| Self::new(name))
    }

    /// Pulls the image, and does not create the place.
    pub(crate) fn without_place(name: &str) -> Self {
        let registry = Registry::start();
        let program = Program::new();
        let image = serve(&registry, &image("amd64"), "v1");
        program.ok(["pull", &image, "--arch=amd64"]);
        let place = program.path(name);
        Self { program, image, place }
    }

    /// Returns the arguments of a mount with further options.
    pub(crate) fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        ["mount", &self.image, self.place.to_str().unwrap()].into_iter().chain(more.iter().copied()).collect()
    }

    /// Mounts the image in the background.
    pub(crate) fn mount(&self, more: &[&str]) {
        self.program.ok(self.arguments(&[more, &["--detach"]].concat()));
    }

    pub(crate) fn umount(&self) {
        self.umount_with(&[]);
    }

    pub(crate) fn umount_with(&self, more: &[&str]) {
        self.program.ok(["umount", self.place.to_str().unwrap()].iter().chain(more));
    }

    pub(crate) fn is_mounted(&self) -> bool {
        self.motd() == "amd64\n"
    }

    /// Returns the text of a file of the image, if it is mounted.
    pub(crate) fn motd(&self) -> String {
        fs::read_to_string(self.place.join("etc/motd")).unwrap_or_default()
    }
}

impl Drop for MountTest {
    fn drop(&mut self) {
        // After a failed test: the directory could not be removed while it is mounted.
        while unmount(&self.place, UnmountFlags::DETACH).is_ok() {}
    }
}
