//! `sign`, `verify-signature`, `attest` and `attestations`.

use serde_json::{Value, json};
use vmroot::trust::Coverage;
use vmroot::{ImageName, Reference, SignatureForms};

use crate::args::{AttestArguments, SignArguments, SignatureForm, VerifySignatureArguments};
use crate::context::Context;
use crate::exit::{Advised, UsageError};
use crate::{environment, keys, output};

/// The short names of predicate types, as cosign has them.
const PREDICATE_TYPES: [(&str, &str); 8] = [
    ("slsaprovenance", "https://slsa.dev/provenance/v0.2"),
    ("slsaprovenance02", "https://slsa.dev/provenance/v0.2"),
    ("slsaprovenance1", "https://slsa.dev/provenance/v1"),
    ("link", "https://in-toto.io/Link/v1"),
    ("spdx", "https://spdx.dev/Document"),
    ("spdxjson", "https://spdx.dev/Document"),
    ("cyclonedx", "https://cyclonedx.org/bom"),
    ("vuln", "https://cosign.sigstore.dev/attestation/vuln/v1"),
];

/// Signs an image in its registry, and prints the digest.
pub(crate) fn sign(context: &Context, image: &str, arguments: &SignArguments) -> anyhow::Result<()> {
    let reference = reference(image)?;
    let key = keys::private_key("--key", &arguments.key, environment::cosign_password(), &context.cancel())?;
    let forms = match arguments.form {
        SignatureForm::Bundle => SignatureForms { bundle: true, attachment: false },
        SignatureForm::Attachment => SignatureForms { bundle: false, attachment: true },
        SignatureForm::Both => SignatureForms { bundle: true, attachment: true },
    };
    let digest = context.client()?.sign(&reference, key, forms)?;
    match context.json() {
        true => Ok(output::print_json(&json!({"reference": reference.to_string(), "digest": digest}))?),
        false => Ok(output::print_line(digest.to_string())?),
    }
}

/// Verifies the signatures of an image in its registry, and prints the verified digest.
pub(crate) fn verify(context: &Context, image: &str, arguments: &VerifySignatureArguments) -> anyhow::Result<()> {
    let reference = reference(image)?;
    let keys = keys::public_keys(&arguments.key)?;
    let verdict = context.client()?.verify_signature(&reference, &keys)?;
    if let Some(refusal) = &verdict.refusal {
        let hint = format!(
            "`vmroot referrers {image}` lists the bundles; attachments are looked for if registries.d turns them on"
        );
        return Err(Advised::refused(format!("{image} ({}): {refusal}", verdict.digest), hint).into());
    }
    let verified: Vec<Value> = verdict
        .accepted_signatures()
        .map(|it| {
            let document = if it.coverage == Coverage::Index { "index" } else { "manifest" };
            json!({"digest": it.verified, "document": document, "signer": it.signer, "reference": it.reference})
        })
        .collect();
    if context.json() {
        let result = json!({
            "reference": reference.to_string(),
            "digest": verdict.digest,
            "verified": verified,
        });
        return Ok(output::print_json(&result)?);
    }
    Ok(output::print_line(verdict.digest.to_string())?)
}

/// Signs a predicate about an image in its registry, and prints the digest of the image.
pub(crate) fn attest(context: &Context, image: &str, arguments: &AttestArguments) -> anyhow::Result<()> {
    let reference = reference(image)?;
    let predicate: Value = serde_json::from_slice(&keys::read("--predicate", &arguments.predicate)?)
        .map_err(|error| UsageError(format!("--predicate {}: {error}", arguments.predicate.display())))?;
    let predicate_type = predicate_type(&arguments.predicate_type)?;
    let key = keys::private_key("--key", &arguments.key, environment::cosign_password(), &context.cancel())?;
    let digest = context.client()?.attest(&reference, &key, &predicate_type, &predicate)?;
    match context.json() {
        true => Ok(output::print_json(&json!({
            "reference": reference.to_string(),
            "digest": digest,
            "predicateType": predicate_type,
        }))?),
        false => Ok(output::print_line(digest.to_string())?),
    }
}

/// Prints the verified attestations about an image, one type on each line, or as JSON with the predicates.
pub(crate) fn attestations(context: &Context, image: &str, arguments: &VerifySignatureArguments) -> anyhow::Result<()> {
    let reference = reference(image)?;
    let keys = keys::public_keys(&arguments.key)?;
    let found = context.client()?.attestations(&reference, &keys)?;
    // A script must not take an image without attestations for one that has them.
    if found.is_empty() {
        let hint = format!("`vmroot referrers {image}` lists the documents of the image, verified or not");
        return Err(Advised::not_found(format!("{image}: no attestation that the keys verify"), hint).into());
    }
    if context.json() {
        let entry = |it: &vmroot::Attestation| {
            json!({
                "manifest": it.manifest,
                "predicateType": it.predicate_type,
                "predicate": it.predicate,
                "signer": it.signer,
            })
        };
        return Ok(output::print_json(&found.iter().map(entry).collect())?);
    }
    for attestation in found {
        output::print_line(format!("{} {}", attestation.manifest, attestation.predicate_type.escape_debug()))?;
    }
    Ok(())
}

fn predicate_type(text: &str) -> anyhow::Result<String> {
    if let Some((_, uri)) = PREDICATE_TYPES.iter().find(|(name, _)| *name == text) {
        return Ok((*uri).to_owned());
    }
    match text.contains(':') {
        true => Ok(text.to_owned()),
        false => {
            let names: Vec<&str> = PREDICATE_TYPES.iter().map(|(name, _)| *name).collect();
            Err(UsageError(format!("--type {text}: expected a URI, or one of {}", names.join(", "))).into())
        }
    }
}

/// Returns the reference of an image in a registry, with or without `docker://`.
fn reference(name: &str) -> anyhow::Result<Reference> {
    if !ImageName::has_transport(name) {
        return Ok(Reference::parse(name).map_err(vmroot::Error::from)?);
    }
    match ImageName::parse(name).map_err(vmroot::Error::from)? {
        ImageName::Docker(reference) => Ok(reference),
        other => Err(UsageError(format!("{other}: only images of registries are signed")).into()),
    }
}
