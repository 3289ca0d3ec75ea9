//! Judging an image by a policy.

mod targets;

use std::time::SystemTime;

use vmroot_model::Digest;

use crate::{
    Applicable, Examined, ImageIdentity, Judgement, Outcome, Policy, Refusal, Requirement, SignatureSource, Verdict,
};
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
    for requirement in applicable.requirements {
        let judgement = judge(requirement, &targets, source);
        if let Outcome::Refused(reason) = &judgement.outcome {
            verdict.refusal = Some(Refusal::Requirement { position: verdict.judgements.len(), reason: reason.clone() });
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

fn verifies_signatures(applicable: &Applicable<'_>) -> bool {
    applicable.requirements.iter().any(Requirement::verifies_signatures)
}

fn judge(requirement: &Requirement, _: &Targets<'_>, _: &dyn SignatureSource) -> Judgement {
    let refused = |reason: &str| Outcome::Refused(reason.to_owned());
    let outcome = match requirement {
        Requirement::InsecureAcceptAnything => Outcome::Met(None),
        Requirement::Reject => refused("the policy rejects the image"),
        Requirement::SignedBaseLayer { .. } => refused("no image can meet signedBaseLayer"),
        Requirement::SignedBy { .. } | Requirement::SigstoreSigned { .. } | Requirement::BundleSigned(_) => {
            refused("no signature was accepted")
        }
    };
    Judgement { requirement: requirement.clone(), outcome, examined: Vec::<Examined>::new(), failures: Vec::new() }
}
