//! Errors before the command runs, and their exit codes.

use std::io;
use std::path::PathBuf;

use vmroot_guest_config::UpperRecord;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// The exit code for an error of the init itself, before the command starts.
pub(crate) const OWN_FAULT: i32 = 125;
/// The exit code for a command that exists but cannot be run.
const NOT_EXECUTABLE: i32 = 126;
/// The exit code for a command that does not exist.
const NOT_FOUND: i32 = 127;

/// An error before the command runs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program does not run as PID 1.
    #[error("this program must be started by a guest's kernel, with init=/sbin/vmroot-init")]
    NotPid1,
    /// A file or a directory that cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A system call failed that concerns no file.
    #[error("cannot {what}: {source}")]
    System {
        /// The purpose of the call, as in "cannot …".
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// A file that is longer than the limit of its kind.
    #[error("{path}: longer than {limit} bytes", path = path.display())]
    TooLong {
        /// Its path.
        path: PathBuf,
        /// The largest length in bytes.
        limit: u64,
    },
    /// A document with invalid contents.
    #[error("{path}: {reason}", path = path.display())]
    Document {
        /// Its path.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// Neither the image nor the kernel's command line names a command.
    #[error("no command: the image has no entrypoint and no cmd, and the kernel's command line has nothing after --")]
    NoCommand,
    /// The user is neither in `/etc/passwd` nor a number.
    #[error("no user {0:?} in /etc/passwd")]
    NoSuchUser(String),
    /// The group is neither in `/etc/group` nor a number.
    #[error("no group {0:?} in /etc/group")]
    NoSuchGroup(String),
    /// A module that the kernel cannot load.
    #[error("module {path}: {source}{}", unknown_symbol(source), path = path.display())]
    Module {
        /// The module's file.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
    /// A device that did not appear.
    #[error("no {device} after {seconds} s: {lack}", device = device.display())]
    NoDevice {
        /// The path of the device node.
        device: PathBuf,
        /// The time limit in seconds.
        seconds: u64,
        /// The reason.
        lack: &'static str,
    },
    /// A file system that cannot be mounted.
    #[error("cannot mount {fstype} {source_name} at {target}: {source}{}", hint(source))]
    Mount {
        /// The type of the file system.
        fstype: String,
        /// The device, or the tag of a virtio-fs share.
        source_name: String,
        /// The mount point.
        target: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
    /// An upper disk that was made over another image.
    #[error("the upper disk was made over {}, and this is {}", named(disk), named(image))]
    OtherBase {
        /// The record of the disk.
        disk: UpperRecord,
        /// The image of this guest.
        image: UpperRecord,
    },
    /// A volume that cannot be mounted.
    #[error("volume {path}: {reason}")]
    Volume {
        /// The mount point.
        path: String,
        /// The reason.
        reason: String,
    },
    /// A network without an interface.
    #[error("no network interface: the kernel found no card, or has no driver for it")]
    NoInterface,
    /// The kernel refuses an address or a route.
    #[error("cannot {what}: {source}")]
    Network {
        /// The request, as in "cannot …".
        what: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// The kernel refuses a device of the device-mapper.
    #[error("cannot {what} {name}: {source}")]
    DeviceMapper {
        /// The request, as in "cannot …".
        what: &'static str,
        /// The name of the device.
        name: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// The root hash on the kernel's command line does not go with the instructions.
    #[error("the root cannot be verified: {lack}")]
    RootHash {
        /// The reason.
        lack: &'static str,
    },
    /// A block of the root does not have the hash that the root hash stands for.
    #[error("{0} of the root's disk does not match its hash: the disk was changed or damaged")]
    WrongBlock(String),
    /// The command does not exist.
    #[error("{command}: {reason}")]
    CommandNotFound {
        /// The command as given.
        command: String,
        /// The reason, with the paths that were searched.
        reason: String,
    },
    /// The command exists but cannot be run.
    #[error("{command}: {reason}")]
    CommandNotExecutable {
        /// The command as given.
        command: String,
        /// The reason.
        reason: String,
    },
}

impl Error {
    /// Returns the exit code that container engines and shells use for such an error.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::CommandNotFound { .. } => NOT_FOUND,
            Self::CommandNotExecutable { .. } => NOT_EXECUTABLE,
            _ => OWN_FAULT,
        }
    }
}

/// Explains `ENOENT` from loading a module: it means an unknown symbol, because the module's file is already open.
fn unknown_symbol(error: &io::Error) -> &'static str {
    if error.raw_os_error() == Some(rustix::io::Errno::NOENT.raw_os_error()) {
        " (it needs another module, which must be loaded before)"
    } else {
        ""
    }
}

/// Returns an image's name and id.
fn named(record: &UpperRecord) -> String {
    let UpperRecord { image, name, .. } = record;
    if name.is_empty() || name == image { image.clone() } else { format!("{name} ({image})") }
}

/// Explains `ENODEV` from mounting: the kernel does not have the file system.
fn hint(error: &io::Error) -> &'static str {
    if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) {
        " (the kernel has no such file system; its module must be loaded before)"
    } else {
        ""
    }
}
