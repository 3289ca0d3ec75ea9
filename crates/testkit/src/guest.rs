//! Real guests: QEMU with Debian's kernels, started from an initramfs, watched over their console.

mod console;
mod initramfs;
mod modules;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use console::GuestConsole;
pub use initramfs::Initramfs;

use crate::skip;

/// Names the directory of kernels and shells; without it they are looked for where `cargo xtask test` puts them.
pub const GUESTS: &str = "VMROOT_TEST_GUEST";

/// Architectures that there are guests of.
pub const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// A kernel with its modules, a shell, and the machine that they run on.
#[derive(Debug)]
pub struct Guest {
    directory: PathBuf,
    machine: &'static Machine,
}

#[derive(Debug)]
struct Machine {
    architecture: &'static str,
    program: &'static str,
    kind: &'static str,
    console: &'static str,
}

static MACHINES: [Machine; 2] = [
    Machine { architecture: "amd64", program: "qemu-system-x86_64", kind: "pc", console: "ttyS0" },
    Machine { architecture: "arm64", program: "qemu-system-aarch64", kind: "virt", console: "ttyAMA0" },
];

impl Guest {
    /// The guest of an architecture, or nothing where the test has to be skipped:
    /// `let Some(guest) = Guest::of("amd64") else { return };`.
    ///
    /// # Panics
    /// As [`skip::because`], and for an architecture that is not in [`ARCHITECTURES`].
    #[track_caller]
    pub fn of(architecture: &str) -> Option<Self> {
        let machine = MACHINES.iter().find(|machine| machine.architecture == architecture);
        let machine = machine.unwrap_or_else(|| panic!("no guests of {architecture}"));
        if skip::needs_program(machine.program) {
            return None;
        }
        let made = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guest");
        let directory = env::var_os(GUESTS).map_or_else(made, PathBuf::from).join(architecture);
        let guest = Self { directory, machine };
        if guest.boot_files().next().is_none() {
            skip::because(&format!("needs a kernel for guests of {architecture}, which `cargo xtask test` fetches"));
            return None;
        }
        Some(guest)
    }

    /// The kernel.
    ///
    /// # Panics
    /// When it was removed in the meantime.
    pub fn kernel(&self) -> PathBuf {
        self.boot_files().next().expect("it was there when the guest was found")
    }

    /// The directory with `lib/modules/VERSION` in it.
    pub fn modules(&self) -> PathBuf {
        let mut versions = fs::read_dir(self.directory.join("lib/modules")).into_iter().flatten().flatten();
        versions.next().map_or_else(|| self.directory.clone(), |version| version.path())
    }

    /// A static busybox.
    pub fn busybox(&self) -> PathBuf {
        self.directory.join("busybox")
    }

    /// Starts it, with TCG, which is the same on every machine. `arguments` go to the kernel, behind those for a console
    /// that has nothing on it but what is written to it. A guest that restarts begins again.
    ///
    /// # Panics
    /// When QEMU does not start.
    pub fn boot(&self, initramfs: Initramfs, arguments: &str) -> GuestConsole {
        self.boot_with(initramfs, arguments, &[])
    }

    /// Starts it as [`Self::boot`] does, with more arguments for QEMU.
    ///
    /// # Panics
    /// When QEMU does not start.
    pub fn boot_with(&self, initramfs: Initramfs, arguments: &str, devices: &[String]) -> GuestConsole {
        let archive = tempfile::NamedTempFile::new().expect("a temporary file");
        fs::write(archive.path(), initramfs.into_bytes()).expect("a temporary file takes bytes");
        let mut qemu = Command::new(self.machine.program);
        qemu.args(["-accel", "tcg", "-M", self.machine.kind, "-cpu", "max", "-m", "256", "-nodefaults"])
            .args(["-display", "none", "-serial", "stdio", "-kernel"])
            .arg(self.kernel())
            .arg("-initrd")
            .arg(archive.path())
            .arg("-append")
            .arg(format!("console={} quiet panic=-1 {arguments}", self.machine.console))
            .args(devices)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        GuestConsole::of(qemu.spawn().expect("QEMU starts"), archive)
    }

    fn boot_files(&self) -> impl Iterator<Item = PathBuf> {
        let files = fs::read_dir(self.directory.join("boot")).into_iter().flatten().flatten();
        files.map(|file| file.path()).filter(|path| path.to_string_lossy().contains("/vmlinuz-"))
    }
}
