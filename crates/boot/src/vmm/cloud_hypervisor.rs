//! The command line of Cloud Hypervisor (`cloud-hypervisor --help`).

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{MachineLimits, Version, Vmm, VmmCommand};
use crate::{DiskFormat, Error, Machine, Result};

/// The maximum number of disks. A bus has 32 slots (`NUM_DEVICE_IDS` in pci/src/bus.rs). One is taken by the host
/// bridge, and one by virtio-rng, which every machine has (`make_virtio_rng_devices` in vmm/src/device_manager.rs).
const MAX_DISKS: usize = 32 - 2;
/// The maximum number of processors of KVM (`CONFIG_KVM_MAX_NR_VCPUS` in arch/x86/kvm/Kconfig of Linux).
const MAX_CPUS: u32 = 4096;
/// The first version with an option for a disk's format (`image_type`, release notes of 51.0). Older versions guess the
/// format from the first bytes, which a layer controls: a layer that begins like a QCOW2 could refer to any file of the
/// host.
const MIN_VERSION: Version = Version(51, 0);

pub(super) fn limits() -> MachineLimits {
    MachineLimits { disks: MAX_DISKS, cpus: MAX_CPUS }
}

/// Rejects versions that guess a disk's format.
pub(super) fn check_version(version: Version) -> Result<()> {
    if version < MIN_VERSION {
        let what = format!(
            "{version} guesses a disk's format from bytes of the image; vmroot requires {MIN_VERSION} or later"
        );
        return Err(unsupported(&what));
    }
    Ok(())
}

pub(super) fn command(machine: &Machine) -> Result<VmmCommand> {
    if machine.network.is_some() {
        return Err(unsupported("has no network without a device of the host"));
    }
    let shared = if machine.share.is_some() { ",shared=on" } else { "" };
    let mut arguments: Vec<OsString> = vec![
        "--kernel".into(),
        machine.kernel.clone().into(),
        "--cmdline".into(),
        machine.command_line.clone().into(),
        "--cpus".into(),
        format!("boot={}", machine.cpus).into(),
        "--memory".into(),
        format!("size={}M{shared}", machine.mebibytes()).into(),
        "--serial".into(),
        "tty".into(),
        "--console".into(),
        "off".into(),
    ];
    if let Some(initramfs) = &machine.initramfs {
        arguments.extend(["--initramfs".into(), initramfs.clone().into()]);
    }
    if !machine.disks.is_empty() {
        arguments.push("--disk".into());
    }
    for disk in &machine.disks {
        if disk.format == DiskFormat::VhostUser {
            return Err(unsupported("gets no disk of a vhost-user daemon from vmroot"));
        }
        if disk.format != DiskFormat::Raw {
            // Builds after 53.0 take `image_type=vmdk`. It is open whether a release lets a VMDK refer to files
            // elsewhere.
            return Err(unsupported("reads no VMDK up to 53.0"));
        }
        let read_only = if disk.writable { "off" } else { "on" };
        let mut option = OsString::from(format!("readonly={read_only},image_type=raw,path="));
        option.push(checked(&disk.path)?);
        arguments.push(option);
    }
    if let Some(share) = &machine.share {
        // The device has one more queue, for urgent messages, which is not counted here.
        let mut option = OsString::from(format!("tag={},num_queues={},socket=", share.tag, share.queues));
        option.push(checked(&share.socket)?);
        arguments.extend(["--fs".into(), option]);
    }
    Ok(VmmCommand { program: Vmm::CloudHypervisor.program(machine.architecture), arguments, config: None })
}

/// Rejects paths with a comma, which ends an option and cannot be escaped.
fn checked(path: &Path) -> Result<&Path> {
    if path.as_os_str().as_bytes().iter().any(|byte| b",[]\"".contains(byte)) {
        return Err(unsupported(&format!(
            "does not support paths with commas, brackets or quotes: {}",
            path.display()
        )));
    }
    Ok(path)
}

fn unsupported(what: &str) -> Error {
    Error::Unsupported { vmm: Vmm::CloudHypervisor, what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmm::tests::{machine, text};
    use crate::{Disk, Share};

    #[test]
    fn a_machine_of_disks() {
        let disk = |path: &str, writable| Disk { path: path.into(), format: DiskFormat::Raw, writable };
        let machine = Machine { disks: vec![disk("/tmp/a", false), disk("/tmp/b", true)], ..machine() };
        let command = command(&machine).unwrap();
        assert_eq!(command.program, "cloud-hypervisor");
        let expected = "--kernel /boot/vmlinux --cmdline console=ttyS0¸quiet --cpus boot=2 --memory size=512M --serial tty \
            --console off --initramfs /tmp/initramfs --disk readonly=on,image_type=raw,path=/tmp/a \
            readonly=off,image_type=raw,path=/tmp/b";
        let expected: Vec<String> = expected.split_ascii_whitespace().map(|word| word.replace('¸', " ")).collect();
        assert_eq!(text(&command), expected);
    }

    #[test]
    fn a_share_needs_shared_memory() {
        let share = Some(Share { tag: "root".into(), socket: "/tmp/s".into(), queues: 1 });
        let machine = Machine { disks: Vec::new(), share, ..machine() };
        let command = command(&machine).unwrap();
        let text = text(&command).join(" ");
        assert!(text.contains("--memory size=512M,shared=on "), "{text}");
        assert!(text.ends_with("--fs tag=root,num_queues=1,socket=/tmp/s"), "{text}");
        assert!(!text.contains("--disk"), "{text}");
    }

    #[test]
    fn unsupported_machines_are_refused() {
        let with = |path: &str, format| Machine {
            disks: vec![Disk { path: path.into(), format, writable: false }],
            ..machine()
        };
        let error = command(&with("/tmp/a,b", DiskFormat::Raw)).unwrap_err().to_string();
        assert!(error.starts_with("cloud-hypervisor does not support paths with commas"), "{error}");
        let network = Some(crate::UserNetwork::default());
        let error = command(&Machine { network, ..machine() }).unwrap_err().to_string();
        assert!(error.starts_with("cloud-hypervisor has no network"), "{error}");
        let error = command(&with("/tmp/a", DiskFormat::Vmdk)).unwrap_err().to_string();
        assert!(error.starts_with("cloud-hypervisor reads no VMDK"), "{error}");
    }

    /// A layer whose first file begins with the magic of QCOW2.
    #[test]
    fn versions_that_guess_formats_are_refused() {
        assert!(check_version(Version(51, 0)).is_ok() && check_version(Version(53, 0)).is_ok());
        let error = check_version(Version(50, 2)).unwrap_err().to_string();
        assert!(error.starts_with("cloud-hypervisor 50.2 guesses"), "{error}");
    }
}
