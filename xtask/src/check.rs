//! `cargo xtask check`: the fast checks.

use anyhow::{Result, bail};

use crate::{features, graph, init, pages, process, workspace};

/// Checks the formatting, the crate graph, the init's sources, the pages about the code, and the lints.
pub fn run() -> Result<()> {
    process::run(workspace::cargo().args(["fmt", "--all", "--check"]))?;
    graph::check()?;
    init::check()?;
    let mut faults = pages::faults()?;
    faults.extend(features::faults()?);
    if !faults.is_empty() {
        bail!("pages and code differ:\n  {}", faults.join("\n  "));
    }
    let lint = |packages: &[&str]| {
        let lints = ["--all-targets", "--quiet", "--", "-D", "warnings"];
        process::run(workspace::cargo().arg("clippy").args(packages).args(lints))
    };
    lint(&workspace::START)?;
    lint(&["--workspace"])
}
