//! Judging an image by a policy.

mod attachments;
mod bundles;
mod examiner;
mod files;
mod list;
mod simple;
mod targets;

use std::time::SystemTime;

use vmroot_signatures::{
    Applicable, EvaluationOptions, ImageIdentity, ImageToJudge, Judgement, Outcome, Refusal, Requirement,
    SignatureSource, Verdict, VerifiedAttestation,
};

use crate::Policy;
use examiner::{Cached, Examiner};
use targets::Targets;

/// Judges an image by a policy: all requirements of the section that applies must be met.
///
/// Signatures are requested from `source` only if a requirement needs them. The requirements after the first one that
/// is not met are not evaluated.
pub fn evaluate(
    policy: &Policy,
    image: &ImageToJudge<'_>,
    source: &dyn SignatureSource,
    options: &EvaluationOptions,
) -> Verdict {
    let applicable = policy.requirements(image.identity);
    let mut verdict = Verdict::of(&applicable, image);
    let targets = match Targets::check(image) {
        Ok(targets) => targets,
        Err(reason) => {
            verdict.refusal = Some(Refusal::Image(reason));
            return verdict;
        }
    };
    let source = Cached::new(source);
    for requirement in applicable.requirements {
        let judgement = judge(requirement, image.identity, &targets, &source, options.now);
        if let Outcome::Refused(reason) = &judgement.outcome {
            let position = verdict.judgements.len();
            verdict.refusal = Some(Refusal::Requirement { position, reason: reason.clone() });
        }
        verdict.judgements.push(judgement);
        if verdict.refusal.is_some() {
            return verdict;
        }
    }
    if options.require_signed && !verifies_signatures(&applicable) {
        verdict.refusal = Some(Refusal::NotSigned);
    }
    verdict
}

/// Returns the attestations about an image by the signers of its `vmrootBundleSigned` requirements. Others are left out, and
/// so are signatures.
///
/// # Errors
/// The reason for which the documents of the image, the keys of a requirement or the bundles cannot be read.
pub fn verified_attestations(
    policy: &Policy,
    image: &ImageToJudge<'_>,
    source: &dyn SignatureSource,
    now: SystemTime,
) -> Result<Vec<VerifiedAttestation>, String> {
    let targets = Targets::check(image)?;
    let mut found: Vec<VerifiedAttestation> = Vec::new();
    for requirement in policy.requirements(image.identity).requirements {
        let Requirement::BundleSigned(signers) = requirement else { continue };
        for attestation in bundles::attestations(&targets, source, signers, now)? {
            if !found.contains(&attestation) {
                found.push(attestation);
            }
        }
    }
    Ok(found)
}

fn verifies_signatures(applicable: &Applicable<'_>) -> bool {
    applicable.requirements.iter().any(Requirement::verifies_signatures)
}

fn judge(
    requirement: &Requirement,
    image: &ImageIdentity,
    targets: &Targets<'_>,
    source: &Cached<'_>,
    now: SystemTime,
) -> Judgement {
    let mut examiner = Examiner::new(targets, source, now);
    let result = match requirement {
        Requirement::InsecureAcceptAnything => Ok(None),
        Requirement::Reject => Err("the policy rejects the image".to_owned()),
        Requirement::SignedBaseLayer { .. } => Err("no image can meet signedBaseLayer".to_owned()),
        Requirement::SignedBy { key_type, keys, signed_identity } => {
            simple::judge(&mut examiner, image, *key_type, keys, signed_identity).map(Some)
        }
        Requirement::SigstoreSigned { signers, signed_identity } => {
            attachments::judge(&mut examiner, image, signers, signed_identity).map(Some)
        }
        Requirement::BundleSigned(signers) => bundles::judge(&mut examiner, signers).map(Some),
    };
    let (examined, failures) = examiner.into_parts();
    let outcome = result.map_or_else(Outcome::Refused, Outcome::Met);
    Judgement { requirement: requirement.clone(), outcome, examined, failures }
}
