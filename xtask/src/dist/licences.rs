//! The licences of the libraries in the program. Most require that their text goes with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Target;
use crate::{process, workspace};

/// The beginnings of the names of files with licences, in lower case.
const NAMES: [&str; 6] = ["license", "licence", "copying", "copyright", "notice", "unlicense"];

/// The directories of C libraries inside crates, which have licences of their own.
const VENDORED: [&str; 4] = ["", "zstd", "xz", "bzip2"];

/// Returns the list of libraries, and each text once.
pub fn text(target: &Target) -> Result<String> {
    let mut metadata = workspace::cargo();
    metadata.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &target.triple]);
    let metadata: Value = serde_json::from_str(&process::capture(&mut metadata)?)?;
    let mut list = "vmroot contains the Rust standard library (MIT OR Apache-2.0), ".to_owned();
    list += match target.is_musl {
        true => "musl (MIT), ",
        false => "the GNU C Library (LGPL-2.1-or-later, whose source is at https://www.gnu.org/software/libc), ",
    };
    list += "and these libraries:\n\n";
    let mut texts = BTreeMap::<String, BTreeSet<String>>::new();
    for package in linked(&metadata)? {
        let field = |name: &str| package[name].as_str().unwrap_or_default();
        writeln!(list, "{} {}: {}", field("name"), field("version"), field("license"))?;
        let directory = Path::new(field("manifest_path")).parent().context("a manifest without a directory")?;
        for file in VENDORED.iter().flat_map(|inner| licences(&directory.join(inner))) {
            let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            texts.entry(text.trim().to_owned()).or_default().insert(field("name").to_owned());
        }
    }
    for (text, packages) in texts {
        let packages: Vec<_> = packages.into_iter().collect();
        write!(list, "\n{}\n{}:\n\n{text}\n", "-".repeat(80), packages.join(", "))?;
    }
    Ok(list)
}

/// Returns the packages outside the workspace that the program contains, sorted by name.
fn linked(metadata: &Value) -> Result<Vec<&Value>> {
    let array = |value: &'static str| metadata[value].as_array().context("cargo metadata lists no packages");
    let packages: BTreeMap<_, _> = array("packages")?.iter().map(|package| (package["id"].as_str(), package)).collect();
    let nodes = metadata["resolve"]["nodes"].as_array().context("cargo metadata resolves nothing")?;
    let nodes: BTreeMap<_, _> = nodes.iter().map(|node| (node["id"].as_str(), node)).collect();
    let program = array("packages")?.iter().find(|package| package["name"] == "vmroot-cli");
    let mut pending = vec![program.context("there is no vmroot-cli")?["id"].as_str()];
    let mut seen = BTreeSet::new();
    while let Some(id) = pending.pop() {
        let Some(node) = nodes.get(&id).filter(|_| seen.insert(id)) else { continue };
        let is_linked = |dependency: &&Value| {
            let mut kinds = dependency["dep_kinds"].as_array().into_iter().flatten();
            kinds.any(|kind| kind["kind"].is_null())
        };
        let dependencies = node["deps"].as_array().into_iter().flatten();
        pending.extend(dependencies.filter(is_linked).map(|dependency| dependency["pkg"].as_str()));
    }
    let outside = packages.into_iter().filter(|(id, package)| seen.contains(id) && !package["source"].is_null());
    let mut linked: Vec<_> = outside.map(|(_, package)| package).filter(|package| !is_macro(package)).collect();
    linked.sort_by_key(|package| (package["name"].as_str(), package["version"].as_str()));
    Ok(linked)
}

/// Returns whether a package runs in the compiler and is not linked.
fn is_macro(package: &Value) -> bool {
    package["targets"].as_array().into_iter().flatten().any(|target| target["kind"][0] == "proc-macro")
}

/// Returns the files with licences in a directory, sorted.
fn licences(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_licence = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        path.is_file() && NAMES.iter().any(|beginning| name.starts_with(beginning))
    };
    let mut files: Vec<_> = entries.filter(is_licence).collect();
    files.sort();
    files
}
