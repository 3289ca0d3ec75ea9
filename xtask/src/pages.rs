//! Checks that the pages about the code are still true.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::{graph, workspace};

/// Returns the faults of ARCHITECTURE.md and docs/limits.md.
pub fn faults() -> Result<Vec<String>> {
    let read = |name: &str| fs::read_to_string(workspace::root().join(name)).with_context(|| name.to_owned());
    let architecture = read("ARCHITECTURE.md")?;
    let mut faults = crates(&architecture);
    faults.extend(dependencies(&architecture, &read("Cargo.toml")?, &manifests()?));
    faults.extend(limits(&read("docs/limits.md")?, &code()?));
    Ok(faults)
}

/// Checks that each crate has a row with its name, a sentence, and the crates that it may use.
fn crates(architecture: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, uses) in graph::GRAPH {
        let quoted: Vec<_> = uses.iter().map(|used| format!("`{used}`")).collect();
        let uses = if quoted.is_empty() { "-".to_owned() } else { quoted.join(", ") };
        match row(architecture, name) {
            None => faults.push(format!("ARCHITECTURE.md has no row for the crate {name}")),
            Some(cells) if cells.last() != Some(&uses.as_str()) => {
                faults.push(format!("ARCHITECTURE.md lists other dependencies of {name} than {uses}"));
            }
            Some(_) => {}
        }
    }
    faults
}

/// Checks that each dependency of the workspace has a row, and a package that uses it.
fn dependencies(architecture: &str, workspace: &str, manifests: &str) -> Vec<String> {
    let section = workspace.split("[workspace.dependencies]").nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| Some(line.split_once('=')?.0.trim()));
    let mut faults = Vec::new();
    for name in names.filter(|name| !name.starts_with('#') && !name.starts_with("vmroot")) {
        if row(architecture, name).is_none() {
            faults.push(format!("ARCHITECTURE.md gives no reason for the dependency {name}"));
        }
        let uses = [format!("{name}.workspace = true"), format!("{name} = {{ workspace = true, optional = true }}")];
        if !manifests.lines().any(|line| uses.iter().any(|uses| line.trim() == uses)) {
            faults.push(format!("no crate uses the dependency {name} of Cargo.toml"));
        }
    }
    faults
}

/// Checks that each name in the last column of the tables occurs in the code.
fn limits(page: &str, code: &str) -> Vec<String> {
    let last_cells = page.lines().filter_map(|line| cells(line)?.pop());
    let names = last_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    // Names may have a module prefix, which their declarations lack.
    let missing = names.filter(|name| {
        let name = name.rsplit("::").next().unwrap_or_default();
        !code.contains(&format!("const {name}: ")) && !code.contains(&format!("pub {name}: ")) && name != "serde_json"
    });
    missing.map(|name| format!("docs/limits.md names {name}, which is not in the code")).collect()
}

/// Returns the cells of the table row that begins with `name` in code quotes.
fn row<'a>(page: &'a str, name: &str) -> Option<Vec<&'a str>> {
    page.lines().filter_map(cells).find(|cells| cells[0].trim_matches('`') == name && cells[0] != name)
}

fn cells(line: &str) -> Option<Vec<&str>> {
    let row = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(row.split('|').map(str::trim).collect())
}

/// Returns the manifests of all packages of the workspace, concatenated.
fn manifests() -> Result<String> {
    packages()?.iter().map(|package| Ok(fs::read_to_string(package.join("Cargo.toml"))?)).collect()
}

/// Returns the sources of all packages of the workspace, concatenated.
fn code() -> Result<String> {
    let mut code = String::new();
    for package in packages()? {
        for source in graph::sources(&package)? {
            code += &fs::read_to_string(source)?;
        }
    }
    Ok(code)
}

fn packages() -> Result<Vec<PathBuf>> {
    let crates = fs::read_dir(workspace::root().join("crates"))?;
    let mut packages = crates.map(|package| Ok(package?.path())).collect::<Result<Vec<_>>>()?;
    packages.push(workspace::root().join("xtask"));
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_without_its_row_is_a_fault() {
        let rows: String = graph::GRAPH
            .iter()
            .map(|(name, uses)| {
                let uses: Vec<_> = uses.iter().map(|used| format!("`{used}`")).collect();
                format!("| `{name}` | A sentence. | {} |\n", if uses.is_empty() { "-".into() } else { uses.join(", ") })
            })
            .collect();
        assert!(crates(&rows).is_empty());
        assert_eq!(crates(&rows.replacen("| `sys` | A", "| `sis` | A", 1)).len(), 1);
        assert_eq!(crates(&rows.replace("| `sys`, `vmroot` |\n", "| - |\n")).len(), 1, "what cli uses");
    }

    #[test]
    fn a_dependency_without_reason_or_user_is_a_fault() {
        let workspace =
            "[workspace.dependencies]\nvmroot = { path = \"\" }\n# why\nserde = \"1\"\n\n[profile.dev]\nx = 1\n";
        let faults = |page, manifests| dependencies(page, workspace, manifests).len();
        assert_eq!(faults("| `serde` | documents |", "serde.workspace = true\n"), 0);
        assert_eq!(faults("| serde | documents |", "serde.workspace = true\n"), 1);
        assert_eq!(faults("", "serde_json.workspace = true\n"), 2);
    }

    #[test]
    fn a_limit_that_is_gone_is_a_fault() {
        let page = "| what | limit | name |\n|---|---|---|\n| `x` | 1 | `MAX_X`, `y::LIMIT` |\n";
        assert!(limits(page, "const MAX_X: u64 = 1;\nconst LIMIT: u64 = 1;").is_empty());
        assert_eq!(limits(page, "pub max_x: u64,").len(), 2);
    }
}
