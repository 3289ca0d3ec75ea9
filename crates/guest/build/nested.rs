//! Runs cargo inside a cargo build.

use std::{
    env, fs,
    io::{self, ErrorKind},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

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

/// A workspace with the program for guests.
pub(crate) struct Nested {
    /// The directory of the workspace, which is made on the first build.
    pub(crate) workspace: PathBuf,
    /// The package's directory with the manifests and sources.
    pub(crate) sources: PathBuf,
    /// A directory for unfinished files, on the file system of `workspace`.
    pub(crate) scratch: PathBuf,
}

impl Nested {
    /// Returns the path of the program that was built, or the output of cargo or another reason for a failure.
    pub(crate) fn build(&self, mode: &LinkMode) -> Result<PathBuf, String> {
        self.arrange().map_err(|error| format!("{}: {error}", self.workspace.display()))?;
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_none_or(is_of_the_outer_build)) {
            cargo.env_remove(name);
        }
        let target_directory = self.workspace.join("target");
        cargo
            .current_dir(&self.workspace)
            .args(["build", "--locked", "--quiet", "--release", "--bin", "vmroot-init"])
            .args(["--target", &mode.target, "--target-dir"])
            .arg(&target_directory)
            .env("CARGO_ENCODED_RUSTFLAGS", Self::flags(mode).join("\u{1f}"));
        let output = cargo.output().map_err(|error| format!("cargo does not start: {error}"))?;
        if output.status.success() {
            return Ok(target_directory.join(&mode.target).join("release/vmroot-init"));
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Makes the workspace: `CRATE/Cargo.toml` from `CRATE/manifest.toml`, since a package has no directories with
    /// manifests of others, and links to the sources.
    fn arrange(&self) -> io::Result<()> {
        fs::create_dir_all(&self.workspace)?;
        self.copy("workspace.toml", "Cargo.toml")?;
        self.copy("Cargo.lock", "Cargo.lock")?;
        for entry in fs::read_dir(&self.sources)? {
            let entry = entry?;
            if !entry.path().is_dir() {
                continue;
            }
            let name = PathBuf::from(entry.file_name());
            fs::create_dir_all(self.workspace.join(&name))?;
            self.copy(name.join("manifest.toml"), name.join("Cargo.toml"))?;
            match symlink(entry.path().join("src"), self.workspace.join(&name).join("src")) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Copies a file of the sources to the workspace, unless it is there. Another build may be reading it.
    fn copy(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
        let bytes = fs::read(self.sources.join(from))?;
        let to = self.workspace.join(to);
        if fs::read(&to).is_ok_and(|present| present == bytes) {
            return Ok(());
        }
        let unfinished = self.scratch.join("unfinished");
        fs::write(&unfinished, bytes)?;
        fs::rename(unfinished, to)
    }

    fn flags(mode: &LinkMode) -> Vec<String> {
        // A program at a fixed address needs no relocation. An init gains nothing from address randomisation.
        let mut flags = vec!["-Crelocation-model=static".to_owned()];
        flags.extend(mode.flags.iter().cloned());
        // Panic messages contain source paths. Those of the workspace are relative; remapping makes the program
        // independent of cargo's directory, too.
        let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
        let cargo_home = cargo_home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
        flags.extend(cargo_home.map(|home| format!("--remap-path-prefix={}=cargo", home.display())));
        flags
    }
}

fn is_of_the_outer_build(name: &str) -> bool {
    let cargos = name.starts_with("CARGO_") && !INHERITED.iter().any(|inherited| name.starts_with(inherited));
    cargos || name.starts_with("__CARGO") || name.starts_with("DEP_") || NOT_INHERITED.contains(&name)
}
