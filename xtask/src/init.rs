//! `cargo xtask init`: the sources of the init in the package `vmroot-guest`.
//!
//! The build script of `vmroot-guest` builds the init in a workspace of its own, which must be in the package. For each
//! crate of the init, `crates/guest/init` has a link to the sources, which cargo replaces by the files when it makes a
//! package, and a manifest without inherited values and without parts that only tests need. The lock file has the
//! versions of this workspace's.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs::{self, read_link},
    io::ErrorKind,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{process, workspace};

/// The package of the init.
const INIT: &str = "vmroot-guest-init";

/// The first line of a generated file.
const GENERATED: &str = "# Written by `cargo xtask init`.\n";

/// Writes the directory, without files that are not generated.
pub fn write() -> Result<()> {
    let directory = directory();
    let crates = crates()?;
    for entry in fs::read_dir(&directory)? {
        let path = entry?.path();
        if path.is_dir() {
            fs::remove_dir_all(path)?;
        }
    }
    for (name, manifest) in &crates {
        fs::create_dir_all(directory.join(name))?;
        fs::write(directory.join(name).join("manifest.toml"), manifest)?;
        symlink(sources(name), directory.join(name).join("src"))?;
    }
    fs::write(directory.join("Cargo.lock"), lock(&crates)?)?;
    Ok(())
}

/// Checks that the directory is as [`write()`] would make it.
pub fn check() -> Result<()> {
    let directory = directory();
    let crates = crates()?;
    let mut present = Vec::new();
    for entry in fs::read_dir(&directory)? {
        let path = entry?.path();
        if path.is_dir() {
            present.extend(path.file_name().and_then(|name| name.to_str()).map(str::to_owned));
        }
    }
    present.sort();
    let mut equal = present.iter().eq(crates.keys());
    for (name, manifest) in &crates {
        equal &= is(&directory.join(name).join("manifest.toml"), manifest)?;
        equal &= read_link(directory.join(name).join("src")).is_ok_and(|link| link == sources(name));
    }
    equal &= is(&directory.join("Cargo.lock"), &lock(&crates)?)?;
    ensure!(equal, "crates/guest/init differs from the init's crates: run `cargo xtask init`");
    Ok(())
}

fn is(file: &Path, text: &str) -> Result<bool> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        read => Ok(read.with_context(|| file.display().to_string())? == text),
    }
}

fn directory() -> PathBuf {
    workspace::root().join("crates/guest/init")
}

/// Returns the target of the link to a crate's sources.
fn sources(name: &str) -> PathBuf {
    Path::new("../../..").join(name).join("src")
}

/// Returns the names of the directories of the init's crates, and their manifests.
fn crates() -> Result<BTreeMap<String, String>> {
    let mut metadata = workspace::cargo();
    metadata.args(["metadata", "--no-deps", "--format-version", "1", "--quiet"]);
    let metadata: Value = serde_json::from_str(&process::capture(&mut metadata)?)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let mut crates = BTreeMap::new();
    let mut pending = vec![INIT.to_owned()];
    while let Some(name) = pending.pop() {
        let package = packages.iter().find(|package| package["name"] == *name).context("a crate is missing")?;
        let directory = Path::new(text(package, "manifest_path")?).parent().and_then(Path::file_name);
        let directory = directory.and_then(|name| name.to_str()).context("a manifest has no directory")?;
        let (manifest, used) = manifest(package)?;
        if crates.insert(directory.to_owned(), manifest).is_none() {
            pending.extend(used);
        }
    }
    Ok(crates)
}

