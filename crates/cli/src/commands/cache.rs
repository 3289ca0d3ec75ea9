//! `df` and `verify`.

use serde_json::json;
use vmroot::{Area, Usage};

use crate::context::Context;
use crate::exit::AlreadyReported;
use crate::output;

/// Prints the disk usage of the cache.
pub(crate) fn usage(context: &Context) -> anyhow::Result<()> {
    let usage = context.client()?.usage()?;
    let areas = areas(&usage);
    if context.json() {
        let area = |area: &Area| json!({"files": area.files, "bytes": area.bytes, "diskBytes": area.disk_bytes});
        let object = areas.iter().map(|(name, of)| ((*name).to_owned(), area(of))).collect();
        return Ok(output::print_json(&serde_json::Value::Object(object))?);
    }
    let row = |(name, area): &(&str, Area)| {
        vec![
            (*name).to_owned(),
            area.files.to_string(),
            output::format_bytes(area.bytes),
            output::format_bytes(area.disk_bytes),
        ]
    };
    Ok(output::print_table(&["AREA", "FILES", "BYTES", "ON DISK"], &areas.iter().map(row).collect::<Vec<_>>())?)
}

fn areas(usage: &Usage) -> [(&'static str, Area); 5] {
    [
        ("blobs", usage.blobs),
        ("unfinished", usage.unfinished),
        ("layers", usage.layers),
        ("roots", usage.roots),
        ("images", usage.images),
    ]
}

/// Verifies the whole cache, and exits with code 5 if damage cannot be repaired.
pub(crate) fn verify(context: &Context) -> anyhow::Result<()> {
    let found = context.client()?.with_progress(context.progress()).verify()?;
    let unrepaired = found.findings.iter().any(|finding| !finding.repaired);
    if context.json() {
        let finding = |finding: &vmroot::Finding| {
            json!({
                "path": finding.path.display().to_string(),
                "problem": finding.problem,
                "remedy": finding.remedy,
                "mended": finding.repaired,
            })
        };
        let findings: Vec<_> = found.findings.iter().map(finding).collect();
        output::print_json(&json!({
            "blobs": found.blobs,
            "layers": found.layers,
            "roots": found.roots,
            "images": found.records,
            "findings": findings,
        }))?;
    } else {
        for finding in &found.findings {
            output::print_line(format!("{}: {}; {}", finding.path.display(), finding.problem, finding.remedy))?;
        }
        let (blobs, layers, roots, records) = (found.blobs, found.layers, found.roots, found.records);
        let checked = format!("{blobs} blobs, {layers} layers, {roots} roots and {records} images checked");
        output::print_line(format!("{checked}, {} damaged", found.findings.len()))?;
    }
    if unrepaired { Err(AlreadyReported(5).into()) } else { Ok(()) }
}
