//! `cargo xtask release-check`: what must hold before the crates are published.
//!
//! Licences, bans, sources and duplicate versions by cargo-deny; the public API against the last tag by
//! cargo-semver-checks; and each package as a registry would build it.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{process, workspace};

/// Programs that cargo builds from its registry when they are missing.
const TOOLS: [(&str, &str); 2] = [("cargo-deny", "0.18"), ("cargo-semver-checks", "0.44")];

/// Runs all checks.
pub fn run() -> Result<()> {
    for (tool, version) in TOOLS {
        if process::find(tool).is_none() {
            process::run(workspace::cargo().args(["install", "--locked", "--quiet", tool, "--version", version]))?;
        }
    }
    deny()?;
    manifests()?;
    package()?;
    semver()
}

/// Checks licences, bans, sources and duplicates, and advisories if the database is available.
fn deny() -> Result<()> {
    let deny =
        |checks: &[&str]| process::run(workspace::cargo().args(["deny", "--all-features", "check"]).args(checks));
    deny(&["licenses", "bans", "sources"])?;
    if let Err(error) = deny(&["advisories"]) {
        eprintln!("advisories are not checked: {error:#}");
    }
    Ok(())
}

/// Checks that the manifest of each published crate has the fields that a registry requires.
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

/// Builds each package from what a registry would get.
fn package() -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["package", "--allow-dirty", "--quiet"]);
    for package in published()? {
        cargo.args(["--package", package["name"].as_str().context("a package without a name")?]);
    }
    process::run(&mut cargo)
}

/// Compares the public API of the facade with the last tag, if there is one.
fn semver() -> Result<()> {
    let tag = process::capture(Command::new("git").current_dir(workspace::root()).args(["tag", "--sort=-v:refname"]))?;
    let Some(tag) = tag.lines().next() else {
        eprintln!("there is no tag, so there is no API to compare with");
        return Ok(());
    };
    process::run(workspace::cargo().args(["semver-checks", "--package", "vmroot", "--baseline-rev", tag]))
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
