//! Hints for errors of guests.

use vmroot::boot::{Error, Vmm};
use vmroot::guest;

use super::KERNEL;

/// Texts of Linux when it has no memory left.
const OUT_OF_MEMORY: [&str; 4] =
    ["Out of memory", "out of memory", "System is deadlocked on memory", "page allocation failure"];

pub(super) fn remedy(error: &Error) -> Option<String> {
    Some(match error {
        Error::NotAKernel(_) => KERNEL.to_owned(),
        Error::Io(error) if error.source.kind() == std::io::ErrorKind::IsADirectory => KERNEL.to_owned(),
        Error::NoModules { .. } | Error::AmbiguousModules { .. } => {
            "--modules names the directory lib/modules/VERSION of the kernel, or one above it".to_owned()
        }
        Error::MissingModule { .. } => {
            "--modules names another directory of modules; another form of the root (--via) needs other modules"
                .to_owned()
        }
        Error::NoDisk { .. } => {
            "--via erofs-meta, the default, and --via erofs, ext4 and squashfs give the guest its root on a disk"
                .to_owned()
        }
        Error::WritableRoot { .. } => {
            "--via erofs-meta, the default, and --via erofs, squashfs and virtiofs give the guest a root to which a disk adds"
                .to_owned()
        }
        Error::NoFirstStage { .. } => "use --via erofs-meta, the default, or another form than cpio".to_owned(),
        Error::DiskInUse { .. } => "each guest needs a disk of its own; a copy can be made while no guest runs".to_owned(),
        Error::VolumeDriver { .. } => {
            "--modules names another directory of modules; ext4 is in most kernels".to_owned()
        }
        Error::Init(text) => return of_report(text).map(str::to_owned),
        Error::Unsupported { what, .. } if what.starts_with("has no network") => "use --vmm qemu".to_owned(),
        Error::NoKvm(_) => {
            "--accel tcg runs the guest without KVM, slowly; the group of /dev/kvm may use KVM".to_owned()
        }
        Error::HostMemory { .. } | Error::Memory { .. } => "--memory sets the memory of the guest".to_owned(),
        Error::Processors { .. } => "--cpus sets the number of processors".to_owned(),
        Error::Timeout(_) => "--timeout gives it more time".to_owned(),
        Error::TooManyDisks { .. } => {
            "--via erofs takes one disk for all layers, and --via erofs-meta one for each; under QEMU, a VMDK joins those of \
             erofs-meta"
                .to_owned()
        }
        Error::Unsupported { what, .. } if what.contains("KVM") => {
            "the group of /dev/kvm may use KVM; --vmm qemu runs guests without it, slowly".to_owned()
        }
        Error::Unsupported { vmm: Vmm::Firecracker, what } if what.contains("virtio-fs") => {
            "use --via erofs, ext4, squashfs or cpio, or --vmm qemu".to_owned()
        }
        Error::Unsupported { .. } => "use --via erofs, ext4 or squashfs, or --vmm qemu".to_owned(),
        Error::WrongKernel { image, .. } => {
            format!("a kernel for {image} is needed, or an image for the kernel's architecture")
        }
        Error::Ended { console } | Error::Vmm { message: console, .. } if is_out_of_memory(console) => {
            "the guest ran out of memory: --memory gives it more".to_owned()
        }
        Error::Ended { .. } => "-v shows the messages of the kernel".to_owned(),
        _ => return None,
    })
}

/// Returns the hint for an error that the init of a guest has reported.
pub(crate) fn of_report(text: &str) -> Option<&'static str> {
    text.starts_with("the upper disk was made over ")
        .then_some("--rebase uses it anyway; another --upper file begins without changes")
}

/// Returns the hint for an error of the init's program.
pub(super) fn of_init(error: &guest::InitError) -> Option<String> {
    Some(match error {
        guest::InitError::NoInit { architecture, .. } => match guest::rust_target(architecture) {
            Some(target) => format!("rebuild vmroot after `rustup target add {target}`, or give --init FILE"),
            None => "give --init FILE".to_owned(),
        },
        guest::InitError::NotAProgram => {
            "an init is a program of Linux (ELF) for the architecture of the image".to_owned()
        }
        guest::InitError::OtherArchitecture { architecture, .. } => {
            format!("name a program for {architecture}, or take the image for the other architecture with --arch")
        }
    })
}

fn is_out_of_memory(console: &str) -> bool {
    OUT_OF_MEMORY.iter().any(|text| console.contains(text))
}
