//! Programs of a newer Debian than the machine's: a small root with cosign, skopeo and podman, for tests.
//!
//! `target/newer` is entered by chroot. `vmroot_testkit::newer` has the tests' side of it.

use std::{fs, path::PathBuf};

use anyhow::Result;

use crate::{fresh, process, workspace};

/// The release of Debian. It is the first one that has cosign.
const SUITE: &str = "trixie";
const PACKAGES: &str = "ca-certificates,cosign,podman,skopeo";

/// Makes the root if it is missing. If that fails, reports it; the tests that need the root are then skipped.
pub fn prepare() {
    if let Err(error) = make() {
        eprintln!("missing: programs of Debian {SUITE}, whose tests are skipped: {error:#}");
    }
}

/// Returns the directory of the root.
pub fn directory() -> PathBuf {
    workspace::target().join("newer")
}

fn make() -> Result<()> {
    let root = directory();
    if root.exists() {
        return Ok(());
    }
    eprintln!("making a small Debian {SUITE} with {PACKAGES}, in about two minutes: {}", root.display());
    let partial = root.with_extension("partial");
    if partial.exists() {
        process::run(std::process::Command::new("rm").args(["-rf", "--one-file-system"]).arg(&partial))?;
    }
    fs::create_dir_all(workspace::target())?;
    fresh::bootstrap_of(SUITE, &partial, PACKAGES)?;
    Ok(fs::rename(&partial, &root)?)
}
