//! The description of a machine, from which a VMM's command line is built.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::{Architecture, Error, Result, UserNetwork, Vmm};

/// The maximum length of a kernel's command line in bytes, without the terminator: `COMMAND_LINE_SIZE` of both
/// architectures less one.
const MAX_COMMAND_LINE: usize = 2047;
/// The minimum memory of a guest in bytes. No kernel of either architecture starts with less.
const MIN_MEMORY: u64 = 16 << 20;

/// A machine to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The accelerator that executes the guest's instructions.
    pub accelerator: Accelerator,
    /// The architecture of the kernel and the machine.
    pub architecture: Architecture,
    /// The memory in bytes. VMMs round it up to whole mebibytes.
    pub memory: u64,
    /// The number of virtual processors.
    pub cpus: u32,
    /// The path of the kernel.
    pub kernel: PathBuf,
    /// The archive that the kernel unpacks into its initial root.
    pub initramfs: Option<PathBuf>,
    /// The kernel's command line.
    pub command_line: String,
    /// The disks: `/dev/vda` and the following ones.
    pub disks: Vec<Disk>,
    /// The share that a vhost-user daemon serves.
    pub share: Option<Share>,
    /// The network behind the VMM's own router.
    pub network: Option<UserNetwork>,
}

/// The way in which the guest's instructions are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// Directly by the processor, through KVM.
    Kvm,
    /// By QEMU's translator TCG: for any architecture on any host, but tens of times slower.
    Tcg,
}

/// A disk of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The path of the file.
    pub path: PathBuf,
    /// The format of the file.
    pub format: DiskFormat,
    /// Whether the guest may write to it.
    pub writable: bool,
}

/// The format of a disk's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskFormat {
    /// The disk's bytes.
    Raw,
    /// A VMDK descriptor, which refers to other files.
    Vmdk,
    /// The socket of a vhost-user daemon, which serves the disk.
    VhostUser,
}

/// A directory that a vhost-user daemon serves by virtio-fs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The tag by which the guest mounts the share.
    pub tag: String,
    /// The socket that the daemon listens on.
    pub socket: PathBuf,
    /// The number of request queues that the daemon serves, at least 1.
    pub queues: u32,
}

impl Machine {
    /// Returns whether a vhost-user daemon reads and writes the guest's memory, which must therefore be shared.
    pub(crate) fn shares_memory(&self) -> bool {
        self.share.is_some() || self.disks.iter().any(|disk| disk.format == DiskFormat::VhostUser)
    }

    /// Returns the memory in mebibytes, rounded up.
    pub(crate) fn mebibytes(&self) -> u64 {
        self.memory.div_ceil(1 << 20)
    }

    /// Returns the machine with the files of the directory `from` in the directory `to`. An empty `to` makes their paths
    /// relative.
    pub(crate) fn moved(&self, from: &Path, to: &Path) -> Self {
        let moved = |path: &Path| path.strip_prefix(from).map_or_else(|_| path.to_owned(), |name| to.join(name));
        let disk = |disk: &Disk| Disk { path: moved(&disk.path), ..disk.clone() };
        let share = |share: &Share| Share { socket: moved(&share.socket), ..share.clone() };
        Self {
            kernel: moved(&self.kernel),
            initramfs: self.initramfs.as_deref().map(moved),
            disks: self.disks.iter().map(disk).collect(),
            share: self.share.as_ref().map(share),
            ..self.clone()
        }
    }

    /// Checks the machine against the limits of all VMMs and of `vmm`.
    pub(crate) fn check(&self, vmm: Vmm) -> Result<()> {
        let (length, limit) = (self.command_line.len(), MAX_COMMAND_LINE);
        if length > limit {
            return Err(Error::CommandLine { length, limit, architecture: self.architecture });
        }
        if self.memory < MIN_MEMORY {
            return Err(Error::Memory { requested: self.memory, minimum: MIN_MEMORY });
        }
        let limits = vmm.limits(self.architecture, None);
        limits.check_disks(vmm, self.disks.len())?;
        if self.cpus == 0 || self.cpus > limits.cpus {
            return Err(Error::Processors { vmm, limit: limits.cpus, requested: self.cpus });
        }
        Ok(())
    }
}

/// Returns the guest's name of the disk with this number: `/dev/vda` to `/dev/vdz`, then `/dev/vdaa`.
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
