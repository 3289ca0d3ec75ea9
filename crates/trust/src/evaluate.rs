//! Judging an image by a policy.

mod attachments;
mod bundles;
mod examiner;
mod files;
mod list;
mod simple;
mod targets;

use std::time::SystemTime;

use vmroot_model::Digest;

use crate::{
    Applicable, ImageIdentity, Judgement, Outcome, Policy, Refusal, Requirement, SignatureSource, Verdict,
    VerifiedAttestation,
};
use examiner::{Cached, Examiner};
use targets::Targets;

/// An image that a policy is asked about.
#[derive(Debug, Clone, Copy)]
pub struct ImageToJudge<'a> {
    /// The names of the image in a policy.
    pub identity: &'a ImageIdentity,
    /// The bytes of the manifest. It is that of an instance, or a list that is judged itself.
    pub manifest: &'a [u8],
    /// The digest of the manifest, with which its signatures are stored.
    pub digest: Digest,
    /// The indexes through which the manifest was found, the nearest first. A signature of one of them covers the
    /// image, because its bytes name the next digest.
    pub indexes: &'a [(Digest, Vec<u8>)],
}

/// Settings of an evaluation.
#[derive(Debug, Clone, Copy)]
pub struct EvaluationOptions {
    /// The time for which keys, certificates and signatures must be valid.
    pub now: SystemTime,
    /// Refuse an image if no requirement verifies a signature.
    pub require_signed: bool,
}

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
