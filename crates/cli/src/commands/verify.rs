//! `verify`.

use serde_json::{Value, json};
use vmroot::{Client, Finding, FindingState, RepairOptions, VerifyReport};

use crate::args::VerifyArguments;
use crate::context::Context;
use crate::display::Action;
use crate::exit::AlreadyReported;
use crate::progress::StoreProgress;
use crate::{human, output};

/// The exit code if damage is left.
const DAMAGED: u8 = 5;

/// Verifies the whole cache, and repairs it if requested. Exits with code 5 if damage is left.
pub(crate) fn verify(context: &Context, arguments: &VerifyArguments) -> anyhow::Result<()> {
    let client = context.client_of_cache()?.with_progress(StoreProgress::of_work(Action::Fetch, ""));
    if arguments.empty_quarantine {
        return empty_quarantine(context, &client);
    }
    let report = match arguments.repair {
        true => client.repair(&RepairOptions { offline: arguments.offline || context.never_pulls() })?,
        false => client.verify()?,
    };
    // The bars end before the report.
    drop(client);
    if context.json() {
        output::print_json(&report_json(&report, arguments.repair))?;
    } else {
        report.findings.iter().try_for_each(|finding| output::print_line(finding.to_string()))?;
        output::print_line(summary(&report, arguments.repair))?;
    }
    if report.findings.iter().any(|finding| finding.quarantined.is_some()) {
        let directory = context.cache().join("quarantine");
        output::print_note(&format!(
            "damaged files are in {}; `vmroot verify --empty-quarantine` removes them",
            directory.display()
        ));
    }
    if report.is_whole() { Ok(()) } else { Err(AlreadyReported(DAMAGED).into()) }
}

/// Returns the last line of the report.
fn summary(report: &VerifyReport, is_repair: bool) -> String {
    let VerifyReport { blobs, layers, roots, records, findings, .. } = report;
    let damaged = findings.len();
    let [blobs, layers, roots, images] = [(blobs, "blob"), (layers, "layer"), (roots, "root"), (records, "image")]
        .map(|(number, noun)| human::count(*number, noun));
    let mut line = format!("{blobs}, {layers}, {roots} and {images} checked, {damaged} damaged");
    if is_repair && damaged > 0 {
        let count = |state| report.count(state);
        let (repaired, quarantined) = (count(FindingState::Repaired), count(FindingState::Quarantined));
        let (lost, left) = (count(FindingState::Lost), count(FindingState::Damaged));
        line += &format!(": {repaired} repaired, {quarantined} quarantined, {lost} lost, {left} not repaired");
    }
    line
}

fn report_json(report: &VerifyReport, is_repair: bool) -> Value {
    json!({
        "repair": is_repair,
        "blobs": report.blobs,
        "partials": report.partials,
        "layers": report.layers,
        "roots": report.roots,
        "images": report.records,
        "metadata": report.metadata,
        "bytes": report.bytes,
        "damaged": report.count(FindingState::Damaged),
        "repaired": report.count(FindingState::Repaired),
        "quarantined": report.count(FindingState::Quarantined),
        "lost": report.count(FindingState::Lost),
        "findings": report.findings.iter().map(finding_json).collect::<Vec<_>>(),
    })
}

fn finding_json(finding: &Finding) -> Value {
    let image = |image: &vmroot::AffectedImage| {
        json!({
            "id": image.id,
            "reference": image.reference.as_ref().map(ToString::to_string),
            "platform": image.platform.to_string(),
        })
    };
    json!({
        "path": finding.path.display().to_string(),
        "kind": finding.kind.name(),
        "digest": finding.digest,
        "problem": finding.problem,
        "state": finding.state.name(),
        "remedy": finding.action,
        "mended": finding.is_settled(),
        "advice": finding.advice,
        "quarantine": finding.quarantined.as_ref().map(|path| path.display().to_string()),
        "images": finding.images.iter().map(image).collect::<Vec<_>>(),
    })
}

/// Removes the files in the quarantine, and prints their former paths.
fn empty_quarantine(context: &Context, client: &Client) -> anyhow::Result<()> {
    let files = client.empty_quarantine()?;
    if context.json() {
        let file = |file: &vmroot::QuarantinedFile| {
            json!({
                "path": file.path.display().to_string(),
                "origin": file.origin,
                "problem": file.problem,
                "bytes": file.length,
            })
        };
        return Ok(output::print_json(&files.iter().map(file).collect())?);
    }
    for file in &files {
        let origin = file.origin.clone().unwrap_or_else(|| file.path.display().to_string());
        output::print_line(format!("{origin}: {}", file.problem))?;
    }
    Ok(())
}
