//! Cloud Hypervisor's command line (`cloud-hypervisor --help`).

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Vmm, VmmCommand};
use crate::{DiskFormat, Error, Machine, Result};

pub(super) fn command(machine: &Machine) -> Result<VmmCommand> {
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
        if disk.format != DiskFormat::Raw {
            return Err(unsupported("reads no VMDK; use --via erofs, ext4 or squashfs"));
        }
        let mut option = OsString::from(format!("readonly={},path=", if disk.writable { "off" } else { "on" }));
        option.push(checked(&disk.path)?);
        arguments.push(option);
    }
    if let Some(share) = &machine.share {
        // One queue of the device is for urgent messages, and not counted here.
        let mut option = OsString::from(format!("tag={},num_queues={},socket=", share.tag, share.queues));
        option.push(checked(&share.socket)?);
        arguments.extend(["--fs".into(), option]);
    }
    Ok(VmmCommand { program: Vmm::CloudHypervisor.program(machine.architecture), arguments, config: None })
}

/// Its options end at commas, and there is no way to write one.
fn checked(path: &Path) -> Result<&Path> {
    if path.as_os_str().as_bytes().iter().any(|byte| b",[]\"".contains(byte)) {
        return Err(unsupported(&format!("takes no path with commas, brackets or quotes: {}", path.display())));
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
            --console off --initramfs /tmp/initramfs --disk readonly=on,path=/tmp/a readonly=off,path=/tmp/b";
        let expected: Vec<String> = expected.split_ascii_whitespace().map(|word| word.replace('¸', " ")).collect();
        assert_eq!(text(&command), expected);
    }

    #[test]
    fn a_share_wants_shared_memory() {
        let share = Some(Share { tag: "root".into(), socket: "/tmp/s".into(), queues: 1 });
        let machine = Machine { disks: Vec::new(), share, ..machine() };
        let command = command(&machine).unwrap();
        let text = text(&command).join(" ");
        assert!(text.contains("--memory size=512M,shared=on "), "{text}");
        assert!(text.ends_with("--fs tag=root,num_queues=1,socket=/tmp/s"), "{text}");
        assert!(!text.contains("--disk"), "{text}");
    }

    #[test]
    fn what_it_cannot_do_is_said() {
        let with = |path: &str, format| Machine {
            disks: vec![Disk { path: path.into(), format, writable: false }],
            ..machine()
        };
        let error = command(&with("/tmp/a,b", DiskFormat::Raw)).unwrap_err().to_string();
        assert!(error.starts_with("cloud-hypervisor takes no path with commas"), "{error}");
        let error = command(&with("/tmp/a", DiskFormat::Vmdk)).unwrap_err().to_string();
        assert!(error.starts_with("cloud-hypervisor reads no VMDK"), "{error}");
    }
}
