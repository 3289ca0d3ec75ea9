//! Runs cargo inside a cargo build.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::toolchain::LinkMode;

/// Variables of the outer cargo that the inner one must not inherit: flags and wrappers for other targets, clippy in
/// place of the compiler, the outer target directory, and settings of this package.
const NOT_INHERITED: [&str; 9] = [
    "RUSTFLAGS",
    "RUSTDOCFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_LINKER",
    "TARGET",
    "HOST",
    "OUT_DIR",
    "CLIPPY_ARGS",
];

/// The `CARGO_` variables, or their prefixes, that concern this machine and not a single build.
const INHERITED: [&str; 7] =
    ["CARGO_HOME", "CARGO_HTTP_", "CARGO_MAKEFLAGS", "CARGO_NET_", "CARGO_REGISTR", "CARGO_SOURCE_", "CARGO_TERM_"];

/// Builds the workspace's program for guests.
pub(crate) struct Nested<'a> {
    pub(crate) workspace: &'a Path,
    pub(crate) target_directory: PathBuf,
}

impl Nested<'_> {
    /// Returns the program's path, or the reason for a failure in one line.
    pub(crate) fn build(&self, mode: &LinkMode) -> Result<PathBuf, String> {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_none_or(is_of_the_outer_build)) {
            cargo.env_remove(name);
        }
        cargo
            .current_dir(self.workspace)
            .args(["build", "--locked", "--quiet", "--package", "vmroot-guest-init", "--profile", "guest"])
            .args(["--target", &mode.target, "--target-dir"])
            .arg(&self.target_directory)
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags(mode).join("\u{1f}"));
        let output = cargo.output().map_err(|error| format!("cargo does not start: {error}"))?;
        if output.status.success() {
            return Ok(self.target_directory.join(&mode.target).join("guest/vmroot-init"));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let error = said.lines().find(|line| line.starts_with("error")).unwrap_or("cargo failed");
        Err(error.to_owned())
    }

    fn flags(&self, mode: &LinkMode) -> Vec<String> {
        // A program at a fixed address needs no relocation. An init gains nothing from address randomisation.
        let mut flags = vec!["-Crelocation-model=static".to_owned()];
        flags.extend(mode.flags.iter().cloned());
        // Panic messages contain source paths. Remapping makes the program independent of the build directory.
        let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
        let cargo_home = cargo_home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
        let places = [Some((self.workspace.to_owned(), "vmroot")), cargo_home.map(|home| (home, "cargo"))];
        flags.extend(
            places.into_iter().flatten().map(|(place, name)| format!("--remap-path-prefix={}={name}", place.display())),
        );
        flags
    }
}

fn is_of_the_outer_build(name: &str) -> bool {
    let cargos = name.starts_with("CARGO_") && !INHERITED.iter().any(|inherited| name.starts_with(inherited));
    cargos || name.starts_with("__CARGO") || name.starts_with("DEP_") || NOT_INHERITED.contains(&name)
}
