//! What can go wrong, and the exit code that tells it.

use std::io;
use std::path::PathBuf;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// The exit code when not the command failed but what should have started it.
pub(crate) const OWN_FAULT: i32 = 125;
/// The exit code when the command is there and cannot be run.
const NOT_EXECUTABLE: i32 = 126;
/// The exit code when there is no such command.
const NOT_FOUND: i32 = 127;

/// What can go wrong before the command runs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody ran the program by hand.
    #[error("this program is for a guest's kernel to start, as init=/sbin/vmroot-init")]
    NotPid1,
    /// A file or a directory that cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A system call without a file.
    #[error("cannot {what}: {source}")]
    System {
        /// What it was for.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A file that is too long to be what it should be.
    #[error("{path}: longer than {limit} bytes", path = path.display())]
    TooLong {
        /// Which one.
        path: PathBuf,
        /// Most bytes it may have.
        limit: u64,
    },
    /// A document that does not say what it should.
    #[error("{path}: {reason}", path = path.display())]
    Document {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The image names no command, and neither do the kernel's arguments.
    #[error("no command: the image has no entrypoint and no cmd, and the kernel's command line has nothing after --")]
    NoCommand,
    /// The user is not in `/etc/passwd`, and no number.
    #[error("no user {0:?} in /etc/passwd")]
    NoSuchUser(String),
    /// The group is not in `/etc/group`, and no number.
    #[error("no group {0:?} in /etc/group")]
    NoSuchGroup(String),
    /// A module that the kernel refused.
    #[error("module {path}: {source}{}", unknown_symbol(source), path = path.display())]
    Module {
        /// Its file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A device that did not appear.
    #[error("no {device} after {seconds} s: {lack}", device = device.display())]
    NoDevice {
        /// Its node.
        device: PathBuf,
        /// How long it was waited for.
        seconds: u64,
        /// What there is instead.
        lack: &'static str,
    },
    /// A file system that cannot be mounted.
    #[error("cannot mount {fstype} {source_name} at {target}: {source}{}", hint(source))]
    Mount {
        /// The type of the file system.
        fstype: String,
        /// The device or the tag.
        source_name: String,
        /// The mount point.
        target: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no such command.
    #[error("{command}: {reason}")]
    CommandNotFound {
        /// As it was given.
        command: String,
        /// Where it was looked for.
        reason: String,
    },
    /// The command is there and cannot be run.
    #[error("{command}: {reason}")]
    CommandNotExecutable {
        /// As it was given.
        command: String,
        /// Why not.
        reason: String,
    },
}

impl Error {
    /// The exit code, as container engines and shells have them.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::CommandNotFound { .. } => NOT_FOUND,
            Self::CommandNotExecutable { .. } => NOT_EXECUTABLE,
            _ => OWN_FAULT,
        }
    }
}

/// ENOENT is a symbol that is not there: the file of the module is open already.
fn unknown_symbol(error: &io::Error) -> &'static str {
    if error.raw_os_error() == Some(rustix::io::Errno::NOENT.raw_os_error()) {
        " (it needs another module, which must be loaded before)"
    } else {
        ""
    }
}

/// ENODEV says what few know: that it is the file system that the kernel has not.
fn hint(error: &io::Error) -> &'static str {
    if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) {
        " (the kernel has no such file system; its module must be loaded before)"
    } else {
        ""
    }
}
