//! Builds `vmroot-init` for guests of each architecture that the toolchain supports, and writes the table `inits.rs`.
//!
//! The program is for other targets than the crates around it and has its own profile. Cargo has no stable way to
//! depend on such a program, so this script runs cargo again, on a workspace of its own. The workspace's manifests,
//! lock file and sources are in `init/`, which is part of the package, so a build from a registry's copy works like a
//! build in the checkout. `cargo xtask init` writes that directory.
//!
//! An architecture that the toolchain cannot link for has no program, and the reason is in the table. If the toolchain
//! can link for it but the program cannot be built, this build fails. `VMROOT_INIT_AMD64` and `VMROOT_INIT_ARM64`
//! replace the program by a file that was built elsewhere, or leave it out if they are empty.

#![expect(clippy::print_stdout, reason = "build scripts talk to cargo on the standard output")]

mod nested;
mod toolchain;

use std::{
    env,
    fmt::Write,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use nested::Nested;
use toolchain::Toolchain;

/// The architectures of guests, by their names in images and in Rust's targets.
const ARCHITECTURES: [(&str, &str); 2] = [("amd64", "x86_64"), ("arm64", "aarch64")];

fn main() {
    let sources = path("CARGO_MANIFEST_DIR").join("init");
    let toolchain = Toolchain::new();
    rerun_on_changes(&sources, &toolchain);
    let out = path("OUT_DIR");
    let nested = Nested { workspace: workspace(&out, &sources), sources, scratch: out.clone() };
    let mut table = "[\n".to_owned();
    for (architecture, machine) in ARCHITECTURES {
        let entry = match init(&nested, &toolchain, architecture, machine) {
            Ok(init) => {
                // A copy for this build, because other builds may replace the original.
                fs::copy(init, out.join(architecture)).expect("OUT_DIR takes files");
                format!("Ok(include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{architecture}\")))")
            }
            Err(reason) => format!("Err({reason:?})"),
        };
        writeln!(table, "    (\"{architecture}\", {entry}),").expect("a string takes everything");
    }
    table.push(']');
    fs::write(out.join("inits.rs"), table).expect("cargo made OUT_DIR for this");
}

/// Returns the path of the program for guests of an architecture, or the reason why there is none.
fn init(nested: &Nested, toolchain: &Toolchain, architecture: &str, machine: &str) -> Result<PathBuf, String> {
    let variable = format!("VMROOT_INIT_{}", architecture.to_uppercase());
    println!("cargo::rerun-if-env-changed={variable}");
    if let Some(file) = env::var_os(&variable) {
        if file.is_empty() {
            return Err(format!("{variable} was empty in its build"));
        }
        println!("cargo::rerun-if-changed={}", Path::new(&file).display());
        return Ok(file.into());
    }
    if env::var_os("DOCS_RS").is_some() {
        return Err("it was built for its documentation only".to_owned());
    }
    let mode = toolchain.link_mode(machine)?;
    nested.build(&mode).map_err(|output| {
        for line in output.lines() {
            println!("cargo::error={line}");
        }
        println!("cargo::error=vmroot-init for {architecture} cannot be built for {}", mode.target);
        println!("cargo::error=set {variable} to a file with the program, or to nothing to leave it out");
        "its build failed".to_owned()
    })
}

/// Returns the directory of the program's workspace. It lies beside those of the profiles and not in OUT_DIR: each
/// profile and clippy have their own OUT_DIR, but can share this program. Copies of this package have their own.
fn workspace(out: &Path, sources: &Path) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    sources.hash(&mut hasher);
    // OUT_DIR is target/PROFILE/build/PACKAGE/out.
    let target_directory = out.ancestors().nth(4).unwrap_or(out);
    target_directory.join("guest-init").join(format!("{:016x}", hasher.finish()))
}

fn rerun_on_changes(sources: &Path, toolchain: &Toolchain) {
    println!("cargo::rerun-if-changed={}", sources.display());
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-env-changed=DOCS_RS");
    // rustup writes this file when a target is added. A missing file would always count as changed.
    let components = toolchain.libraries().join("components");
    if components.exists() {
        println!("cargo::rerun-if-changed={}", components.display());
    }
}

fn path(variable: &str) -> PathBuf {
    env::var_os(variable).expect("cargo sets it for build scripts").into()
}
