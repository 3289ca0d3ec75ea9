//! The program `openssl` in a temporary directory.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

pub(crate) struct OpenSsl {
    directory: tempfile::TempDir,
}

impl OpenSsl {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Returns whether the program succeeds. Arguments are separated by spaces.
    pub(crate) fn succeeds(&self, arguments: &str) -> bool {
        self.output(arguments).status.success()
    }

    pub(crate) fn run(&self, arguments: &str) -> Vec<u8> {
        let output = self.output(arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {message}");
        output.stdout
    }

    fn output(&self, arguments: &str) -> std::process::Output {
        let mut command = Command::new("openssl");
        command.args(arguments.split_whitespace()).current_dir(self.directory.path());
        command.output().expect("the program openssl, which Debian's package openssl has")
    }
}
