//! The command line of QEMU (qemu(1)).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::{MachineLimits, Vmm, VmmCommand};
use crate::via::DISK_QUEUES;
use crate::{Accelerator, Architecture, Disk, DiskFormat, Machine, Share};

/// The slot of the network card.
const NETWORK_SLOT: usize = 3;
/// The first slot of the bus that is free of the machine's own devices.
const FIRST_SLOT: usize = 4;
/// The number of functions of a slot. With one disk in each, a machine has room for 224 disks instead of 28.
const FUNCTIONS: usize = 8;
/// The number of slots of a PCI bus: device numbers have five bits (PCI Local Bus Specification 3.0, 3.2.2.3.2).
const SLOTS: usize = 32;
/// The maximum number of disks: one for each function of the free slots.
const MAX_DISKS: usize = (SLOTS - FIRST_SLOT) * FUNCTIONS;
/// The maximum number of processors of the machine `pc` (`max_cpus` in hw/i386/pc.c).
const MAX_CPUS_PC: u32 = 255;
/// The maximum number of processors of the machine `virt` (`max_cpus` in hw/arm/virt.c).
const MAX_CPUS_VIRT: u32 = 512;

pub(super) fn limits(architecture: Architecture) -> MachineLimits {
    let cpus = match architecture {
        Architecture::X86_64 => MAX_CPUS_PC,
        Architecture::Aarch64 => MAX_CPUS_VIRT,
    };
    MachineLimits { disks: MAX_DISKS, cpus }
}

pub(super) fn command(machine: &Machine) -> VmmCommand {
    let mut arguments = Arguments(Vec::new());
    // No default devices and no host configuration, so that the machine is the same on every host.
    for argument in ["-nodefaults", "-no-user-config", "-no-reboot"] {
        arguments.0.push(argument.into());
    }
    arguments.option("-display", "none");
    arguments.option("-machine", machine_type(machine));
    arguments.option("-cpu", cpu(machine));
    arguments.option("-smp", machine.cpus.to_string());
    arguments.option("-m", format!("{}M", machine.mebibytes()));
    arguments.option("-kernel", &machine.kernel);
    if let Some(initramfs) = &machine.initramfs {
        arguments.option("-initrd", initramfs);
    }
    arguments.option("-append", &machine.command_line);
    // Without signals, so that Ctrl-C at a terminal reaches the guest.
    arguments.option("-chardev", "stdio,id=console,signal=off");
    arguments.option("-serial", "chardev:console");
    if machine.shares_memory() {
        let mebibytes = machine.mebibytes();
        arguments.option("-object", format!("memory-backend-memfd,id=memory,size={mebibytes}M,share=on"));
    }
    for (number, disk) in machine.disks.iter().enumerate() {
        arguments.disk(machine, number, disk);
    }
    if let Some(share) = &machine.share {
        arguments.share(share);
    }
    if let Some(network) = &machine.network {
        arguments.option("-netdev", network.netdev("network"));
        // No guest starts from the network, so the boot program of the card need not be installed.
        arguments.option("-device", format!("virtio-net-pci,netdev=network,addr={NETWORK_SLOT:#x},romfile="));
    }
    let program = Vmm::Qemu.program(machine.architecture);
    VmmCommand { program, arguments: arguments.0, config: None }
}

fn machine_type(machine: &Machine) -> String {
    let name = match machine.architecture {
        Architecture::X86_64 => "pc",
        Architecture::Aarch64 => "virt",
    };
    let memory = if machine.shares_memory() { ",memory-backend=memory" } else { "" };
    format!("{name},accel={}{memory}", machine.accelerator)
}

fn cpu(machine: &Machine) -> &'static str {
    match (machine.accelerator, machine.architecture) {
        (Accelerator::Kvm, _) => "host",
        (Accelerator::Tcg, Architecture::X86_64) => "max",
        // Pointer authentication with QEMU's own cheap algorithm: the architected one would take most of a boot.
        (Accelerator::Tcg, Architecture::Aarch64) => "max,pauth-impdef=on",
    }
}

struct Arguments(Vec<OsString>);

impl Arguments {
    fn option(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.0.push(name.into());
        self.0.push(value.as_ref().into());
    }

    fn disk(&mut self, machine: &Machine, number: usize, disk: &Disk) {
        let (slot, function) = (FIRST_SLOT + number / FUNCTIONS, number % FUNCTIONS);
        // The guest looks for further functions of a slot only if the first one is marked as multifunction.
        let place = format!("addr={slot:#x}.{function},multifunction=on");
        let format = match disk.format {
            DiskFormat::Raw => "raw",
            DiskFormat::Vmdk => "vmdk",
            DiskFormat::VhostUser => {
                let mut socket = OsString::from(format!("socket,id=disk{number},path="));
                socket.push(escaped(disk.path.as_os_str()));
                self.option("-chardev", socket);
                let queues = machine.cpus.clamp(1, DISK_QUEUES);
                self.option("-device", format!("vhost-user-blk-pci,chardev=disk{number},num-queues={queues},{place}"));
                return;
            }
        };
        // A guest that frees blocks (fstrim) makes the file smaller.
        let access = if disk.writable { "off,discard=unmap" } else { "on" };
        let mut drive = OsString::from(format!(
            "if=none,id=disk{number},format={format},read-only={access},cache.direct=off,aio=threads,file="
        ));
        drive.push(escaped(disk.path.as_os_str()));
        self.option("-drive", drive);
        self.option("-device", format!("virtio-blk-pci,drive=disk{number},{place}"));
    }

