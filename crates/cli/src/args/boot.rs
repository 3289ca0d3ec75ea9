//! What may be typed after `boot`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use vmroot::boot::{Acceleration, Via, Vmm};

use super::quantity::{seconds, size};
use crate::top::TopArguments;

/// How to boot.
#[derive(Debug, Clone, Args)]
pub(crate) struct BootArguments {
    /// The kernel: bzImage, vmlinux, Image or vmlinuz; an image for its architecture is taken
    #[arg(long, value_name = "FILE")]
    pub(crate) kernel: PathBuf,
    /// How the guest gets its root
    #[arg(long, value_enum, default_value_t = Form::ErofsMeta)]
    pub(crate) via: Form,
    /// The kernel's modules: lib/modules/VERSION, or a directory above it [default: those beside the kernel or of this
    /// machine, if they are of its version; without any, everything has to be built in]
    #[arg(long, value_name = "DIR")]
    pub(crate) modules: Option<PathBuf>,
    /// What runs the guest
    #[arg(long, value_enum, default_value_t = Monitor::Qemu)]
    pub(crate) vmm: Monitor,
    /// Memory of the guest (K, M, G, T are powers of 1024) [default: 512M, and three times what a cpio takes]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) memory: Option<u64>,
    /// Processors of the guest
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) cpus: u32,
    /// What executes the guest's instructions
    #[arg(long, value_enum, default_value_t = Accelerator::Auto)]
    pub(crate) accel: Accelerator,
    /// More for the kernel's command line
    #[arg(long, value_name = "ARGS", default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    pub(crate) append: String,
    /// Start this program in place of our init: a vmroot-init, or a script that ends by writing `[vmroot-init] exit code N`
    /// to its output; `none` starts the image's own /sbin/init
    #[arg(long, value_name = "FILE|none")]
    pub(crate) init: Option<PathBuf>,
    /// Let the guest write to a read-only root: changes go to its memory
    #[arg(long)]
    pub(crate) overlay: bool,
    /// Room for the guest to write to (ext4 only)
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = size)]
    pub(crate) free: u64,
    /// End the guest after this long; the exit code is 124 then
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,
    /// Run this in place of the image's entrypoint and command
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// Arguments of the entrypoint in place of the image's command, or what to run in an image without an entrypoint
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
    #[command(flatten)]
    pub(crate) top: TopArguments,
}

/// How the guest gets its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// EROFS metadata over the cache's own files: nothing is copied
    ErofsMeta,
    /// An EROFS image
    Erofs,
    /// An ext4 image, which the guest may write to
    Ext4,
    /// A squashfs image; needs squashfs-tools
    Squashfs,
    /// An initramfs, in the guest's memory
    Cpio,
    /// A share that this process serves
    Virtiofs,
}

impl From<Form> for Via {
    fn from(form: Form) -> Self {
        match form {
            Form::ErofsMeta => Self::ErofsMeta,
            Form::Erofs => Self::Erofs,
            Form::Ext4 => Self::Ext4,
            Form::Squashfs => Self::Squashfs,
            Form::Cpio => Self::Cpio,
            Form::Virtiofs => Self::Virtiofs,
        }
    }
}

/// What runs the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Monitor {
    /// QEMU
    Qemu,
    /// Cloud Hypervisor
    CloudHypervisor,
    /// Firecracker
    Firecracker,
}

impl From<Monitor> for Vmm {
    fn from(monitor: Monitor) -> Self {
        match monitor {
            Monitor::Qemu => Self::Qemu,
            Monitor::CloudHypervisor => Self::CloudHypervisor,
            Monitor::Firecracker => Self::Firecracker,
        }
    }
}

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accelerator {
    /// KVM where it works, or else QEMU's translator
    Auto,
    /// KVM
    Kvm,
    /// QEMU's translator, which is tens of times slower, and runs guests of any architecture
    Tcg,
}

impl From<Accelerator> for Acceleration {
    fn from(accelerator: Accelerator) -> Self {
        match accelerator {
            Accelerator::Auto => Self::Auto,
            Accelerator::Kvm => Self::Kvm,
            Accelerator::Tcg => Self::Tcg,
        }
    }
}
