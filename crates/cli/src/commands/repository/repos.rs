//! `repos`.

use serde_json::json;
use vmroot::Reference;

use crate::context::Context;
use crate::exit::Advised;
use crate::output::{self, Lines};

/// Prints the repositories of a registry, one a line.
pub(crate) fn repos(context: &Context, registry: &str) -> anyhow::Result<()> {
    let host = registry.strip_prefix("docker://").unwrap_or(registry).trim_end_matches('/');
    let is_host = !host.contains('/') && Reference::parse(&format!("{host}/x")).is_ok();
    if !is_host {
        let message = format!("{registry:?}: expected the host of a registry, such as quay.io");
        let hint = match host.split_once('/') {
            Some(("http:" | "https:", rest)) if rest.len() > 1 => format!("omit the scheme: {}", &rest[1..]),
            Some((only, _)) if !only.is_empty() => {
                format!("`vmroot repos {only}` lists its repositories; `vmroot tags {host}` lists the tags of one")
            }
            _ => "a host is a name or an address, with a port if it is not 443".to_owned(),
        };
        return Err(Advised::usage(message, hint).into());
    }
    let repositories = context.client()?.list_repositories(host)?;
    if context.json() {
        return Ok(output::print_json(&json!(repositories))?);
    }
    let mut lines = Lines::new();
    repositories.iter().try_for_each(|name| lines.print(name))?;
    Ok(lines.finish()?)
}
