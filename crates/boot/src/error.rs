//! Errors from booting and running a guest.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vmroot_errors::{ErrorKind, Limit};

use crate::{Architecture, Via, Vmm};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error from preparing, booting or running a guest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed: no space, no permission, or a bad disk.
    #[error(transparent)]
    Io(#[from] vmroot_output::Error),
    /// A file that is not a Linux kernel of a supported architecture.
    #[error("{}: not a Linux kernel for x86-64 or arm64", .0.display())]
    NotAKernel(PathBuf),
    /// A kernel whose architecture differs from the image's.
    #[error("{}: a kernel for {kernel}, but the image is for {image}", path.display())]
    WrongKernel {
        /// The kernel.
        path: PathBuf,
        /// The kernel's architecture.
        kernel: Architecture,
        /// The image's architecture.
        image: String,
    },
    /// An image without a kernel.
    #[error(
        "the image has no kernel: neither /usr/lib/modules/VERSION/vmlinuz nor /boot/vmlinuz-VERSION, nor a unified kernel image"
    )]
    NoImageKernel,
    /// An image with several kernels.
    #[error("the image has several kernels: {}", paths.join(", "))]
    SeveralImageKernels {
        /// Their paths.
        paths: Vec<String>,
    },
    /// A file of an image that cannot be a kernel.
    #[error("{path} in the image: {reason}")]
    ImageKernel {
        /// The path.
        path: String,
        /// The reason.
        reason: &'static str,
    },
    /// A root that cannot be read.
    #[error(transparent)]
    Root(#[from] vmroot_container_fs::Error),
    /// A directory without modules of this kernel.
    #[error("{}: no modules of {}", path.display(), kernel.as_deref().unwrap_or("a kernel"))]
    NoModules {
        /// The directory.
        path: PathBuf,
        /// The version of the kernel, if it is known.
        kernel: Option<String>,
    },
    /// A directory with modules of several kernels, and a kernel without a readable version.
    #[error("{}: has modules of several kernels ({})", path.display(), versions.join(", "))]
    AmbiguousModules {
        /// The directory.
        path: PathBuf,
        /// The versions in the directory.
        versions: Vec<String>,
    },
    /// A required module that is neither built into the kernel nor in the directory.
    #[error("the kernel has no module {name}, neither built in nor in {}{}", directory.display(), wanted_by(needed_by))]
    MissingModule {
        /// The module's name.
        name: String,
        /// The modules that depend on it, outermost first. Empty if the form of the root requires it directly.
        needed_by: Vec<String>,
        /// The directory that was searched.
        directory: PathBuf,
    },
    /// A file that is not a kernel module.
    #[error("{}: not a kernel module: {reason}", path.display())]
    InvalidModule {
        /// The file.
        path: PathBuf,
        /// The reason.
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
        /// The cause.
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
    /// The root cannot be served as a disk.
    #[error(transparent)]
    DiskServe(#[from] vmroot_disk_serve::Error),
    /// The hash tree of the root cannot be written.
    #[error("{}", path.display())]
    Verity {
        /// The file of the tree.
        path: PathBuf,
        /// The cause.
        source: vmroot_verity::Error,
    },
    /// A root that is not on a disk, which dm-verity needs.
    #[error("{form} gives the guest no disk, and dm-verity verifies disks only")]
    NoDisk {
        /// The form of the guest's root.
        form: Via,
    },
    /// A root that the guest writes itself, and a disk for its writes.
    #[error("{form} gives the guest a root that it writes itself, so no disk takes the writes")]
    WritableRoot {
        /// The form of the guest's root.
        form: Via,
    },
    /// A root without a first stage, which mounts the disks and loads the modules of the network.
    #[error("{form} has no first stage, which {what} needs")]
    NoFirstStage {
        /// The form of the guest's root.
        form: Via,
        /// The part of the guest that needs it.
        what: &'static str,
    },
    /// A volume whose file system the guest's kernel does not have.
    #[error("volume {volume}")]
    VolumeDriver {
        /// The disk and the mount point.
        volume: String,
        /// The cause.
        source: Box<Error>,
    },
    /// A disk that another process uses.
    #[error("{}: in use by another guest or mount", path.display())]
    DiskInUse {
        /// The disk.
        path: PathBuf,
    },
    /// A disk that is neither a file nor a block device.
    #[error("{}: not a disk, which is a file or a block device", path.display())]
    NotADisk {
        /// The path.
        path: PathBuf,
    },
    /// Addresses that make no network.
    #[error("no network: {reason}")]
    Network {
        /// The reason.
        reason: String,
    },
    /// Modules must be loaded, but there is no `vmroot-init` for the guest's architecture.
    #[error("{form} needs kernel modules ({}), and there is no vmroot-init for {architecture} to load them", modules.join(", "))]
    NoStageOne {
        /// The form of the guest's root.
        form: Via,
        /// The modules.
        modules: Vec<String>,
        /// The guest's architecture.
        architecture: Architecture,
    },
    /// A command line that is longer than the kernel accepts.
    #[error("the kernel's command line would have {length} bytes, and {architecture} takes {limit}")]
    CommandLine {
        /// Its length in bytes.
        length: usize,
        /// The kernel's limit in bytes.
        limit: usize,
        /// The kernel's architecture.
        architecture: Architecture,
    },
    /// Less memory than a kernel needs to start.
    #[error("a guest needs {minimum} bytes of memory at least, not {requested}")]
    Memory {
        /// The requested memory in bytes.
        requested: u64,
        /// The smallest accepted value in bytes.
        minimum: u64,
    },
    /// More memory than the host has.
    #[error("the guest would have {requested} bytes of memory, and this host has {available}, swap included")]
    HostMemory {
        /// The requested memory in bytes.
        requested: u64,
        /// The host's memory and swap in bytes.
        available: u64,
    },
    /// More disks than the VMM supports. The form `erofs-meta` uses one disk for each layer.
    #[error("{vmm} has room for {limit} disks, not for {disks}")]
    TooManyDisks {
        /// The VMM.
        vmm: Vmm,
        /// The number of disks of the machine.
        disks: usize,
        /// The largest number that the VMM supports.
        limit: usize,
    },
    /// No processor, or more than the VMM supports.
    #[error("{vmm} runs guests of 1 to {limit} processors, not of {requested}")]
    Processors {
        /// The VMM.
        vmm: Vmm,
        /// The largest number that the VMM supports.
        limit: u32,
        /// The requested number.
        requested: u32,
    },
    /// An option that the VMM does not support.
    #[error("{vmm} {what}")]
    Unsupported {
        /// The VMM.
        vmm: Vmm,
        /// The limitation, as a predicate of the VMM: "cannot …".
        what: String,
    },
    /// The program of the VMM is not installed.
    #[error("{program} is not installed{}", hint(program))]
    MissingProgram {
        /// The program's name.
        program: String,
    },
    /// KVM was requested but cannot be used.
    #[error("KVM cannot be used: {0}")]
    NoKvm(String),
    /// The VMM failed.
    #[error("{program} failed: {status}{}", with_lines(message))]
    Vmm {
        /// The program.
        program: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// The end of its standard error.
        message: String,
    },
    /// The guest's init, or stage one before it, reported an error.
    #[error("the guest could not start: {0}")]
    Init(String),
    /// The guest ended before its command reported an exit code.
    #[error("the guest ended without an exit code{}", with_lines(console))]
    Ended {
        /// The last lines of its console.
        console: String,
    },
    /// The guest was still running at the time limit. It was ended.
    #[error("the guest was still running after {} seconds", .0.as_secs_f64())]
    Timeout(Duration),
    /// The caller, or the user at the terminal, ended the guest.
    #[error("the guest was ended")]
    Cancelled,
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Root(error) => error.kind(),
            Self::NoImageKernel => ErrorKind::NotFound,
            Self::Export(error) => error.kind(),
            Self::Erofs(error) => error.kind(),
            Self::Ext4(error) => error.kind(),
            Self::Share(error) => error.kind(),
            Self::DiskServe(error) => error.kind(),
            Self::Verity { source, .. } => source.kind(),
            Self::Compressed { source, .. } if source.kind() == ErrorKind::Limit => ErrorKind::Limit,
            Self::Io(error) => ErrorKind::of_named_file(&error.source),
            Self::Timeout(_) => ErrorKind::TimedOut,
            Self::Vmm { .. } | Self::Ended { .. } => ErrorKind::ProgramFailed,
            Self::CommandLine { .. }
            | Self::Memory { .. }
            | Self::HostMemory { .. }
            | Self::Processors { .. }
            | Self::TooManyDisks { .. } => ErrorKind::Limit,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::WrongKernel { .. }
            | Self::NotAKernel(_)
            | Self::SeveralImageKernels { .. }
            | Self::ImageKernel { .. }
            | Self::NoModules { .. }
            | Self::AmbiguousModules { .. }
            | Self::MissingModule { .. }
            | Self::InvalidModule { .. }
            | Self::WrongModule { .. }
            | Self::Compressed { .. }
            | Self::NoStageOne { .. }
            | Self::NoDisk { .. }
            | Self::WritableRoot { .. }
            | Self::NoFirstStage { .. }
            | Self::VolumeDriver { .. }
            | Self::DiskInUse { .. }
            | Self::NotADisk { .. }
            | Self::Network { .. }
            | Self::Unsupported { .. }
            | Self::MissingProgram { .. }
            | Self::NoKvm(_)
            | Self::Init(_) => ErrorKind::Other,
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
    /// Returns a closure for `map_err` that adds the action and the path.
    pub(crate) fn io<E: Into<io::Error>>(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(E) -> Self {
        move |source| vmroot_output::Error::on(action, path)(source).into()
    }
}

fn wanted_by(modules: &[String]) -> String {
    modules.iter().rev().map(|module| format!(", which {module} needs")).collect()
}

fn with_lines(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(":\n{text}") }
}

/// Returns a hint with the Debian package of a program, or an empty string.
pub(crate) fn hint(program: &str) -> &'static str {
    match program {
        "qemu-system-x86_64" => " (package qemu-system-x86)",
        "qemu-system-aarch64" => " (package qemu-system-arm)",
        _ => "",
    }
}
