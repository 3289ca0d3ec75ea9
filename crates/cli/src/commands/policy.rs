//! `policy explain` and `policy check`.

use serde_json::{Value, json};
use vmroot::config_files::is_short;
use vmroot::trust::{Accepted, Coverage, Examined, Judgement, Outcome, Requirement, Verdict};
use vmroot::{Image, ImageName, PolicyReport, Reference, is_id};

use crate::args::PolicyCommand;
use crate::context::Context;
use crate::output;
use crate::short_names::ChosenName;

/// Runs a command on policies.
pub(crate) fn policy(context: &Context, command: PolicyCommand) -> anyhow::Result<()> {
    match command {
        PolicyCommand::Explain { image } => explain(context, &image),
        PolicyCommand::Check { image } => check(context, &image),
    }
}

/// Prints the requirements that apply to an image, and the verdict.
fn explain(context: &Context, name: &str) -> anyhow::Result<()> {
    let client = context.client()?;
    let cached = match is_id(name) || is_short(name) && !ImageName::has_transport(name) {
        true => client.find(name, context.requested_platform()).ok(),
        false => None,
    };
    let report = match &cached {
        // A short name means the image that other commands find by it.
        Some(image) => match source_of(image).filter(|_| !is_id(name)) {
            Some(reference) => client.explain_policy(&format!("docker://{reference}"), context.requested_platform()),
            None => {
                output::print_note(&format!("{name} is an image of the cache: its kept signatures are judged"));
                client.check_policy(image)
            }
        },
        None => {
            let chosen = ChosenName::ask(&client, name, &context.cancel())?;
            client.explain_policy(&chosen.name, context.requested_platform())
        }
    };
    print(context, name, report?.as_ref())
}

/// Returns the name of a cached image in its registry; `None` for one of a file, or that was made here.
fn source_of(image: &Image) -> Option<&Reference> {
    let record = image.record();
    let reference = record.reference.as_ref().filter(|_| record.loaded_from.is_none() && !record.is_made_here())?;
    Some(reference).filter(|reference| reference.domain() != "localhost")
}

/// Checks an image of the cache, and prints the same. An image that is refused is an error.
fn check(context: &Context, name: &str) -> anyhow::Result<()> {
    let client = context.client()?;
    let image = client.find(name, context.requested_platform())?;
    let report = client.check_policy(&image)?;
    print(context, name, report.as_ref())?;
    let verdict = report.and_then(|report| report.verdict).map(Verdict::into_result);
    match verdict {
        Some(Err(refused)) => {
            let error = vmroot::transport::Error::RefusedByPolicy(refused);
            Err(vmroot::Error::from(error).into())
        }
        _ => Ok(()),
    }
}

fn print(context: &Context, name: &str, report: Option<&PolicyReport>) -> anyhow::Result<()> {
    let Some(report) = report else {
        if context.json() {
            return Ok(output::print_json(&json!({"image": name, "policy": null, "accepted": true}))?);
        }
        let files: Vec<String> = context.policy_files().iter().map(|path| path.display().to_string()).collect();
        let text = format!("nothing is checked for {name}: there is no policy ({})", files.join(", "));
        return Ok(output::print_line(text)?);
    };
    if context.json() {
        return Ok(output::print_json(&to_json(report))?);
    }
    for line in lines(report) {
        output::print_line(line)?;
    }
    Ok(())
}

pub(super) fn to_json(report: &PolicyReport) -> Value {
    let requirements: Vec<&str> = report.requirements.iter().map(|it| it.name()).collect();
    let verdict = report.verdict.as_ref();
    let judgements = verdict.map_or(&[][..], |verdict| &verdict.judgements);
    json!({
        "image": report.identity.to_string(),
        "policy": report.file.as_ref().map(|path| path.display().to_string()),
        "section": report.section.to_string(),
        "requirements": requirements,
        "accepted": verdict.map_or(is_open(report), Verdict::is_accepted),
        "reason": verdict.and_then(|it| it.refusal.as_ref()).map(ToString::to_string),
        "digest": verdict.map(|it| it.digest.to_string()),
        "verified": verdict.map_or_else(Vec::new, |it| it.met_by_signatures().map(accepted).collect::<Vec<_>>()),
        "signatures": judgements.iter().flat_map(|it| &it.examined).map(examined).collect::<Vec<_>>(),
    })
}

/// Returns whether a report without a verdict is about an image that is accepted by its name alone.
fn is_open(report: &PolicyReport) -> bool {
    report.requirements.iter().all(|it| it.name() == "insecureAcceptAnything")
}

fn accepted((requirement, accepted): (&Requirement, &Accepted)) -> Value {
    json!({
        "requirement": requirement.name(),
        "digest": accepted.verified,
        "document": coverage(accepted.coverage),
        "signer": accepted.signer,
        "reference": accepted.reference,
    })
}

fn examined(examined: &Examined) -> Value {
    json!({
        "digest": examined.of,
        "kind": examined.kind.to_string(),
        "number": examined.number,
        "accepted": examined.result.is_ok(),
        "reason": examined.result.as_ref().err(),
    })
}

pub(super) fn coverage(coverage: Coverage) -> &'static str {
    match coverage {
        Coverage::Manifest => "manifest",
        Coverage::Index => "index",
    }
}

/// Returns a text for the section that applies, and its file.
pub(super) fn place(report: &PolicyReport) -> String {
    match &report.file {
        Some(file) => format!("{} of {}", report.section, file.display()),
        None => report.section.to_string(),
    }
}

fn lines(report: &PolicyReport) -> Vec<String> {
    let names: Vec<&str> = report.requirements.iter().map(|it| it.name()).collect();
    let mut lines = vec![
        format!("image:        {}", report.identity),
        format!("policy:       {}", place(report)),
        format!("requirements: {}", names.join(", ")),
    ];
    let Some(verdict) = &report.verdict else {
        lines.push(match is_open(report) {
            true => "verdict:      accepted, without a check of signatures".to_owned(),
            false => "verdict:      refused, whatever its signatures are".to_owned(),
        });
        return lines;
    };
    lines.push(format!("digest:       {}", verdict.digest));
    lines.extend(verdict.judgements.iter().flat_map(judgement));
    lines.push(match &verdict.refusal {
        None => "verdict:      accepted".to_owned(),
        Some(refusal) => format!("verdict:      refused: {refusal}"),
    });
    lines
}

fn judgement(judgement: &Judgement) -> Vec<String> {
    let mut lines = Vec::new();
    for Examined { of, kind, number, result } in &judgement.examined {
        lines.push(match result {
            Ok(accepted) => format!("signature:    {kind} {number} of {of}: by {}", accepted.signer),
            Err(reason) => format!("signature:    {kind} {number} of {of}: refused: {reason}"),
        });
    }
    lines.extend(
        judgement
            .failures
            .iter()
            .map(|failure| format!("unknown:      the signatures of {}: {}", failure.of, failure.error)),
    );
    if let Outcome::Met(Some(accepted)) = &judgement.outcome {
        let document = coverage(accepted.coverage);
        lines.push(format!("verified:     {} (the {document})", accepted.verified));
    }
    lines
}
