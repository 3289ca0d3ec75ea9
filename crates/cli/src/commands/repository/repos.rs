//! `repos`.

use serde_json::json;

use crate::context::Context;
use crate::exit::UsageError;
use crate::output::{self, Lines};

/// Prints the repositories of a registry, one a line.
pub(crate) fn repos(context: &Context, registry: &str) -> anyhow::Result<()> {
    let host = registry.strip_prefix("docker://").unwrap_or(registry).trim_end_matches('/');
    if host.is_empty() || host.contains('/') {
        return Err(UsageError(format!("{registry}: expected the host of a registry, such as quay.io")).into());
    }
    let repositories = context.client()?.list_repositories(host)?;
    if context.json() {
        return Ok(output::print_json(&json!(repositories))?);
    }
    let mut lines = Lines::new();
    repositories.iter().try_for_each(|name| lines.print(name))?;
    Ok(lines.finish()?)
}