    fn share(&mut self, share: &Share) {
        let mut socket = OsString::from("socket,id=share,path=");
        socket.push(escaped(share.socket.as_os_str()));
        self.option("-chardev", socket);
        let (tag, queues) = (&share.tag, share.queues);
        self.option("-device", format!("vhost-user-fs-pci,chardev=share,tag={tag},num-request-queues={queues}"));
    }
}

/// Escapes a path for an option value by doubling its commas.
fn escaped(path: &OsStr) -> OsString {
    let doubled = path.as_bytes().iter().flat_map(|byte| std::iter::repeat_n(*byte, 1 + usize::from(*byte == b',')));
    OsString::from_vec(doubled.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmm::tests::{machine, text};

    #[test]
    fn a_machine_of_disks() {
        let command = command(&machine());
        assert_eq!(command.program, "qemu-system-x86_64");
        let expected = "-nodefaults -no-user-config -no-reboot -display none -machine pc,accel=kvm -cpu host -smp 2 -m 512M \
            -kernel /boot/vmlinux -initrd /tmp/initramfs -append console=ttyS0¸quiet -chardev stdio,id=console,signal=off \
            -serial chardev:console -drive \
            if=none,id=disk0,format=raw,read-only=on,cache.direct=off,aio=threads,file=/tmp/a,,b \
            -device virtio-blk-pci,drive=disk0,addr=0x4.0,multifunction=on";
        let expected: Vec<String> = expected.split_ascii_whitespace().map(|word| word.replace('¸', " ")).collect();
        assert_eq!(text(&command), expected);
    }

    #[test]
    fn a_machine_of_another_architecture_with_a_share() {
        let share = Share { tag: "root".into(), socket: "/tmp/s".into(), queues: 2 };
        let machine = Machine {
            accelerator: Accelerator::Tcg,
            architecture: Architecture::Aarch64,
            memory: (64 << 20) + 1,
            initramfs: None,
            disks: Vec::new(),
            share: Some(share),
            ..machine()
        };
        let command = command(&machine);
        assert_eq!(command.program, "qemu-system-aarch64");
        let expected = "-nodefaults -no-user-config -no-reboot -display none \
            -machine virt,accel=tcg,memory-backend=memory -cpu max,pauth-impdef=on -smp 2 -m 65M -kernel /boot/vmlinux \
            -append console=ttyS0¸quiet -chardev stdio,id=console,signal=off -serial chardev:console \
            -object memory-backend-memfd,id=memory,size=65M,share=on -chardev socket,id=share,path=/tmp/s \
            -device vhost-user-fs-pci,chardev=share,tag=root,num-request-queues=2";
        let expected: Vec<String> = expected.split_ascii_whitespace().map(|word| word.replace('¸', " ")).collect();
        assert_eq!(text(&command), expected);
    }

    #[test]
    fn a_machine_with_a_network_and_a_writable_disk() {
        let mut machine = Machine { network: Some(crate::UserNetwork::default()), ..machine() };
        machine.disks[0].writable = true;
        let command = command(&machine);
        let text = text(&command).join(" ");
        assert!(text.contains("read-only=off,discard=unmap,cache.direct=off"), "{text}");
        let expected = "-netdev user,id=network,net=10.0.2.0/24,host=10.0.2.2,dns=10.0.2.3,dhcpstart=10.0.2.15 \
                        -device virtio-net-pci,netdev=network,addr=0x3,romfile=";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn a_served_disk_needs_shared_memory() {
        let disks = vec![Disk { path: "/tmp/a,b".into(), format: DiskFormat::VhostUser, writable: false }];
        let command = command(&Machine { disks, ..machine() });
        let text = text(&command).join(" ");
        for part in [
            "-machine pc,accel=kvm,memory-backend=memory ",
            "-object memory-backend-memfd,id=memory,size=512M,share=on ",
            "-chardev socket,id=disk0,path=/tmp/a,,b ",
            "-device vhost-user-blk-pci,chardev=disk0,num-queues=2,addr=0x4.0,multifunction=on",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn many_disks_share_slots() {
        let disk = machine().disks.remove(0);
        let machine = Machine { disks: vec![disk; 18], ..machine() };
        let command = command(&machine);
        let last = text(&command).pop().unwrap();
        assert_eq!(last, "virtio-blk-pci,drive=disk17,addr=0x6.1,multifunction=on");
    }
}
