//! `gc`, `df` and `verify`.

use serde_json::json;
use vmroot::{Area, Usage};

use crate::context::Context;
use crate::exit::Silent;
use crate::output;

/// Removes what no image needs.
pub(crate) fn collect(context: &Context, dry_run: bool) -> anyhow::Result<()> {
    let collected = context.client()?.collect(dry_run)?;
    if context.json() {
        let files: Vec<_> = collected.files.iter().map(|file| file.display().to_string()).collect();
        return Ok(output::json(&json!({"files": files, "bytes": collected.bytes, "dryRun": dry_run}))?);
    }
    if dry_run {
        for file in &collected.files {
            output::line(file.display().to_string())?;
        }
    }
    let verb = if dry_run { "would free" } else { "freed" };
    Ok(output::line(format!("{verb} {} in {} files", output::bytes(collected.bytes), collected.files.len()))?)
}

/// Says how much disk the cache takes.
pub(crate) fn usage(context: &Context) -> anyhow::Result<()> {
    let usage = context.client()?.usage()?;
    let areas = areas(&usage);
    if context.json() {
        let area = |area: &Area| json!({"files": area.files, "bytes": area.bytes, "diskBytes": area.disk_bytes});
        let object = areas.iter().map(|(name, of)| ((*name).to_owned(), area(of))).collect();
        return Ok(output::json(&serde_json::Value::Object(object))?);
    }
    let row = |(name, area): &(&str, Area)| {
        vec![(*name).to_owned(), area.files.to_string(), output::bytes(area.bytes), output::bytes(area.disk_bytes)]
    };
    Ok(output::table(&["AREA", "FILES", "BYTES", "ON DISK"], &areas.iter().map(row).collect::<Vec<_>>())?)
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

/// Checks everything, and fails with 5 when something cannot be mended here.
pub(crate) fn verify(context: &Context) -> anyhow::Result<()> {
    let found = context.client()?.verify(&context.progress())?;
    let unmended = found.findings.iter().any(|finding| !finding.mended);
    if context.json() {
        let finding = |finding: &vmroot::Finding| {
            json!({
                "path": finding.path.display().to_string(),
                "problem": finding.problem,
                "remedy": finding.remedy,
                "mended": finding.mended,
            })
        };
        let findings: Vec<_> = found.findings.iter().map(finding).collect();
        output::json(&json!({
            "blobs": found.blobs,
            "layers": found.layers,
            "roots": found.roots,
            "images": found.records,
            "findings": findings,
        }))?;
    } else {
        for finding in &found.findings {
            output::line(format!("{}: {}; {}", finding.path.display(), finding.problem, finding.remedy))?;
        }
        let (blobs, layers, roots, records) = (found.blobs, found.layers, found.roots, found.records);
        let checked = format!("{blobs} blobs, {layers} layers, {roots} roots and {records} images checked");
        output::line(format!("{checked}, {} damaged", found.findings.len()))?;
    }
    if unmended { Err(Silent(5).into()) } else { Ok(()) }
}
