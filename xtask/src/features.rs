//! `cargo xtask features`: a program outside the workspace for each feature of `vmroot` alone.
//!
//! The program of a feature is its example in `crates/vmroot/examples`. It is built with this feature only, which finds
//! code that compiles only because another feature is on, and run where this machine can.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use vmroot_testkit::registry::Registry;

use crate::{process, testdata, workspace};

/// The features, and the examples that use them. The empty one stands for no feature.
const FEATURES: [(&str, &str); 11] = [
    ("", "export"),
    ("registry", "pull"),
    ("trust", "trust"),
    ("encryption", "encryption"),
    ("fuse", "fuse"),
    ("virtiofs", "virtiofs"),
    ("kernel-mount", "kernel_mount"),
    ("erofs", "erofs"),
    ("ext4", "ext4"),
    ("disk-serve", "disk_serve"),
    ("boot", "boot"),
];

/// Builds and runs all programs.
pub fn run() -> Result<()> {
    let registry = Registry::start();
    registry.put_layout(&testdata::demo_layout(), "demo").context("cannot serve testdata/")?;
    let image = format!("{}/demo", registry.host());
    let directory = workspace::target().join("features");
    for (feature, example) in FEATURES {
        let package = write_package(&directory, feature, example)?;
        let mut build = workspace::cargo();
        build.current_dir(&package).env("CARGO_TARGET_DIR", directory.join("target"));
        match example {
            // Its program needs a kernel and a VMM.
            "boot" => process::run(build.args(["build", "--quiet"]))?,
            "pull" => process::run(build.args(["run", "--quiet", &image]))?,
            "fuse" if !Path::new("/dev/fuse").exists() => process::run(build.args(["build", "--quiet"]))?,
            "kernel_mount" if !may_mount() => process::run(build.args(["build", "--quiet"]))?,
            _ => process::run(build.args(["run", "--quiet"]))?,
        }
    }
    Ok(())
}

/// Returns the faults of the README's table of features.
pub fn faults() -> Result<Vec<String>> {
    let readme = fs::read_to_string(workspace::root().join("README.md"))?;
    let none = crates("")?;
    let mut faults = Vec::new();
    for (feature, _) in FEATURES {
        let row = match feature {
            "" => format!("| none | {} |", none.len()),
            _ => format!("| `{feature}` | {} |", crates(feature)?.difference(&none).count()),
        };
        if !readme.contains(&row) {
            faults.push(format!("README.md has no row that begins {row}"));
        }
    }
    Ok(faults)
}

/// Returns the names of the crates that `vmroot` depends on with one feature, and its own.
fn crates(feature: &str) -> Result<BTreeSet<String>> {
    let mut tree = workspace::cargo();
    tree.args(["tree", "--package", "vmroot", "--no-default-features", "--features", feature]);
    tree.args(["--edges", "normal", "--prefix", "none", "--format", "{p}", "--locked"]);
    let tree = process::capture(&mut tree)?;
    // A line is NAME VERSION, and for a crate of the workspace its path.
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    Ok(names.map(str::to_owned).collect())
}

/// Writes a package that depends on `vmroot` with one feature, and returns its directory.
fn write_package(directory: &Path, feature: &str, example: &str) -> Result<PathBuf> {
    let facade = workspace::root().join("crates/vmroot");
    let package = directory.join(example);
    fs::create_dir_all(package.join("src"))?;
    let features = if feature.is_empty() { String::new() } else { format!("{feature:?}") };
    let manifest = format!(
        "[package]\nname = \"uses-{}\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\nvmroot = {{ path = {:?}, \
         default-features = false, features = [{features}] }}\n",
        example.replace('_', "-"),
        facade,
    );
    fs::write(package.join("Cargo.toml"), manifest)?;
    fs::copy(workspace::root().join("Cargo.lock"), package.join("Cargo.lock"))?;
    let program = facade.join("examples").join(format!("{example}.rs"));
    ensure!(program.is_file(), "{}: missing", program.display());
    fs::copy(program, package.join("src/main.rs"))?;
    if !package.join("testdata").exists() {
        symlink(workspace::root().join("testdata"), package.join("testdata"))?;
    }
    if package.join("try").exists() {
        fs::remove_dir_all(package.join("try"))?;
    }
    Ok(package)
}

/// Returns whether this user may mount file systems.
fn may_mount() -> bool {
    process::capture(std::process::Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}
