//! Firecracker's configuration file (its `docs/getting-started.md` and API specification).

use std::path::Path;

use serde_json::json;

use super::{MachineLimits, Version, Vmm, VmmCommand};
use crate::{Architecture, Disk, DiskFormat, Error, Machine, Result};

/// The maximum number of disks of each version. Each device on the MMIO bus has its own interrupt, and so the number of
/// free interrupts limits the devices (`GSI_LEGACY_START` and `GSI_LEGACY_END` in src/vmm/src/arch/*/layout.rs,
/// tests/integration_tests/functional/test_max_devices.py).
///
/// x86-64 has 19 since 0.24. VMGenID takes one since 1.8, and VMClock since 1.15 (CHANGELOG.md).
const MAX_DISKS_X86_64: [(Version, usize); 3] = [(Version(0, 24), 19), (Version(1, 8), 18), (Version(1, 15), 17)];
/// The maximum number of disks of each version. Before 1.13, interrupts are misnumbered and only 64 work (issue 4207).
/// Later versions have 96, less one each for VMGenID, the clock and the serial port, and for VMClock since 1.15.
const MAX_DISKS_AARCH64: [(Version, usize); 3] = [(Version(0, 24), 64), (Version(1, 13), 93), (Version(1, 15), 92)];
/// The maximum number of processors (`MAX_SUPPORTED_VCPUS` in src/vmm/src/vmm_config/machine_config.rs).
const MAX_CPUS: u32 = 32;

pub(super) fn limits(architecture: Architecture, version: Option<Version>) -> MachineLimits {
    let table = match architecture {
        Architecture::X86_64 => MAX_DISKS_X86_64,
        Architecture::Aarch64 => MAX_DISKS_AARCH64,
    };
    let disks = match version {
        Some(version) => table.iter().rev().find(|(since, _)| *since <= version).unwrap_or(&table[0]).1,
        None => table.iter().map(|(_, disks)| *disks).max().unwrap_or(0),
    };
    MachineLimits { disks, cpus: MAX_CPUS }
}

pub(super) fn command(machine: &Machine, config: &Path) -> Result<VmmCommand> {
    if machine.share.is_some() {
        return Err(unsupported("has no virtio-fs"));
    }
    if machine.network.is_some() {
        return Err(unsupported("has no network without a device of the host"));
    }
    let drive = |(number, disk): (usize, &Disk)| {
        if disk.format == DiskFormat::VhostUser {
            return Err(unsupported("gets no disk of a vhost-user daemon from vmroot"));
        }
        if disk.format != DiskFormat::Raw {
            return Err(unsupported("reads no VMDK"));
        }
        Ok(json!({
            "drive_id": format!("disk{number}"),
            "path_on_host": text(&disk.path)?,
            // The kernel's command line already has a `root=`. `true` would add another one.
            "is_root_device": false,
            "is_read_only": !disk.writable,
        }))
    };
    let drives = machine.disks.iter().enumerate().map(drive).collect::<Result<Vec<_>>>()?;
    let mut boot_source = json!({
        "kernel_image_path": text(&machine.kernel)?,
        "boot_args": machine.command_line,
    });
    if let Some(initramfs) = &machine.initramfs {
        boot_source["initrd_path"] = text(initramfs)?.into();
    }
    let document = json!({
        "boot-source": boot_source,
        "drives": drives,
        "machine-config": { "vcpu_count": machine.cpus, "mem_size_mib": machine.mebibytes() },
        // The default log goes to the standard output, into the guest's console.
        "logger": { "level": "Error", "log_path": "/dev/stderr" },
    });
    Ok(VmmCommand {
        program: Vmm::Firecracker.program(machine.architecture),
        arguments: vec!["--no-api".into(), "--config-file".into(), config.into()],
        config: Some(serde_json::to_string_pretty(&document).expect("a JSON value has no keys but strings")),
    })
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| unsupported(&format!("does not support paths that are not UTF-8: {}", path.display())))
}

fn unsupported(what: &str) -> Error {
    Error::Unsupported { vmm: Vmm::Firecracker, what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::Share;
    use crate::vmm::tests::{machine, text};

    #[test]
    fn the_configuration() {
        let command = command(&machine(), Path::new("/tmp/config.json")).unwrap();
        assert_eq!(command.program, "firecracker");
        assert_eq!(text(&command), ["--no-api", "--config-file", "/tmp/config.json"]);
        let config: Value = serde_json::from_str(&command.config.unwrap()).unwrap();
        let expected = json!({
            "boot-source": {
                "kernel_image_path": "/boot/vmlinux",
                "initrd_path": "/tmp/initramfs",
                "boot_args": "console=ttyS0 quiet",
            },
            "drives": [{
                "drive_id": "disk0",
                "path_on_host": "/tmp/a,b",
                "is_root_device": false,
                "is_read_only": true,
            }],
            "machine-config": { "vcpu_count": 2, "mem_size_mib": 512 },
            "logger": { "level": "Error", "log_path": "/dev/stderr" },
        });
        assert_eq!(config, expected);
    }

    #[test]
    fn devices_of_each_version() {
        let disks = |architecture, version| limits(architecture, version).disks;
        for (version, x86, arm) in [
            (None, 19, 93),
            (Some(Version(0, 25)), 19, 64),
            (Some(Version(1, 7)), 19, 64),
            (Some(Version(1, 8)), 18, 64),
            (Some(Version(1, 14)), 18, 93),
            (Some(Version(1, 15)), 17, 92),
            (Some(Version(2, 0)), 17, 92),
        ] {
            assert_eq!((disks(Architecture::X86_64, version), disks(Architecture::Aarch64, version)), (x86, arm));
        }
    }

    #[test]
    fn unsupported_machines_are_refused() {
        let share = Some(Share { tag: "root".into(), socket: "/tmp/s".into(), queues: 1 });
        let error = command(&Machine { share, ..machine() }, Path::new("/c")).unwrap_err().to_string();
        assert!(error.starts_with("firecracker has no virtio-fs"), "{error}");
        let network = Some(crate::UserNetwork::default());
        let error = command(&Machine { network, ..machine() }, Path::new("/c")).unwrap_err().to_string();
        assert!(error.starts_with("firecracker has no network"), "{error}");
        let disks = vec![Disk { path: "/tmp/a".into(), format: DiskFormat::Vmdk, writable: false }];
        let error = command(&Machine { disks, ..machine() }, Path::new("/c")).unwrap_err().to_string();
        assert!(error.starts_with("firecracker reads no VMDK"), "{error}");
    }
}
