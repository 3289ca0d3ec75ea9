//! VMMs: commands that start a [`Machine`].

mod cloud_hypervisor;
mod firecracker;
mod qemu;
mod version;

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use crate::{Accelerator, Architecture, Error, Machine, Result};

pub(crate) use version::Version;

/// A virtual machine monitor (VMM).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Vmm {
    /// QEMU, which supports everything.
    Qemu,
    /// Cloud Hypervisor: KVM only.
    CloudHypervisor,
    /// Firecracker: KVM only, raw disks only, no shares.
    Firecracker,
}

/// A command that starts a machine with its console on the standard input and output.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VmmCommand {
    /// The program, searched for in `PATH`.
    pub program: String,
    /// The arguments.
    pub arguments: Vec<OsString>,
    /// The content of the configuration file that the VMM reads, if it needs one. The file must be written to the
    /// path that was passed to [`Vmm::command`].
    pub config: Option<String>,
}

/// The bus of a VMM's virtio devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bus {
    Pci,
    /// Memory-mapped registers, which the VMM announces on the kernel's command line.
    Mmio,
}

impl Vmm {
    /// Returns the command for a machine. `config` is the path for the VMM's configuration file.
    ///
    /// # Errors
    /// - [`Error::Unsupported`], [`Error::TooManyDisks`] or [`Error::Processors`] if no version of the VMM can run
    ///   the machine.
    /// - [`Error::CommandLine`] or [`Error::Memory`] if no VMM can run it.
    pub fn command(self, machine: &Machine, config: &Path) -> Result<VmmCommand> {
        machine.check(self)?;
        match self {
            Self::Qemu => Ok(qemu::command(machine)),
            Self::CloudHypervisor => cloud_hypervisor::command(machine),
            Self::Firecracker => firecracker::command(machine, config),
        }
    }

    /// Returns the name of the program for guests of an architecture.
    pub fn program(self, architecture: Architecture) -> String {
        match self {
            Self::Qemu => format!("qemu-system-{architecture}"),
            Self::CloudHypervisor => "cloud-hypervisor".to_owned(),
            Self::Firecracker => "firecracker".to_owned(),
        }
    }

    /// Returns the limits of a version. Without a version, returns those of the version with the highest limits.
    pub(crate) fn limits(self, architecture: Architecture, version: Option<Version>) -> MachineLimits {
        match self {
            Self::Qemu => qemu::limits(architecture),
            Self::CloudHypervisor => cloud_hypervisor::limits(),
            Self::Firecracker => firecracker::limits(architecture, version),
        }
    }

    /// Checks that the installed version can start the machine.
    ///
    /// # Errors
    /// - [`Error::MissingProgram`] if the VMM is not installed.
    /// - [`Error::Unsupported`] or [`Error::TooManyDisks`] if the installed version cannot start the machine.
    pub(crate) fn check_installed(self, machine: &Machine) -> Result<()> {
        // All packaged versions of QEMU support the machine, and `--version` is slow.
        if self == Self::Qemu {
            return Ok(());
        }
        let Some(version) = Version::of(&self.program(machine.architecture))? else { return Ok(()) };
        if self == Self::CloudHypervisor {
            cloud_hypervisor::check_version(version)?;
        }
        self.limits(machine.architecture, Some(version)).check_disks(self, machine.disks.len())
    }

    pub(crate) fn bus(self) -> Bus {
        match self {
            Self::Qemu | Self::CloudHypervisor => Bus::Pci,
            Self::Firecracker => Bus::Mmio,
        }
    }

    /// Returns the name of the serial port of the console.
    pub(crate) fn console(self, architecture: Architecture) -> &'static str {
        match (self, architecture) {
            // Firecracker has an 8250 on every architecture.
            (Self::Firecracker, _) | (_, Architecture::X86_64) => "ttyS0",
            (_, Architecture::Aarch64) => "ttyAMA0",
        }
    }

    /// Returns further kernel arguments for the VMM.
    pub(crate) fn kernel_arguments(self, architecture: Architecture) -> &'static [&'static str] {
        match (self, architecture) {
            // Firecracker has no power switch. A guest ends by a reset, on x86-64 through the keyboard controller.
            (Self::Firecracker, Architecture::X86_64) => &["reboot=k", "pci=off", "vmroot.reboot"],
            (Self::Firecracker, Architecture::Aarch64) => &["vmroot.reboot"],
            _ => &[],
        }
    }

    /// Returns whether the VMM supports the accelerator.
    pub(crate) fn supports(self, accelerator: Accelerator) -> bool {
        self == Self::Qemu || accelerator == Accelerator::Kvm
    }
}

