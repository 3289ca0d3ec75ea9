//! Measures the time from a pulled image to its entrypoint, beyond the boot time of the kernel itself.

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
    race::{Comparison, Race},
    row::{Target, Unit},
};
use crate::{guest, workspace};

/// The maximum time until a guest's first output. A guest that hangs under KVM would never end.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The time until the first output of a guest's command.
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
        RunningProgram::first_byte(&mut boot)
    },
    comparisons: &[Comparison {
        key: "boot",
        title: "from a pulled image to its entrypoint, beyond a kernel with a program in its initramfs",
        target: Target::BeyondRival { by: 0.15, if_judged: has_kvm },
        rival: Some(|_, _| bare_kernel(&guest()?, accelerator())),
    }],
};

fn guest() -> Result<Guest> {
    guest::prepare();
    Guest::of("amd64").context("no guest for the measurement")
}

/// Returns whether guests can run with KVM. An existing `/dev/kvm` is not enough.
fn has_kvm() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| guest().and_then(|guest| bare_kernel(&guest, "kvm")).is_ok())
}

fn accelerator() -> &'static str {
    if has_kvm() { "kvm" } else { "tcg" }
}

/// Returns the seconds from the start of a kernel to the first output of its only program.
fn bare_kernel(guest: &Guest, accelerator: &str) -> Result<f64> {
    let archive = workspace::target().join("bench/bare.cpio");
    // The kernel passes the program's name as `argv[0]`, which echo prints.
    let files = ["bin", "dev"].iter().fold(Initramfs::new(), |files, path| files.directory(path, 0o755));
    let files = files.copy("bin/busybox", 0o755, &guest.busybox()).file("init", 0o755, b"#!/bin/busybox echo\n");
    fs::write(&archive, files.into_bytes())?;
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-smp", "1", "-m", "512M"]);
    qemu.args(["-cpu", if accelerator == "kvm" { "host" } else { "max" }, "-serial", "stdio"]);
    qemu.arg("-machine").arg(format!("pc,accel={accelerator}"));
    qemu.arg("-kernel").arg(guest.kernel()).arg("-initrd").arg(&archive);
    qemu.args(["-append", "console=ttyS0 quiet loglevel=1 panic=-1"]);
    RunningProgram::first_byte(&mut qemu)
}

/// A running program, which is killed when dropped.
struct RunningProgram(Child);

impl RunningProgram {
    /// Starts a program, and returns the seconds until its first output.
    fn first_byte(command: &mut Command) -> Result<f64> {
        let start = Instant::now();
        let mut child = Self(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
        let mut output = child.0.stdout.take().context("it is piped")?;
        let reader = thread::spawn(move || {
            let mut byte = [0];
            output.read_exact(&mut byte).map(|()| start.elapsed())
        });
        while !reader.is_finished() && start.elapsed() < TIMEOUT {
            thread::sleep(Duration::from_micros(200));
        }
        ensure!(reader.is_finished(), "no output in {TIMEOUT:?}");
        let took = reader.join().ok().context("a thread has panicked")?.context("no output")?;
        Ok(took.as_secs_f64())
    }
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        // Errors are ignored: it may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
