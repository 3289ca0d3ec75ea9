//! Which targets this Rust can link static programs for.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// The compiler that cargo uses, and what belongs to it.
pub(crate) struct Toolchain {
    sysroot: PathBuf,
    host: String,
}

/// A way to build: a target, and how to link for it.
pub(crate) struct Way {
    pub(crate) target: String,
    /// Further flags of rustc.
    pub(crate) flags: Vec<String>,
}

impl Toolchain {
    pub(crate) fn new() -> Self {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let printed = Command::new(rustc).args(["--print", "sysroot"]).output();
        let sysroot = printed.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        Self { sysroot: sysroot.unwrap_or_default().into(), host: env::var("HOST").unwrap_or_default() }
    }

    /// Where the libraries of all targets are.
    pub(crate) fn libraries(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib")
    }

    /// Ways to build for a machine, the best first: musl makes programs of half the size, and brings what linking needs;
    /// glibc's static library is on most machines that compile at all.
    pub(crate) fn ways(&self, machine: &str) -> impl Iterator<Item = Way> {
        [self.musl(machine), self.glibc(machine)].into_iter().flatten()
    }

    fn musl(&self, machine: &str) -> Option<Way> {
        let target = format!("{machine}-unknown-linux-musl");
        let mut flags = Vec::new();
        if self.libraries().join(&self.host).join("bin/rust-lld").exists() {
            flags.extend(["-Clinker=rust-lld".to_owned(), "-Clink-self-contained=yes".to_owned()]);
        } else if !self.is_host(machine) {
            return None;
        }
        self.installed(&target).then_some(Way { target, flags })
    }

    fn glibc(&self, machine: &str) -> Option<Way> {
        let target = format!("{machine}-unknown-linux-gnu");
        let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
        if !self.is_host(machine) {
            // What Debian and others call the linker of another machine.
            let linker = format!("{machine}-linux-gnu-gcc");
            Command::new(&linker).arg("--version").output().ok()?;
            flags.push(format!("-Clinker={linker}"));
        }
        self.installed(&target).then_some(Way { target, flags })
    }

    fn is_host(&self, machine: &str) -> bool {
        self.host.split('-').next() == Some(machine)
    }

    fn installed(&self, target: &str) -> bool {
        self.libraries().join(target).join("lib").exists()
    }
}
