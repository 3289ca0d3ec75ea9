//! A machine as data: what every monitor's command line is made of.

use std::fmt;
use std::path::PathBuf;

use crate::{Architecture, Error, Result, Vmm};

/// The most bytes of a kernel's command line, its end not counted: `COMMAND_LINE_SIZE` of both architectures less one.
const MAX_COMMAND_LINE: usize = 2047;
/// The least memory of a guest, in bytes: no kernel of either architecture starts in less.
const MIN_MEMORY: u64 = 16 << 20;

/// A machine to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// What executes the guest's instructions.
    pub accelerator: Accelerator,
    /// What the kernel is for.
    pub architecture: Architecture,
    /// Bytes of memory; monitors count in mebibytes.
    pub memory: u64,
    /// Virtual CPUs.
    pub cpus: u32,
    /// The kernel.
    pub kernel: PathBuf,
    /// The archive that the kernel unpacks into its first root.
    pub initramfs: Option<PathBuf>,
    /// The kernel's command line.
    pub command_line: String,
    /// `/dev/vda` and those after it.
    pub disks: Vec<Disk>,
    /// A directory that a vhost-user daemon serves.
    pub share: Option<Share>,
}

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor, by KVM.
    Kvm,
    /// QEMU's translator: any architecture, anywhere, tens of times slower.
    Tcg,
}

/// A disk of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its file.
    pub path: PathBuf,
    /// How the file holds it.
    pub format: DiskFormat,
    /// Whether the guest may write to it.
    pub writable: bool,
}

/// How a file holds a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFormat {
    /// Byte for byte.
    Raw,
    /// A VMDK descriptor, which names files and their places.
    Vmdk,
}

/// A directory that a vhost-user daemon serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// What the guest mounts it by.
    pub tag: String,
    /// The socket that the daemon listens on.
    pub socket: PathBuf,
    /// Request queues that the daemon serves; at least 1.
    pub queues: u32,
}

impl Machine {
    /// The memory in mebibytes, rounded up.
    pub(crate) fn mebibytes(&self) -> u64 {
        self.memory.div_ceil(1 << 20)
    }

    /// Refuses what no monitor can start, and more than this one has room for.
    pub(crate) fn check(&self, vmm: Vmm) -> Result<()> {
        let (length, limit) = (self.command_line.len(), MAX_COMMAND_LINE);
        if length > limit {
            return Err(Error::CommandLine { length, limit, architecture: self.architecture });
        }
        if self.memory < MIN_MEMORY {
            return Err(Error::Memory { asked: self.memory, least: MIN_MEMORY });
        }
        let limits = vmm.limits(self.architecture, None);
        limits.check_disks(vmm, self.disks.len())?;
        if self.cpus == 0 || self.cpus > limits.cpus {
            return Err(Error::Processors { vmm, limit: limits.cpus, asked: self.cpus });
        }
        Ok(())
    }
}

/// The name of the disk with this number in a guest: `/dev/vda` to `/dev/vdz`, then `/dev/vdaa`.
pub(crate) fn disk_name(number: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = number + 1;
    while rest > 0 {
        rest -= 1;
        letters.push(b'a' + (rest % 26) as u8);
        rest /= 26;
    }
    letters.reverse();
    format!("/dev/vd{}", String::from_utf8_lossy(&letters))
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_named_as_the_kernel_does() {
        let names = [(0, "a"), (25, "z"), (26, "aa"), (27, "ab"), (701, "zz"), (702, "aaa")];
        for (number, letters) in names {
            assert_eq!(disk_name(number), format!("/dev/vd{letters}"));
        }
    }
}
