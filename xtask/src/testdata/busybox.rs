//! busybox for both architectures, from Debian's package `busybox-static`.

use std::{fs, process::Command};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use vmroot_model::Digest;

use crate::{process, workspace};

const SUITE: &str = "bookworm";
const MIRROR: &str = "http://deb.debian.org/debian";

/// The source of one architecture's program.
pub struct DebianBusybox {
    debian: &'static str,
    variant: Option<&'static str>,
    digest: &'static str,
}

/// The program for x86-64.
pub const AMD64: DebianBusybox = DebianBusybox {
    debian: "amd64",
    variant: None,
    digest: "sha256:3d9f2889d6782537624a4e1a10e68a2ddd53e0ee8bac02676f27308f42ec6bf6",
};

/// The program for AArch64.
pub const ARM64: DebianBusybox = DebianBusybox {
    debian: "arm64",
    variant: Some("v8"),
    digest: "sha256:61781806ad3650b0b9d2b3fc6971e2bffdca967af1a95375abd0578bafff14fb",
};

/// A program and its platform.
pub struct Busybox {
    /// The members `architecture`, `os` and possibly `variant`, as in an image config or an index.
    pub platform: Value,
    /// The bytes of the executable.
    pub program: Vec<u8>,
}

impl DebianBusybox {
    /// Downloads and unpacks the package for any architecture, without installing it.
    pub fn fetch(&self) -> Result<Busybox> {
        let tree = workspace::target().join("testdata").join(self.debian);
        if tree.exists() {
            fs::remove_dir_all(&tree)?;
        }
        fs::create_dir_all(&tree)?;
        let architecture = format!("--architectures={}", self.debian);
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap.args(["--quiet", "--variant=extract", "--include=busybox-static", &architecture, SUITE]);
        process::run(mmdebstrap.arg(&tree).arg(MIRROR))?;
        let program = fs::read(tree.join("bin/busybox"))?;
        let found = Digest::of(&program).to_string();
        ensure!(
            found == self.digest,
            "Debian has another busybox for {} now, {found}: change the digest in {} to use it",
            self.debian,
            file!()
        );
        let mut platform = json!({ "architecture": self.debian, "os": "linux" });
        if let Some(variant) = self.variant {
            platform["variant"] = variant.into();
        }
        Ok(Busybox { platform, program })
    }
}
