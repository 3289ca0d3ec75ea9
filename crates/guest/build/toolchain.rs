//! The targets that this Rust toolchain can link static programs for.

use std::{env, path::PathBuf, process::Command};

/// The compiler that cargo uses, and its libraries.
pub(crate) struct Toolchain {
    sysroot: PathBuf,
    host: String,
}

/// A target, and the flags to link for it.
pub(crate) struct LinkMode {
    pub(crate) target: String,
    /// Further flags for rustc.
    pub(crate) flags: Vec<String>,
}

impl Toolchain {
    pub(crate) fn new() -> Self {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let printed = Command::new(rustc).args(["--print", "sysroot"]).output();
        let sysroot = printed.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        Self { sysroot: sysroot.unwrap_or_default().into(), host: env::var("HOST").unwrap_or_default() }
    }

    /// Returns the directory of the libraries of all targets.
    pub(crate) fn libraries(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib")
    }

    /// Returns how to link for a machine, or the reason why that is impossible. Programs with musl have half the size,
    /// and Rust's target includes all that linking needs. The static library of glibc is on most machines with a
    /// compiler.
    pub(crate) fn link_mode(&self, machine: &str) -> Result<LinkMode, String> {
        self.musl(machine).or_else(|| self.glibc(machine)).ok_or_else(|| {
            format!("the toolchain of its build has no {machine}-unknown-linux-musl and no static glibc for {machine}")
        })
    }

    fn musl(&self, machine: &str) -> Option<LinkMode> {
        let target = format!("{machine}-unknown-linux-musl");
        let mut flags = Vec::new();
        if self.libraries().join(&self.host).join("bin/rust-lld").exists() {
            flags.extend(["-Clinker=rust-lld".to_owned(), "-Clink-self-contained=yes".to_owned()]);
        } else if !self.is_host(machine) {
            return None;
        }
        self.installed(&target).then_some(LinkMode { target, flags })
    }

    fn glibc(&self, machine: &str) -> Option<LinkMode> {
        let target = format!("{machine}-unknown-linux-gnu");
        // The name of the cross linker in Debian and other distributions.
        let linker = if self.is_host(machine) { "cc".to_owned() } else { format!("{machine}-linux-gnu-gcc") };
        // A compiler prints the bare name of a file that it does not find.
        let library = Command::new(&linker).arg("-print-file-name=libc.a").output().ok()?.stdout;
        let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
        if !self.is_host(machine) {
            flags.push(format!("-Clinker={linker}"));
        }
        (library.starts_with(b"/") && self.installed(&target)).then_some(LinkMode { target, flags })
    }

    fn is_host(&self, machine: &str) -> bool {
        self.host.split('-').next() == Some(machine)
    }

    fn installed(&self, target: &str) -> bool {
        self.libraries().join(target).join("lib").exists()
    }
}
