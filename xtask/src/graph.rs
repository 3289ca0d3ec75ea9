//! Checks the crate graph: which crate may use which others, and rules for all crates.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{process, workspace};

/// The crates by their directories, and the crates of the workspace that each may use. Tests may use others.
pub const GRAPH: &[(&str, &[&str])] = &[
    ("errors", &[]),
    ("model", &["errors"]),
    ("sys", &[]),
    ("output", &["sys"]),
    ("users", &[]),
    ("compress", &["errors"]),
    ("encryption", &["errors"]),
    ("registry", &["errors", "model", "sys", "output"]),
    ("sigstore", &["errors"]),
    ("openpgp", &["errors"]),
    ("signatures", &["errors", "model"]),
    ("trust", &["errors", "model", "signatures", "sigstore", "openpgp"]),
    ("cache", &["errors", "model", "output"]),
    ("layer-index", &["errors", "model", "sys", "output"]),
    ("container-fs", &["errors", "model", "users", "layer-index"]),
    ("verity", &["errors", "output"]),
    ("config-files", &["errors", "model", "output", "registry"]),
    ("transport", &["errors", "model", "sys", "output", "compress", "registry", "signatures"]),
    ("copy", &["errors", "model", "output", "compress", "encryption", "signatures", "transport"]),
    ("go-template", &[]),
    ("export", &["errors", "model", "output", "compress", "container-fs"]),
    ("ext4", &["errors", "sys", "output", "container-fs"]),
    ("disk", &["errors", "output", "container-fs", "ext4"]),
    ("changes", &["errors", "model", "output", "compress", "layer-index", "container-fs", "export", "ext4"]),
    ("erofs", &["errors", "model", "sys", "output", "container-fs"]),
    ("mount", &["container-fs"]),
    ("fuse-mount", &["errors", "container-fs", "mount"]),
    ("virtiofs", &["errors", "container-fs", "mount"]),
    ("disk-serve", &["errors", "model", "output", "container-fs", "verity", "erofs", "fuse-mount", "virtiofs"]),
    ("kernel-mount", &["errors", "sys", "output", "container-fs", "erofs", "mount"]),
    ("guest-config", &[]),
    (
        "boot",
        &[
            "errors",
            "sys",
            "output",
            "compress",
            "container-fs",
            "verity",
            "export",
            "erofs",
            "ext4",
            "fuse-mount",
            "virtiofs",
            "disk-serve",
            "guest-config",
        ],
    ),
    ("guest-init", &["sys", "users", "guest-config"]),
    ("guest", &[]),
    (
        "image-store",
        &[
            "errors",
            "model",
            "output",
            "compress",
            "encryption",
            "signatures",
            "cache",
            "layer-index",
            "container-fs",
            "verity",
            "transport",
        ],
    ),
    (
        "vmroot",
        &[
            "errors",
            "model",
            "output",
            "compress",
            "encryption",
            "registry",
            "signatures",
            "sigstore",
            "openpgp",
            "trust",
            "cache",
            "layer-index",
            "container-fs",
            "verity",
            "config-files",
            "transport",
            "copy",
            "go-template",
            "export",
            "changes",
            "erofs",
            "ext4",
            "disk",
            "mount",
            "fuse-mount",
            "virtiofs",
            "disk-serve",
            "kernel-mount",
            "guest-config",
            "boot",
            "guest",
            "image-store",
        ],
    ),
    ("cli", &["sys", "vmroot"]),
    ("testkit", &["errors", "model"]),
    ("test-roots", &["model", "layer-index", "container-fs", "testkit"]),
    ("xtask", &["model", "testkit", "xtask-start"]),
    ("xtask-start", &[]),
];

/// The only crate that may have unsafe code.
const UNSAFE_CRATE: &str = "sys";

/// Features of reqwest that decode bodies. The bytes would then no longer match their digests.
const FORBIDDEN_REQWEST_FEATURES: [&str; 4] = ["gzip", "zstd", "brotli", "deflate"];

/// Returns an error that lists all faults.
pub fn check() -> Result<()> {
    let mut metadata = workspace::cargo();
    metadata.args(["metadata", "--format-version", "1", "--quiet"]);
    let metadata: Value = serde_json::from_str(&process::capture(&mut metadata)?)?;
    let members = members(&metadata)?;
    let mut faults = edges_against_the_flow(&members);
    faults.extend(decoding_http_client(&metadata));
    for member in &members {
        faults.extend(unsafe_code(member)?);
    }
    if !faults.is_empty() {
        bail!("the crate graph's rules are broken:\n  {}", faults.join("\n  "));
    }
    Ok(())
}

/// A package of the workspace.
struct Member {
    /// The directory relative to `crates`, or the directory at the top.
    name: String,
    directory: PathBuf,
    /// The names of the workspace's crates in `[dependencies]`.
    uses: Vec<String>,
}

fn members(metadata: &Value) -> Result<Vec<Member>> {
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let local: Vec<_> = packages.iter().filter(|package| package["source"].is_null()).collect();
    let directories: BTreeMap<_, _> =
        local.iter().filter_map(|package| Some((package["name"].as_str()?, directory(package)?))).collect();
    let name_of = |package: &str| Some(directories.get(package)?.file_name()?.to_str()?.to_owned());
    let member = |package: &&Value| {
        let normal = package["dependencies"].as_array()?.iter().filter(|dependency| dependency["kind"].is_null());
        Some(Member {
            name: name_of(package["name"].as_str()?)?,
            directory: directory(package)?.to_owned(),
            uses: normal.filter_map(|dependency| name_of(dependency["name"].as_str()?)).collect(),
        })
    };
    local.iter().map(|package| member(package).context("cargo metadata lacks a field")).collect()
}