/// Returns a manifest with what a build needs, and the packages of the workspace that it uses.
fn manifest(package: &Value) -> Result<(String, Vec<String>)> {
    let mut manifest = GENERATED.to_owned() + "[package]\n";
    for field in ["name", "version", "edition", "rust_version"] {
        writeln!(manifest, "{} = {:?}", field.replace('_', "-"), text(package, field)?)?;
    }
    for target in package["targets"].as_array().into_iter().flatten() {
        match target["kind"][0].as_str() {
            Some("lib" | "test" | "example" | "bench") => {}
            Some("bin") => {
                writeln!(manifest, "\n[[bin]]\nname = {:?}\npath = \"src/main.rs\"", text(target, "name")?)?;
            }
            kind => bail!("{}: a target of kind {kind:?}, for which `cargo xtask init` has no rule", package["name"]),
        }
    }
    manifest += "\n[dependencies]\n";
    let mut used = Vec::new();
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let is_special = dependency["optional"] == true || !dependency["target"].is_null();
        match dependency["kind"].as_str() {
            Some("dev") => continue,
            None if !is_special && dependency["rename"].is_null() => {}
            _ => bail!("{}: `cargo xtask init` has no rule for {dependency}", package["name"]),
        }
        let name = text(dependency, "name")?;
        let source = match dependency["path"].as_str() {
            Some(path) => {
                used.push(name.to_owned());
                let directory = Path::new(path).file_name().and_then(|name| name.to_str());
                format!("path = \"../{}\"", directory.context("a path without a name")?)
            }
            None => format!("version = {}", dependency["req"]),
        };
        let defaults = if dependency["uses_default_features"] == true { "" } else { ", default-features = false" };
        let features = dependency["features"].as_array().filter(|features| !features.is_empty());
        let features = features.map(|_| format!(", features = {}", dependency["features"])).unwrap_or_default();
        writeln!(manifest, "{name} = {{ {source}{defaults}{features} }}")?;
    }
    Ok((manifest, used))
}

/// Returns the part of the workspace's lock file that the init needs.
fn lock(crates: &BTreeMap<String, String>) -> Result<String> {
    let scratch = workspace::target().join("init-lock");
    for (name, manifest) in crates {
        fs::create_dir_all(scratch.join(name))?;
        fs::write(scratch.join(name).join("Cargo.toml"), manifest)?;
        let link = scratch.join(name).join("src");
        if read_link(&link).is_err() {
            symlink(workspace::root().join("crates").join(name).join("src"), link)?;
        }
    }
    fs::copy(directory().join("workspace.toml"), scratch.join("Cargo.toml"))?;
    fs::copy(workspace::root().join("Cargo.lock"), scratch.join("Cargo.lock"))?;
    let mut update = workspace::cargo();
    update.current_dir(&scratch).args(["update", "--workspace", "--offline", "--quiet"]);
    process::capture(&mut update)?;
    let lock = fs::read_to_string(scratch.join("Cargo.lock"))?;
    fs::remove_dir_all(&scratch)?;
    Ok(lock)
}

fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str> {
    value[field].as_str().with_context(|| format!("cargo metadata has no {field} in {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_has_what_a_build_needs() {
        let package = serde_json::json!({
            "name": "vmroot-guest-init", "version": "1.2.3", "edition": "2024", "rust_version": "1.95",
            "targets": [{ "kind": ["lib"], "name": "x" }, { "kind": ["bin"], "name": "vmroot-init" }],
            "dependencies": [
                { "name": "rustix", "req": "^1.1", "uses_default_features": false, "features": ["fs"] },
                { "name": "vmroot-users", "req": "^1", "path": "/x/users", "uses_default_features": true },
                { "name": "proptest", "kind": "dev" },
            ],
        });
        let (manifest, used) = manifest(&package).unwrap();
        assert!(manifest.contains("[[bin]]\nname = \"vmroot-init\"\n"), "{manifest}");
        assert!(
            manifest.contains("\nrustix = { version = \"^1.1\", default-features = false, features = [\"fs\"] }\n")
        );
        assert!(manifest.ends_with("\nvmroot-users = { path = \"../users\" }\n"), "{manifest}");
        assert_eq!(used, ["vmroot-users"]);
    }
}
