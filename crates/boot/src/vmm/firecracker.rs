//! Firecracker's configuration file (its `docs/getting-started.md` and API specification).

use std::path::Path;

use serde_json::json;

use super::{Vmm, VmmCommand};
use crate::{Disk, DiskFormat, Error, Machine, Result};

pub(super) fn command(machine: &Machine, config: &Path) -> Result<VmmCommand> {
    if machine.share.is_some() {
        return Err(unsupported("has no virtio-fs; use --via erofs, ext4, squashfs or cpio"));
    }
    let drive = |(number, disk): (usize, &Disk)| {
        if disk.format != DiskFormat::Raw {
            return Err(unsupported("reads no VMDK; use --via erofs, ext4 or squashfs"));
        }
        Ok(json!({
            "drive_id": format!("disk{number}"),
            "path_on_host": text(&disk.path)?,
            // The kernel's command line says what the root is; this would write a second `root=` there.
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
        // Its log would be on the standard output, between what the guest says.
        "logger": { "level": "Error", "log_path": "/dev/stderr" },
    });
    Ok(VmmCommand {
        program: Vmm::Firecracker.program(machine.architecture),
        arguments: vec!["--no-api".into(), "--config-file".into(), config.into()],
        config: Some(serde_json::to_string_pretty(&document).expect("a JSON value has no keys but strings")),
    })
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| unsupported(&format!("takes no path that is not UTF-8: {}", path.display())))
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
    fn what_it_cannot_do_is_said() {
        let share = Some(Share { tag: "root".into(), socket: "/tmp/s".into(), queues: 1 });
        let error = command(&Machine { share, ..machine() }, Path::new("/c")).unwrap_err().to_string();
        assert!(error.starts_with("firecracker has no virtio-fs"), "{error}");
        let disks = vec![Disk { path: "/tmp/a".into(), format: DiskFormat::Vmdk, writable: false }];
        let error = command(&Machine { disks, ..machine() }, Path::new("/c")).unwrap_err().to_string();
        assert!(error.starts_with("firecracker reads no VMDK"), "{error}");
    }
}