/// The limits of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MachineLimits {
    pub(crate) disks: usize,
    pub(crate) cpus: u32,
}

impl MachineLimits {
    pub(crate) fn check_disks(self, vmm: Vmm, disks: usize) -> Result<()> {
        if disks > self.disks {
            return Err(Error::TooManyDisks { vmm, disks, limit: self.disks });
        }
        Ok(())
    }
}

impl fmt::Display for Vmm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Qemu => "qemu",
            Self::CloudHypervisor => "cloud-hypervisor",
            Self::Firecracker => "firecracker",
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{Disk, DiskFormat};

    /// Returns a machine with one raw disk and an initramfs.
    pub(in crate::vmm) fn machine() -> Machine {
        Machine {
            accelerator: Accelerator::Kvm,
            architecture: Architecture::X86_64,
            memory: 512 << 20,
            cpus: 2,
            kernel: "/boot/vmlinux".into(),
            initramfs: Some("/tmp/initramfs".into()),
            command_line: "console=ttyS0 quiet".into(),
            disks: vec![Disk { path: "/tmp/a,b".into(), format: DiskFormat::Raw, writable: false }],
            share: None,
            network: None,
        }
    }

    pub(in crate::vmm) fn text(command: &VmmCommand) -> Vec<&str> {
        command.arguments.iter().map(|argument| argument.to_str().unwrap()).collect()
    }

    #[test]
    fn a_command_line_that_the_kernel_would_cut_is_refused() {
        let mut machine = machine();
        machine.command_line = "x".repeat(2047);
        assert!(Vmm::Qemu.command(&machine, Path::new("/c")).is_ok());
        machine.command_line.push('x');
        let error = Vmm::Qemu.command(&machine, Path::new("/c")).unwrap_err();
        assert_eq!(error.to_string(), "the kernel's command line would have 2048 bytes, and x86_64 takes 2047");
    }

    #[test]
    fn impossible_machines_are_refused() {
        let error = |vmm: Vmm, machine: &Machine| vmm.command(machine, Path::new("/c")).unwrap_err().to_string();
        let small = Machine { memory: (16 << 20) - 1, ..machine() };
        assert_eq!(error(Vmm::Qemu, &small), "a guest needs 16777216 bytes of memory at least, not 16777215");
        for cpus in [0, 256] {
            let message = error(Vmm::Qemu, &Machine { cpus, ..machine() });
            assert_eq!(message, format!("qemu runs guests of 1 to 255 processors, not of {cpus}"));
        }
        let message = error(Vmm::Firecracker, &Machine { cpus: 33, ..machine() });
        assert_eq!(message, "firecracker runs guests of 1 to 32 processors, not of 33");
    }

    /// An image with more layers than a VMM has devices, each layer being a disk.
    #[test]
    fn more_disks_than_a_vmm_has_devices_are_refused() {
        let disk = Disk { path: "/tmp/a".into(), format: DiskFormat::Raw, writable: false };
        let arm = Architecture::Aarch64;
        for (vmm, architecture, limit) in [
            (Vmm::Qemu, Architecture::X86_64, 224),
            (Vmm::CloudHypervisor, Architecture::X86_64, 30),
            (Vmm::CloudHypervisor, arm, 30),
            (Vmm::Firecracker, Architecture::X86_64, 19),
            (Vmm::Firecracker, arm, 93),
        ] {
            let with = |disks: usize| Machine { architecture, disks: vec![disk.clone(); disks], ..machine() };
            assert!(vmm.command(&with(limit), Path::new("/c")).is_ok(), "{vmm}");
            let error = vmm.command(&with(limit + 1), Path::new("/c")).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{vmm} has room for {limit} disks, not for {}", limit + 1)), "{error}");
        }
    }
}
