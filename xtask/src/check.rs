//! `cargo xtask check`: what must hold before anything else is worth running.

use anyhow::{Result, bail};

use crate::{graph, pages, process, workspace};

/// Format, the crate graph, what pages say of the code, and lints.
pub fn run() -> Result<()> {
    process::run(workspace::cargo().args(["fmt", "--all", "--check"]))?;
    graph::check()?;
    let faults = pages::faults()?;
    if !faults.is_empty() {
        bail!("pages and code differ:\n  {}", faults.join("\n  "));
    }
    process::run(workspace::cargo().args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))
}