fn directory(package: &Value) -> Option<&Path> {
    Path::new(package["manifest_path"].as_str()?).parent()
}

fn edges_against_the_flow(members: &[Member]) -> Vec<String> {
    let mut faults = Vec::new();
    for member in members {
        let Some((_, allowed)) = GRAPH.iter().find(|(name, _)| *name == member.name) else {
            faults.push(format!("{} is not in the table of xtask/src/graph.rs", member.name));
            continue;
        };
        for used in member.uses.iter().filter(|used| !allowed.contains(&used.as_str())) {
            faults.push(format!("{} may not use {used}", member.name));
        }
        for unused in allowed.iter().filter(|allowed| !member.uses.iter().any(|used| used == *allowed)) {
            faults.push(format!("{} does not use {unused}, but xtask/src/graph.rs lists it", member.name));
        }
    }
    faults
}

fn decoding_http_client(metadata: &Value) -> Vec<String> {
    let nodes = metadata["resolve"]["nodes"].as_array().into_iter().flatten();
    let reqwest = nodes.filter(|node| node["id"].as_str().is_some_and(|id| id.contains("#reqwest@")));
    let features = reqwest.flat_map(|node| node["features"].as_array().into_iter().flatten().filter_map(Value::as_str));
    let forbidden = features.filter(|feature| FORBIDDEN_REQWEST_FEATURES.contains(feature));
    forbidden.map(|feature| format!("reqwest has the feature {feature}, which would change the hashed bytes")).collect()
}

/// Searches the sources for the keyword, and the manifest for the lints that forbid it.
fn unsafe_code(member: &Member) -> Result<Vec<String>> {
    if member.name == UNSAFE_CRATE {
        return Ok(Vec::new());
    }
    let mut faults = Vec::new();
    let manifest = fs::read_to_string(member.directory.join("Cargo.toml"))?;
    if !manifest.contains("[lints]\nworkspace = true") && !manifest.contains("unsafe_code = \"forbid\"") {
        faults.push(format!("{} does not take the workspace's lints, which forbid unsafe code", member.name));
    }
    for source in sources(&member.directory)? {
        let text = fs::read_to_string(&source)?;
        let lines = text.lines().enumerate().filter(|(_, line)| opens_unsafe(line));
        faults.extend(lines.map(|(number, _)| format!("unsafe code at {}:{}", source.display(), number + 1)));
    }
    Ok(faults)
}

/// Returns whether the line's code contains the keyword, followed by something that it can open.
fn opens_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let mut words = code.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let opened = words
            .peek()
            .is_some_and(|next| ["{", "fn", "impl", "trait", "extern"].iter().any(|opened| next.starts_with(opened)));
        if word.trim_start_matches(['(', '{']) == "unsafe" && opened {
            return true;
        }
    }
    false
}

/// Returns the Rust files of a package, without those of nested packages. A link to a directory leads to the sources of
/// another package: `guest` has links to the crates of the init.
pub fn sources(package: &Path) -> Result<Vec<PathBuf>> {
    let mut pending = vec![package.to_owned()];
    let mut sources = Vec::new();
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() {
                if !path.is_symlink() && !path.join("Cargo.toml").exists() && !path.ends_with("target") {
                    pending.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(path);
            }
        }
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, uses: &[&str]) -> Member {
        Member { name: name.into(), directory: PathBuf::new(), uses: uses.iter().map(|&used| used.into()).collect() }
    }

    #[test]
    fn an_edge_against_the_flow_is_a_fault() {
        assert!(edges_against_the_flow(&[member("registry", &["errors", "model", "sys", "output"])]).is_empty());
        assert_eq!(edges_against_the_flow(&[member("model", &["errors", "registry"])]), ["model may not use registry"]);
        assert_eq!(edges_against_the_flow(&[member("stray", &[])]).len(), 1);
    }

    #[test]
    fn the_table_has_no_cycle() {
        let mut done: Vec<&str> = Vec::new();
        while done.len() < GRAPH.len() {
            let next =
                GRAPH.iter().find(|(name, uses)| !done.contains(name) && uses.iter().all(|used| done.contains(used)));
            done.push(next.expect("some crate uses only crates that came before").0);
        }
    }

    #[test]
    fn the_keyword_is_found_in_code_only() {
        let block = ["    let x = unsafe", "{ y };"].join(" ");
        assert!(opens_unsafe(&block));
        assert!(opens_unsafe(&["unsafe", "impl Send for X {}"].join(" ")));
        assert!(!opens_unsafe(&format!("// {block}")));
        assert!(!opens_unsafe("unsafe_code = \"forbid\""));
    }

    #[test]
    fn a_decoding_client_is_a_fault() {
        let metadata = serde_json::json!({ "resolve": { "nodes": [
            { "id": "registry+https://github.com/rust-lang/crates.io-index#reqwest@0.13.5", "features": ["http2", "gzip"] }
        ] } });
        assert_eq!(decoding_http_client(&metadata).len(), 1);
    }
}
