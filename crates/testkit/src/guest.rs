//! Real guests: QEMU with Debian's kernels, booted from an initramfs and controlled through their console.

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

/// The variable with the directory of kernels and shells. The default is the one that `cargo xtask test` fills.
pub const GUESTS: &str = "VMROOT_TEST_GUEST";

/// The architectures of guests.
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
    /// Returns the guest of an architecture, or `None` if the test must be skipped.
    ///
    /// Usage: `let Some(guest) = Guest::of("amd64") else { return };`.
    ///
    /// # Panics
    /// Like [`skip::because`], and for an architecture that is not in [`ARCHITECTURES`].
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

    /// Returns the path of the kernel.
    ///
    /// # Panics
    /// If it was removed meanwhile.
    pub fn kernel(&self) -> PathBuf {
        self.boot_files().next().expect("it was there when the guest was found")
    }

    /// Returns the module directory: `lib/modules/VERSION`.
    pub fn modules(&self) -> PathBuf {
        let mut versions = fs::read_dir(self.directory.join("lib/modules")).into_iter().flatten().flatten();
        versions.next().map_or_else(|| self.directory.clone(), |version| version.path())
    }

    /// Returns the path of a static busybox.
    pub fn busybox(&self) -> PathBuf {
        self.directory.join("busybox")
    }

    /// Boots the guest with TCG, which is the same on every machine.
    ///
    /// `arguments` are appended to the kernel's command line, after those for a quiet console. A guest that restarts
    /// boots again.
    ///
    /// # Panics
    /// If QEMU cannot be started.
    pub fn boot(&self, initramfs: Initramfs, arguments: &str) -> GuestConsole {
        self.boot_with(initramfs, arguments, &[])
    }

    /// Boots the guest like [`Self::boot`], with further arguments for QEMU.
    ///
    /// # Panics
    /// If QEMU cannot be started.
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
