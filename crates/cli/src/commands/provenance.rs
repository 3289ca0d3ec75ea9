//! `provenance`: the chain from the name of an image to its root.

use clap::ValueEnum as _;
use serde_json::{Value, json};
use vmroot::trust::VerifiedAttestation;
use vmroot::verity::Parameters;
use vmroot::{Chain, Judged, JudgedSignature, PolicyReport, Provenance, Record};

use super::export::root_hash;
use super::policy;
use crate::args::{DiskFormat, ProvenanceArguments};
use crate::context::Context;
use crate::output;
use crate::printable::{LineBreaks, escape};

/// The root hash of a disk image of the root.
struct RootHash {
    format: DiskFormat,
    /// The object of the JSON.
    tree: Value,
}

/// Prints the chain from an image's name to its root.
pub(crate) fn provenance(context: &Context, name: &str, arguments: &ProvenanceArguments) -> anyhow::Result<()> {
    root_hash::check_options(arguments.format, &arguments.disk)?;
    let mut opened = root_hash::open(context, name, &arguments.disk)?;
    let used = opened.image.take().expect("the root of a prebaked directory is refused before");
    let provenance = used.client.provenance(&used.image)?;
    let record = used.image.record().clone();
    opened.image = Some(used);
    let root_hash = match arguments.no_root_hash {
        true => None,
        false => {
            let default = Parameters::default();
            let salt = arguments.verity_salt.clone().map_or(default.salt, |salt| salt.0);
            let parameters = Parameters { salt, ..Parameters::default() };
            let tree = root_hash::tree_of(context, opened, arguments.format, &arguments.disk, &parameters)?;
            Some(RootHash { format: arguments.format, tree: tree.without_place()? })
        }
    };
    if context.json() {
        return Ok(output::print_json(&to_json(&record, &provenance, root_hash.as_ref()))?);
    }
    lines(&record, &provenance, root_hash.as_ref()).iter().try_for_each(|line| Ok(output::print_line(line)?))
}

fn to_json(record: &Record, provenance: &Provenance, root_hash: Option<&RootHash>) -> Value {
    let chain = &provenance.chain;
    let layer = |layer: &vmroot::LayerRecord| {
        json!({
            "mediaType": layer.media_type,
            "digest": layer.digest,
            "diffId": layer.diff_id,
            "size": layer.size,
        })
    };
    json!({
        "reference": record.reference.as_ref().map(ToString::to_string),
        "platform": record.platform.to_string(),
        "loadedFrom": record.loaded_from,
        "policy": provenance.policy.as_ref().map(policy::to_json),
        "judged": provenance.judged.as_ref().map(judged_json),
        "attestations": provenance.attestations.iter().map(attestation_json).collect::<Vec<_>>(),
        "indexes": chain.indexes,
        "manifest": chain.manifest,
        "id": chain.config,
        "layers": chain.layers.iter().map(layer).collect::<Vec<_>>(),
        "chainId": chain.chain_id,
        "verity": root_hash.map(|it| &it.tree),
        "format": root_hash.map(RootHash::format),
    })
}

fn judged_json(judged: &Judged) -> Value {
    let signature = |it: &JudgedSignature| {
        json!({
            "requirement": (!it.requirement.is_empty()).then_some(&it.requirement),
            "digest": it.verified,
            "document": document(it.is_index),
            "signer": it.signer,
            "reference": it.reference,
        })
    };
    json!({
        "image": judged.image,
        "section": judged.section,
        "digest": judged.digest,
        "verified": judged.accepted.iter().map(signature).collect::<Vec<_>>(),
    })
}

fn attestation_json(attestation: &VerifiedAttestation) -> Value {
    json!({
        "digest": attestation.verified,
        "document": policy::coverage(attestation.coverage),
        "manifest": attestation.manifest,
        "predicateType": attestation.predicate_type,
        "signer": attestation.signer,
    })
}

impl RootHash {
    /// Returns the name of the format.
    fn format(&self) -> String {
        self.format.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Returns the chain as text, from the name down to the root.
fn lines(record: &Record, provenance: &Provenance, root_hash: Option<&RootHash>) -> Vec<String> {
    let mut lines = Lines::default();
    let name = record.reference.as_ref().map_or_else(|| "without a name".to_owned(), ToString::to_string);
    lines.add("image", &format!("{name} ({})", record.platform));
    if let Some(origin) = &record.loaded_from {
        lines.add("origin", origin);
    }
    add_policy(&mut lines, record, provenance.policy.as_ref());
    if let Some(judged) = &provenance.judged {
        add_judged(&mut lines, judged);
    }
    for attestation in &provenance.attestations {
        let VerifiedAttestation { manifest, predicate_type, signer, verified, .. } = attestation;
        lines.add("attestation", &format!("{manifest} {predicate_type} of {verified}, by {signer}"));
    }
    let Chain { indexes, manifest, config, layers, chain_id, .. } = &provenance.chain;
    for index in indexes {
        lines.add("index", &index.to_string());
    }
    lines.add("manifest", &manifest.to_string());
    lines.add("config", &format!("{config} (the id)"));
    for layer in layers {
        lines.add("layer", &format!("{}, diff id {}", layer.digest, layer.diff_id));
    }
    lines.add("chain id", &chain_id.to_string());
    if let Some(found) = root_hash {
        let hash = found.tree["rootHash"].as_str().unwrap_or_default();
        lines.add("root hash", &format!("{hash} ({})", found.format()));
    }
    lines.0
}

fn add_policy(lines: &mut Lines, record: &Record, report: Option<&PolicyReport>) {
    let Some(report) = report else {
        return lines.add(
            "policy",
            match record.is_made_here() {
                true => "none, for the image was made in this cache",
                false => "none, no signature was verified",
            },
        );
    };
    lines.add("policy", &policy::place(report));
    let met = report.verdict.iter().flat_map(|verdict| verdict.met_by_signatures());
    let mut is_signed = false;
    for (requirement, it) in met {
        is_signed = true;
        let document = policy::coverage(it.coverage);
        let text = signature(&it.verified, document, &it.signer, it.reference.as_deref());
        lines.add("verified", &format!("{text}, for {}", requirement.name()));
    }
    if !is_signed {
        lines.add("verified", "nothing, the policy accepts the image without a signature");
    }
}

/// Adds the verdict that is kept with the image.
fn add_judged(lines: &mut Lines, judged: &Judged) {
    lines.add("kept verdict", &format!("{}: accepted by {}", judged.image, judged.section));
    for it in &judged.accepted {
        let text = signature(&it.verified, document(it.is_index), &it.signer, it.reference.as_deref());
        lines.add("kept verdict", &text);
    }
}

fn signature(digest: &vmroot::Digest, document: &str, signer: &str, reference: Option<&str>) -> String {
    let reference = reference.map(|name| format!(", as {name}")).unwrap_or_default();
    format!("{digest} (the {document}), by {signer}{reference}")
}

fn document(is_index: bool) -> &'static str {
    if is_index { "index" } else { "manifest" }
}

/// Lines with names in front.
#[derive(Default)]
struct Lines(Vec<String>);

impl Lines {
    /// Adds a line. Line breaks are escaped in a file or pipe, too: a name in a certificate must not look like a line.
    fn add(&mut self, name: &str, value: &str) {
        let value = escape(value.as_bytes(), LineBreaks::Escaped);
        self.0.push(format!("{:14}{}", format!("{name}:"), String::from_utf8_lossy(&value)));
    }
}
