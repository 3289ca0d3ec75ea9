//! From a pulled image to its entrypoint, beyond what the kernel itself takes to boot.

use std::{
    fs,
    io::Read,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use vmroot_testkit::guest::{Guest, Initramfs};

use super::{
    image,
    race::{Against, Race},
    row::{Target, Unit},
};
use crate::{guest, workspace};

/// How long a guest may take to say something; one that KVM lets hang takes for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// The time until a guest's command has written its first byte.
pub const BOOT: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: |lab, _| {
        let guest = guest()?;
        let mut boot = lab.vmroot(&lab.pulled()?);
        boot.args(["boot", &lab.registry().reference(image::BENCH), "--accel", accelerator(), "--kernel"]);
        boot.arg(guest.kernel()).arg("--modules").arg(guest.modules()).args([
            "--entrypoint",
            "/bin/echo",
            "--",
            "booted",
        ]);
        Speaking::first_byte(&mut boot)
    },
    against: &[Against {
        key: "boot",
        title: "from a pulled image to its entrypoint, beyond a kernel with a program in its initramfs",
        target: Target::BeyondRival { by: 0.15, if_judged: has_kvm },
        rival: Some(|_, _| bare_kernel(&guest()?, accelerator())),
    }],
};

fn guest() -> Result<Guest> {
    guest::prepare();
    Guest::of("amd64").context("there is no guest to measure in")
}

/// Whether guests run by KVM here; `/dev/kvm` alone does not say so.
fn has_kvm() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| guest().and_then(|guest| bare_kernel(&guest, "kvm")).is_ok())
}

fn accelerator() -> &'static str {
    if has_kvm() { "kvm" } else { "tcg" }
}

/// The time that a kernel takes until the first byte of the only program there is.
fn bare_kernel(guest: &Guest, accelerator: &str) -> Result<f64> {
    let archive = workspace::target().join("bench/bare.cpio");
    // The kernel gives the program its own name to say.
    let files = ["bin", "dev"].iter().fold(Initramfs::new(), |files, path| files.directory(path, 0o755));
    let files = files.copy("bin/busybox", 0o755, &guest.busybox()).file("init", 0o755, b"#!/bin/busybox echo\n");
    fs::write(&archive, files.into_bytes())?;
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-smp", "1", "-m", "512M"]);
    qemu.args(["-cpu", if accelerator == "kvm" { "host" } else { "max" }, "-serial", "stdio"]);
    qemu.arg("-machine").arg(format!("pc,accel={accelerator}"));
    qemu.arg("-kernel").arg(guest.kernel()).arg("-initrd").arg(&archive);
    qemu.args(["-append", "console=ttyS0 quiet loglevel=1 panic=-1"]);
    Speaking::first_byte(&mut qemu)
}

/// A program that is about to say something; it is ended when dropped.
struct Speaking(Child);

impl Speaking {
    /// The seconds from its start until then.
    fn first_byte(command: &mut Command) -> Result<f64> {
        let start = Instant::now();
        let mut child = Self(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
        let mut output = child.0.stdout.take().context("it is piped")?;
        let reader = thread::spawn(move || {
            let mut byte = [0];
            output.read_exact(&mut byte).map(|()| start.elapsed())
        });
        while !reader.is_finished() && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_micros(200));
        }
        ensure!(reader.is_finished(), "it has said nothing in {PATIENCE:?}");
        let took = reader.join().ok().context("a thread has panicked")?.context("it has said nothing")?;
        Ok(took.as_secs_f64())
    }
}

impl Drop for Speaking {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
