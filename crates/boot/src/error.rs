//! Why a guest does not boot, or did not end well.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vmroot_errors::{ErrorKind, Limit};

use crate::{Architecture, Via, Vmm};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a guest does not boot, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused a step.
    #[error(transparent)]
    Io(#[from] vmroot_output::Error),
    /// A file that is no kernel of an architecture that is known here.
    #[error("{}: no Linux kernel for x86-64 or arm64", .0.display())]
    NotAKernel(PathBuf),
    /// A kernel for another architecture than the image's.
    #[error("{}: a kernel for {kernel}, but the image is for {image}", path.display())]
    WrongKernel {
        /// The kernel.
        path: PathBuf,
        /// What it runs on.
        kernel: Architecture,
        /// What the image runs on.
        image: String,
    },
    /// A directory that holds no kernel modules, or not those of this kernel.
    #[error("{}: no modules of {}", path.display(), kernel.as_deref().unwrap_or("a kernel"))]
    NoModules {
        /// The directory.
        path: PathBuf,
        /// The version of the kernel, where it is known.
        kernel: Option<String>,
    },
    /// Modules of several kernels, where the kernel does not say which one it is.
    #[error("{}: has modules of several kernels ({}); name the directory of one", path.display(), versions.join(", "))]
    AmbiguousModules {
        /// The directory.
        path: PathBuf,
        /// The versions that are there.
        versions: Vec<String>,
    },
    /// A module that is needed and neither built in nor there.
    #[error("the kernel has no module {name}, neither built in nor in {}{}", directory.display(), wanted_by(needed_by))]
    MissingModule {
        /// Its name.
        name: String,
        /// The modules that need it, outermost first; none where the form of the root does.
        needed_by: Vec<String>,
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// A file that is no kernel module.
    #[error("{}: no kernel module: {reason}", path.display())]
    InvalidModule {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// A module of another kernel.
    #[error("{}: for Linux {actual}, but the kernel is {expected}", path.display())]
    WrongModule {
        /// The module.
        path: PathBuf,
        /// The version that the module is for.
        actual: String,
        /// The version of the kernel.
        expected: String,
    },
    /// A compressed kernel or module that cannot be decoded.
    #[error("{}", path.display())]
    Compressed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: vmroot_compress::Error,
    },
    /// An archive cannot be written.
    #[error(transparent)]
    Export(#[from] vmroot_export::Error),
    /// An EROFS image cannot be written.
    #[error(transparent)]
    Erofs(#[from] vmroot_erofs::Error),
    /// An ext4 file system cannot be written.
    #[error(transparent)]
    Ext4(#[from] vmroot_ext4::Error),
    /// The root cannot be served.
    #[error(transparent)]
    Share(#[from] vmroot_virtiofs::Error),
    /// Modules have to be loaded, and there is no program to do it.
    #[error("{form} needs kernel modules ({}), and there is no vmroot-init for {architecture} to load them", modules.join(", "))]
    NoStageOne {
        /// How the guest gets its root.
        form: Via,
        /// The modules.
        modules: Vec<String>,
        /// The guest's architecture.
        architecture: Architecture,
    },
    /// A command line that is longer than the kernel takes.
    #[error("the kernel's command line would have {length} bytes, and {architecture} takes {limit}")]
    CommandLine {
        /// Its length in bytes.
        length: usize,
        /// The most that the kernel takes.
        limit: usize,
        /// The kernel's architecture.
        architecture: Architecture,
    },
    /// Less memory than any kernel starts in.
    #[error("a guest needs {least} bytes of memory at least, not {asked}")]
    Memory {
        /// What was asked for, in bytes.
        asked: u64,
        /// The least that makes sense, in bytes.
        least: u64,
    },
    /// More memory than the host has.
    #[error("the guest would have {asked} bytes of memory, and this host has {available}, swap included")]
    HostMemory {
        /// What was asked for, in bytes.
        asked: u64,
        /// What the host has, in bytes.
        available: u64,
    },
    /// More disks than a machine monitor has devices: in the form `erofs-meta` each layer is one.
    #[error(
        "{vmm} has room for {limit} disks, not for {disks}: --via erofs-meta takes one for each layer and one more; \
         --via erofs takes one for all, and so does the VMDK of erofs-meta under QEMU"
    )]
    TooManyDisks {
        /// The monitor.
        vmm: Vmm,
        /// The disks of the machine.
        disks: usize,
        /// The most that the monitor takes.
        limit: usize,
    },
    /// No processor, or more than a machine monitor gives a guest.
    #[error("{vmm} runs guests of 1 to {limit} processors, not of {asked}")]
    Processors {
        /// The monitor.
        vmm: Vmm,
        /// The most that it gives.
        limit: u32,
        /// How many were asked for.
        asked: u32,
    },
    /// What a machine monitor cannot do.
    #[error("{vmm} {what}")]
    Unsupported {
        /// The monitor.
        vmm: Vmm,
        /// What it cannot do, as in "firecracker …".
        what: String,
    },
    /// The program of the machine monitor is not installed.
    #[error("{program} is not installed{}", hint(program))]
    MissingProgram {
        /// Its name.
        program: String,
    },
    /// KVM was asked for and cannot be used.
    #[error("KVM cannot be used: {0}")]
    NoKvm(String),
    /// The machine monitor failed.
    #[error("{program} failed: {status}{}", said(message))]
    Vmm {
        /// The program.
        program: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of what it said.
        message: String,
    },
    /// The guest's init, or stage one before it, gave up.
    #[error("the guest could not start: {0}")]
    Init(String),
    /// The guest ended, but not by the end of its command.
    #[error("the guest ended without an exit code{}", said(console))]
    Ended {
        /// The last lines of its console.
        console: String,
    },
    /// The guest did not end in time, and was ended.
    #[error("the guest was still running after {} seconds", .0.as_secs_f64())]
    Timeout(Duration),
    /// The caller, or whoever sits at the terminal, ended the guest.
    #[error("the guest was ended")]
    Stopped,
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Export(error) => error.kind(),
            Self::Erofs(error) => error.kind(),
            Self::Ext4(error) => error.kind(),
            Self::Share(error) => error.kind(),
            Self::Compressed { source, .. } if source.kind() == ErrorKind::Limit => ErrorKind::Limit,
            Self::Io(error) => ErrorKind::of_named_file(&error.source),
            Self::CommandLine { .. }
            | Self::Memory { .. }
            | Self::HostMemory { .. }
            | Self::Processors { .. }
            | Self::TooManyDisks { .. } => ErrorKind::Limit,
            Self::Stopped => ErrorKind::Cancelled,
            _ => ErrorKind::Other,
        }
    }

    /// Returns the limit that an input passed, for an error of [`ErrorKind::Limit`] that has one with a name.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::Export(error) => error.limit(),
            Self::Compressed { source, .. } => source.limit(),
            _ => None,
        }
    }
}

impl Error {
    /// Names the action and the path of a failed call, for `map_err`.
    pub(crate) fn io<E: Into<io::Error>>(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(E) -> Self {
        move |source| vmroot_output::Error::on(action, path)(source).into()
    }
}

fn wanted_by(modules: &[String]) -> String {
    modules.iter().rev().map(|module| format!(", which {module} needs")).collect()
}

fn said(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(":\n{text}") }
}

/// The Debian package of a program, for those that have one.
fn hint(program: &str) -> &'static str {
    match program {
        "qemu-system-x86_64" => " (package qemu-system-x86)",
        "qemu-system-aarch64" => " (package qemu-system-arm)",
        _ => "",
    }
}
