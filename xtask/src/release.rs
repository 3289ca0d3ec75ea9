//! `cargo xtask release-check`: what must hold before the crates are published.
//!
//! Licences, bans, sources and duplicate versions by cargo-deny; each package as a registry would build it, and the init of
//! a program outside the workspace; and the public API against the last tag by cargo-semver-checks.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{features, process, workspace};

/// Subcommands of cargo in their packages, with the version to install.
const DENY: (&str, &str) = ("deny", "0.20.2");
const SEMVER_CHECKS: (&str, &str) = ("semver-checks", "0.51.0");

/// A program that depends on the package of the init, and prints the length of the one for this machine.
const OUTSIDE: [(&str, &str); 2] = [
    (
        "Cargo.toml",
        "[package]\nname = \"outside\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\nvmroot-guest = { path = \"vmroot-guest\" }\n\n[workspace]\n",
    ),
    (
        "src/main.rs",
        "fn main() {\n    let host = if cfg!(target_arch = \"aarch64\") { \"arm64\" } else { \"amd64\" };\n    \
         println!(\"{} bytes\", vmroot_guest::init_for(host).unwrap().len());\n}\n",
    ),
];

/// Runs all checks.
pub fn run() -> Result<()> {
    deny()?;
    manifests()?;
    package()?;
    outside()?;
    features::run()?;
    semver()
}

/// Returns a subcommand of cargo, which cargo builds if it is missing.
fn tool((subcommand, version): (&str, &str)) -> Result<Command> {
    let package = format!("cargo-{subcommand}");
    let directory = workspace::target().join("tools");
    let mut program = directory.join("bin").join(&package);
    if let Some(installed) = process::find(&package) {
        program = installed;
    } else if !program.exists() {
        let mut install = workspace::cargo();
        install.args(["install", "--locked", "--quiet", &package, "--version", version, "--root"]).arg(&directory);
        process::run(&mut install)?;
    }
    let mut tool = Command::new(program);
    tool.current_dir(workspace::root()).arg(subcommand);
    Ok(tool)
}

/// Checks licences, bans, sources and duplicates, and advisories if the database can be fetched.
fn deny() -> Result<()> {
    let deny = |arguments: &[&str]| process::run(tool(DENY)?.arg("--all-features").args(arguments));
    deny(&["check", "--hide-inclusion-graph", "licenses", "bans", "sources"])?;
    if let Err(error) = deny(&["fetch", "db"]) {
        eprintln!("NOT CHECKED: advisories, because their database cannot be fetched: {error:#}");
        return Ok(());
    }
    deny(&["check", "--disable-fetch", "advisories"])
}

/// Checks the fields that a registry wants, in the manifest of each published crate.
fn manifests() -> Result<()> {
    let mut faults = Vec::new();
    for package in published()? {
        let name = package["name"].as_str().unwrap_or_default().to_owned();
        for field in ["description", "license", "repository", "readme", "keywords", "categories"] {
            let value = &package[field];
            if value.is_null() || value.as_array().is_some_and(Vec::is_empty) {
                faults.push(format!("{name} has no {field}"));
            }
        }
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let is_path = !dependency["path"].is_null() && dependency["kind"].is_null();
            if is_path && dependency["req"].as_str() == Some("*") {
                faults.push(format!("{name} depends on {} without a version", dependency["name"]));
            }
        }
    }
    if !faults.is_empty() {
        bail!("manifests:\n  {}", faults.join("\n  "));
    }
    Ok(())
}

/// Builds each package from what a registry would get. Cargo takes packages of the workspace for the registry's.
fn package() -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["package", "--allow-dirty", "--quiet"]);
    for package in published()? {
        cargo.args(["--package", package["name"].as_str().context("a package without a name")?]);
    }
    process::run(&mut cargo)
}

/// Builds and runs a program outside the workspace, which has the init of the package `vmroot-guest`.
fn outside() -> Result<()> {
    let directory = workspace::target().join("outside");
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(directory.join("src"))?;
    for (name, text) in OUTSIDE {
        fs::write(directory.join(name), text)?;
    }
    let archive = package_of("vmroot-guest")?;
    process::run(Command::new("tar").current_dir(&directory).arg("-xzf").arg(&archive))?;
    let unpacked = archive.file_stem().context("a package without a name")?;
    fs::rename(directory.join(unpacked), directory.join("vmroot-guest"))?;
    process::run(workspace::cargo().current_dir(&directory).env("CARGO_TARGET_DIR", "target").args(["run", "--quiet"]))
}

/// Returns the path of a package that `cargo package` made.
fn package_of(name: &str) -> Result<PathBuf> {
    let published = published()?;
    let package = published.iter().find(|package| package["name"] == name).context("it is not published")?;
    let version = package["version"].as_str().context("a package without a version")?;
    Ok(workspace::target().join("package").join(format!("{name}-{version}.crate")))
}

/// Compares the public API of the facade with that of the last tag, if there is one.
fn semver() -> Result<()> {
    let mut tags = Command::new("git");
    tags.current_dir(workspace::root()).args(["tag", "--merged", "HEAD", "--sort=-v:refname"]);
    let tags = process::capture(&mut tags)?;
    let Some(tag) = tags.lines().next() else {
        eprintln!("NOT CHECKED: the public API, because there is no tag to compare with");
        return Ok(());
    };
    process::run(tool(SEMVER_CHECKS)?.args(["--package", "vmroot", "--baseline-rev", tag]))
}

/// Returns the packages of the workspace that may be published.
fn published() -> Result<Vec<Value>> {
    let mut metadata = workspace::cargo();
    metadata.args(["metadata", "--no-deps", "--format-version", "1", "--quiet"]);
    let metadata: Value = serde_json::from_str(&process::capture(&mut metadata)?)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    // `publish = false` is an empty list of registries.
    let may = |package: &&Value| package["publish"].as_array().is_none_or(|registries| !registries.is_empty());
    Ok(packages.iter().filter(may).cloned().collect())
}
