//! The options of `boot`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use vmroot::boot::{Acceleration, Via, Vmm};

use super::guest_disks::GuestDiskArguments;
use super::guest_network::GuestNetworkArguments;
use super::quantity::{parse_seconds, parse_size};
use crate::top::TopArguments;

/// Options of `boot`.
#[derive(Debug, Clone, Args)]
pub(crate) struct BootArguments {
    /// Boot this kernel: bzImage, vmlinux, Image or vmlinuz. Its architecture selects the image's platform. `image` is the
    /// kernel that the image carries, with its modules
    #[arg(long, value_name = "FILE|image")]
    pub(crate) kernel: PathBuf,
    /// Run this program instead of the image's entrypoint and command
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// Stop the guest after this many seconds, and exit with code 124
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) timeout: Option<Duration>,
    /// Give the guest this much memory (K, M, G, T are powers of 1024) [default: 512M, plus three times the size of a
    /// cpio]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    #[arg(help_heading = "Virtual machine")]
    pub(crate) memory: Option<u64>,
    /// Give the guest this many processors, 1 to 1024
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    #[arg(help_heading = "Virtual machine")]
    pub(crate) cpus: u32,
    /// Run the guest with this VMM
    #[arg(long, value_enum, default_value_t = VmmName::Qemu)]
    #[arg(help_heading = "Virtual machine")]
    pub(crate) vmm: VmmName,
    /// Execute the guest's instructions with this accelerator
    #[arg(long, value_enum, default_value_t = Accelerator::Auto)]
    #[arg(help_heading = "Virtual machine")]
    pub(crate) accel: Accelerator,
    /// Give the guest its root in this form [default: erofs-meta; with --print or --output, erofs]
    #[arg(long, value_enum)]
    #[arg(help_heading = "Root file system")]
    pub(crate) via: Option<Form>,
    /// Let the guest write to a read-only root, and keep the changes in its memory
    #[arg(long, conflicts_with = "upper")]
    #[arg(help_heading = "Root file system")]
    pub(crate) overlay: bool,
    #[command(flatten)]
    pub(crate) disks: GuestDiskArguments,
    #[command(flatten)]
    pub(crate) network: GuestNetworkArguments,
    /// Let the guest verify each block of its root by dm-verity. The root hash is on the kernel's command line. The root
    /// is read-only, and a wrong block ends the guest with exit code 125
    #[arg(long)]
    #[arg(help_heading = "Root file system")]
    pub(crate) verity: bool,
    /// Leave at least this much free space in the guest's root (ext4 only)
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = parse_size)]
    #[arg(help_heading = "Root file system")]
    pub(crate) free: u64,
    #[command(flatten)]
    pub(crate) top: TopArguments,
    /// Load the kernel's modules from this directory: lib/modules/VERSION, or a directory above it; `none` if the kernel
    /// has its drivers built in [default: the modules of the kernel's version beside it or on this machine]
    #[arg(long, value_name = "DIR|none")]
    #[arg(help_heading = "Kernel and init")]
    pub(crate) modules: Option<PathBuf>,
    /// Append these arguments to the kernel's command line
    #[arg(long, value_name = "ARGS", default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    #[arg(help_heading = "Kernel and init")]
    pub(crate) append: String,
    /// Start this program as the init: a vmroot-init, or a script that writes `[vmroot-init] exit code N` to its output
    /// at its end. `none` starts the image's own /sbin/init. `auto` takes vmroot's own init, which hands over to the
    /// image's command if that is an init: systemd, busybox, s6-overlay, tini and others [default: vmroot's own init]
    #[arg(long, value_name = "FILE|auto|none")]
    #[arg(help_heading = "Kernel and init")]
    pub(crate) init: Option<PathBuf>,
    /// Write the kernel, the initramfs, the root's image, the config and a script run.sh to this directory instead of
    /// starting the VMM. run.sh boots the guest on any machine that has the VMM
    #[arg(long, value_name = "DIR", conflicts_with = "timeout")]
    #[arg(help_heading = "Instead of starting the VMM")]
    pub(crate) output: Option<PathBuf>,
    /// Print the VMM's command line instead of starting it, and keep the files that it names: in the directory of
    /// --output, or else in a new one in $TMPDIR. Lines with a # are the VMM's configuration file
    #[arg(long, conflicts_with = "timeout")]
    #[arg(help_heading = "Instead of starting the VMM")]
    pub(crate) print: bool,
    /// Pass these arguments to the entrypoint instead of the image's command; without an entrypoint, run them as the
    /// command
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

/// The form of the guest's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// EROFS metadata over the cache's files, without a copy
    ErofsMeta,
    /// One disk over the cache's files, served by this process; nothing is written
    Disk,
    /// An EROFS image
    Erofs,
    /// A writable ext4 image
    Ext4,
    /// A squashfs image; requires squashfs-tools
    Squashfs,
    /// An initramfs in the guest's memory
    Cpio,
    /// A virtio-fs share, served by this process
    Virtiofs,
}

impl From<Form> for Via {
    fn from(form: Form) -> Self {
        match form {
            Form::ErofsMeta => Self::ErofsMeta,
            Form::Disk => Self::Disk,
            Form::Erofs => Self::Erofs,
            Form::Ext4 => Self::Ext4,
            Form::Squashfs => Self::Squashfs,
            Form::Cpio => Self::Cpio,
            Form::Virtiofs => Self::Virtiofs,
        }
    }
}

/// The program that runs the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum VmmName {
    /// QEMU
    Qemu,
    /// Cloud Hypervisor
    CloudHypervisor,
    /// Firecracker
    Firecracker,
}

impl From<VmmName> for Vmm {
    fn from(name: VmmName) -> Self {
        match name {
            VmmName::Qemu => Self::Qemu,
            VmmName::CloudHypervisor => Self::CloudHypervisor,
            VmmName::Firecracker => Self::Firecracker,
        }
    }
}

/// The accelerator that executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accelerator {
    /// KVM where it works, else QEMU's translator
    Auto,
    /// KVM
    Kvm,
    /// QEMU's translator: tens of times slower, for guests of any architecture
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
