//! Programs of a newer Debian than the machine's, in a root that `cargo xtask test` makes.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::skip;

/// The variable with the directory of the root. The default is the one that `cargo xtask test` fills.
pub const NEWER: &str = "VMROOT_TEST_NEWER";

/// The root, and a directory in it for one test.
#[derive(Debug)]
pub struct Newer {
    root: PathBuf,
    files: tempfile::TempDir,
}

impl Newer {
    /// Returns the root, or `None` if the test must be skipped because it is missing or cannot be entered.
    ///
    /// # Panics
    /// Like [`skip::because`], or if no directory can be made in the root.
    #[track_caller]
    pub fn find() -> Option<Self> {
        let made = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/newer");
        let root = env::var_os(NEWER).map_or_else(made, PathBuf::from);
        if !root.join("usr/bin/cosign").exists() {
            skip::because("needs the programs of a newer Debian, which cargo xtask test fetches");
            return None;
        }
        if !rustix::process::geteuid().is_root() {
            skip::because("needs root to enter the root with newer programs");
            return None;
        }
        let files = tempfile::tempdir_in(root.join("tmp")).expect("the root has a directory for temporary files");
        Some(Self { root, files })
    }

    /// Returns the path of a file of the test, outside of the root.
    pub fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Writes a file of the test.
    ///
    /// # Panics
    /// If that fails.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("a file of the test is written");
    }

    /// Reads a file of the test.
    ///
    /// # Panics
    /// If that fails.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Returns a command for a program in the root, with the test's directory as its own. It has no network set up, and
    /// neither `/proc` nor `/dev`.
    pub fn command(&self, program: &str) -> Command {
        let name = self.files.path().file_name().unwrap_or_default();
        let inside = Path::new("/tmp").join(name);
        let mut command = Command::new("chroot");
        command.arg(&self.root).args(["env", "--chdir"]).arg(&inside).arg("HOME=/tmp").arg(program);
        command
    }
}
