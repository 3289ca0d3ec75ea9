//! Builds `vmroot-init` for guests of each architecture that this toolchain can build for, and writes `inits.rs`, the
//! table of what there is.
//!
//! It is a program for another target than the crates around it, with a profile of its own. Cargo has no stable way to
//! depend on such a thing, so cargo is run once more, with a target directory of its own: the outer one is locked. It is
//! not in OUT_DIR but beside the profiles, of which each has an OUT_DIR, and clippy another, for the same program.
//!
//! What cannot be built is left out, with a warning: the rest of vmroot works without, and says at run time what is
//! missing. A mistake in the source is no such case: the workspace's own build of the crate fails on it.

#![expect(clippy::print_stdout, reason = "that is how build scripts speak to cargo")]

mod nested;
mod toolchain;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use nested::Nested;
use toolchain::Toolchain;

/// Architectures of guests, by their names in images and in Rust's targets.
const ARCHITECTURES: [(&str, &str); 2] = [("amd64", "x86_64"), ("arm64", "aarch64")];

fn main() {
    let workspace = workspace();
    let toolchain = Toolchain::new();
    rerun_on_changes(&workspace, &toolchain);
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it for build scripts"));
    // target/PROFILE/build/PACKAGE/out
    let target_directory = out.ancestors().nth(4).unwrap_or(&out).join("guest-init");
    let nested = Nested { workspace: &workspace, target_directory };
    let mut table = "[\n".to_owned();
    for (architecture, machine) in ARCHITECTURES {
        let init = build(&nested, &toolchain, architecture, machine);
        let bytes = init.map_or("None".to_owned(), |init| {
            // A copy of this build's own: others may build in the same place.
            fs::copy(init, out.join(architecture)).expect("OUT_DIR takes files");
            format!("Some(include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{architecture}\")))")
        });
        writeln!(table, "    (\"{architecture}\", {bytes}),").expect("a string takes everything");
    }
    table.push(']');
    fs::write(out.join("inits.rs"), table).expect("cargo made OUT_DIR for this");
}

/// The program for guests of an architecture, by the first way that works.
fn build(nested: &Nested<'_>, toolchain: &Toolchain, architecture: &str, machine: &str) -> Option<PathBuf> {
    toolchain.ways(machine).find_map(|way| match nested.build(&way) {
        Ok(program) => Some(program),
        Err(reason) => {
            println!("cargo::warning=no vmroot-init for {architecture} by {}: {reason}", way.target);
            None
        }
    })
}

fn workspace() -> PathBuf {
    let own = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for build scripts"));
    own.ancestors().nth(2).expect("crates are two directories below the workspace").to_owned()
}

fn rerun_on_changes(workspace: &Path, toolchain: &Toolchain) {
    let crates = ["crates/guest-init", "crates/users"];
    let sources = crates.iter().flat_map(|name| [format!("{name}/src"), format!("{name}/Cargo.toml")]);
    let sources = sources.chain(["crates/guest/build", "Cargo.toml", "Cargo.lock"].map(str::to_owned));
    for source in sources {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    // rustup writes this when a target is added. One that does not exist would count as changed, always.
    let components = toolchain.libraries().join("components");
    if components.exists() {
        println!("cargo::rerun-if-changed={}", components.display());
    }
}
