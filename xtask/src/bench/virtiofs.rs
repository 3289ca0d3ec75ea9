//! Measures reading a tree over virtio-fs. The time is measured in the guest, and the files are in the host's memory.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use vmroot_testkit::guest::{Guest, Initramfs};

use super::{
    image,
    race::{Comparison, Race},
    row::{Target, Unit},
};
use crate::{guest, process, walk, workspace};

/// The version of the rival.
const VIRTIOFSD: &str = "1.14.0";

/// The maximum time until a device creates its socket.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The init of the guest. Its clock has a resolution of 10 ms.
const INIT: &str = "#!/bin/sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do insmod $module; done
mount -t virtiofs root /mnt && read start rest < /proc/uptime &&
    find /mnt -type f -exec cat {} + > /dev/null && read end rest < /proc/uptime && echo \"TOOK $start $end \"
poweroff -f
";

/// The time of reading every file.
pub const READ: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: |lab, scratch| {
        let cache = lab.pulled()?;
        let mut device = lab.vmroot(&cache);
        device.args(["virtiofs", &lab.registry().reference(image::BENCH), "--socket"]);
        read_in_guest(&cache, device, scratch)
    },
    comparisons: &[Comparison {
        key: "guest-virtiofs",
        title: "guest: read of every file over virtio-fs, against virtiofsd on an unpacked tree",
        target: Target::TimesFaster(1.0),
        rival: Some(|lab, scratch| {
            let tree = lab.tree()?;
            let mut device = virtiofsd()?;
            device.args(["--sandbox", "none", "--seccomp", "none", "--log-level", "error"]);
            // The options that let its guest make the fewest requests.
            device.args(["--cache", "always", "--readonly", "--shared-dir"]).arg(&tree).arg("--socket-path");
            read_in_guest(&tree, device, scratch)
        }),
    }],
};

/// Returns a command for the rival, which is installed below the target directory.
fn virtiofsd() -> Result<Command> {
    let rivals = workspace::target().join("rivals");
    let program = rivals.join("bin/virtiofsd");
    if !program.exists() {
        let mut install = workspace::cargo();
        install.args(["install", "virtiofsd", "--version", VIRTIOFSD, "--locked", "--root"]).arg(&rivals);
        process::run(install.arg("--target-dir").arg(rivals.join("virtiofsd")))?;
    }
    Ok(Command::new(program))
}

/// Boots a guest with `device`, whose last argument becomes its socket. Returns the seconds of reading all files. Those
/// below `source` are read into memory first.
fn read_in_guest(source: &Path, mut device: Command, scratch: &Path) -> Result<f64> {
    guest::prepare();
    let guest = Guest::of("amd64").context("no guest for the measurement")?;
    walk::read_all(source)?;
    let socket = scratch.join("socket");
    let mut device = DeviceProcess(device.arg(&socket).stdin(Stdio::null()).spawn()?);
    device.wait_for(&socket)?;
    let output = guest.boot_with(initramfs(&guest), "", &machine(&socket)).finish();
    let took = output
        .split("TOOK ")
        .nth(1)
        .with_context(|| format!("the guest has not read all files; its output:\n{output}"))?;
    let times: Vec<f64> = took.split_whitespace().take(2).map(str::parse).collect::<Result<_, _>>()?;
    ensure!(times.len() == 2, "the guest has not printed the times; its output:\n{output}");
    Ok(times[1] - times[0])
}

fn initramfs(guest: &Guest) -> Initramfs {
    let directories = ["bin", "dev", "mnt", "modules", "proc", "sys"];
    let mut files = directories.iter().fold(Initramfs::new(), |files, path| files.directory(path, 0o755));
    for (number, module) in guest.module_files(&["virtio_pci", "virtiofs"]).iter().enumerate() {
        files = files.copy(&format!("modules/{number:02}"), 0o644, module);
    }
    files = files.copy("bin/busybox", 0o755, &guest.busybox()).symlink("bin/sh", "busybox");
    files.file("init", 0o755, INIT.as_bytes())
}

fn machine(socket: &Path) -> [String; 8] {
    let socket = format!("socket,id=virtiofs,path={}", socket.display());
    let memory = "memory-backend-memfd,id=memory,size=256M,share=on";
    let device = "vhost-user-fs-pci,chardev=virtiofs,tag=root,queue-size=1024";
    ["-object", memory, "-numa", "node,memdev=memory", "-chardev", &socket, "-device", device].map(str::to_owned)
}

/// The process of a device, which is killed when dropped.
struct DeviceProcess(Child);

impl DeviceProcess {
    fn wait_for(&mut self, socket: &Path) -> Result<()> {
        let start = Instant::now();
        while !socket.exists() {
            if let Some(status) = self.0.try_wait()? {
                bail!("the device ended: {status}");
            }
            ensure!(start.elapsed() < TIMEOUT, "no socket after {TIMEOUT:?}");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for DeviceProcess {
    fn drop(&mut self) {
        // Errors are ignored: it usually has ended with its guest.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
