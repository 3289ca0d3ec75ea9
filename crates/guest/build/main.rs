//! Builds `vmroot-init` for guests of each architecture that the toolchain supports, and writes the table `inits.rs`.
//!
//! The program is for other targets than the crates around it and has its own profile. Cargo has no stable way to
//! depend on such a program, so this script runs cargo again, with a separate target directory because the outer one is
//! locked. That directory lies beside those of the profiles and not in OUT_DIR: each profile and clippy have their own
//! OUT_DIR, but can share this program.
//!
//! Programs that cannot be built are left out with a warning: the rest of vmroot works without them, and reports at run
//! time what is missing. A mistake in the source is not hidden by this, because the workspace's own build of the crate
//! fails.

#![expect(clippy::print_stdout, reason = "build scripts talk to cargo on the standard output")]

mod nested;
mod toolchain;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use nested::Nested;
use toolchain::Toolchain;

/// The architectures of guests, by their names in images and in Rust's targets.
const ARCHITECTURES: [(&str, &str); 2] = [("amd64", "x86_64"), ("arm64", "aarch64")];

fn main() {
    let workspace = workspace();
    let toolchain = Toolchain::new();
    rerun_on_changes(&workspace, &toolchain);
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it for build scripts"));
    // OUT_DIR is target/PROFILE/build/PACKAGE/out.
    let target_directory = out.ancestors().nth(4).unwrap_or(&out).join("guest-init");
    let nested = Nested { workspace: &workspace, target_directory };
    let mut table = "[\n".to_owned();
    for (architecture, machine) in ARCHITECTURES {
        let init = build(&nested, &toolchain, architecture, machine);
        let bytes = init.map_or("None".to_owned(), |init| {
            // A copy for this build, because other builds may replace the original.
            fs::copy(init, out.join(architecture)).expect("OUT_DIR takes files");
            format!("Some(include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{architecture}\")))")
        });
        writeln!(table, "    (\"{architecture}\", {bytes}),").expect("a string takes everything");
    }
    table.push(']');
    fs::write(out.join("inits.rs"), table).expect("cargo made OUT_DIR for this");
}

/// Builds the program for guests of an architecture in the first mode that works.
fn build(nested: &Nested<'_>, toolchain: &Toolchain, architecture: &str, machine: &str) -> Option<PathBuf> {
    toolchain.link_modes(machine).find_map(|mode| match nested.build(&mode) {
        Ok(program) => Some(program),
        Err(reason) => {
            println!("cargo::warning=no vmroot-init for {architecture} by {}: {reason}", mode.target);
            None
        }
    })
}

fn workspace() -> PathBuf {
    let own = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for build scripts"));
    own.ancestors().nth(2).expect("crates are two directories below the workspace").to_owned()
}

fn rerun_on_changes(workspace: &Path, toolchain: &Toolchain) {
    let crates = ["crates/guest-init", "crates/guest-config", "crates/users"];
    let sources = crates.iter().flat_map(|name| [format!("{name}/src"), format!("{name}/Cargo.toml")]);
    let sources = sources.chain(["crates/guest/build", "Cargo.toml", "Cargo.lock"].map(str::to_owned));
    for source in sources {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    // rustup writes this file when a target is added. A missing file would always count as changed.
    let components = toolchain.libraries().join("components");
    if components.exists() {
        println!("cargo::rerun-if-changed={}", components.display());
    }
}
