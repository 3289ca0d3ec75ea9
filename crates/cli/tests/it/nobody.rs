//! Running the program as an unprivileged user, from root.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::Command;

use crate::program::Program;

/// The id of a user and a group that own no files.
pub(crate) const NOBODY: u32 = 65_534;

/// Returns a command that runs a program as a user with a group of the same id and no other groups.
pub(crate) fn as_user(user: u32) -> Command {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()]);
    command
}

/// A home of that user, with a cache and a copy of the program: the build directory may be readable only by root.
pub(crate) struct Nobody {
    pub(crate) program: Program,
    pub(crate) executable: PathBuf,
}

impl Nobody {
    pub(crate) fn new() -> Self {
        let program = Program::new();
        let executable = program.path("vmroot");
        fs::copy(env!("CARGO_BIN_EXE_vmroot"), &executable).unwrap();
        chown(program.path("."), Some(NOBODY), Some(NOBODY)).unwrap();
        Self { program, executable }
    }

    /// Returns a command as [`as_user`] does, with this cache.
    pub(crate) fn command(&self) -> Command {
        let mut command = as_user(NOBODY);
        command.env("VMROOT_CACHE", self.program.cache()).current_dir(self.program.path("."));
        command
    }
}
