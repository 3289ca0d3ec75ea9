//! Policies on signatures of images.
//!
//! A [`Policy`] says which signatures an image needs. [`evaluate`] asks a [`SignatureSource`] for them and gives a
//! [`Verdict`], which names the requirement that applied, each signature with the reason of its refusal, and the digest
//! that was verified. The policy has the format of containers/image, `policy.json`, with one more type of requirement
//! ([`Requirement::BundleSigned`]) for the bundles of cosign 3.
//!
//! The data that other crates share with a judge of images is in `vmroot-signatures`, and is available here, too.
//!
//! The crate uses no network and no clock. It reads only the files that a policy names.

mod error;
mod evaluate;
mod payload;
mod policy;

pub use error::{Error, Result};
pub use evaluate::{evaluate, verified_attestations};
pub use payload::{PAYLOAD_LIMIT, Payload, PayloadKind};
pub use policy::{POLICY_LIMIT, Policy};
#[doc(no_inline)]
pub use vmroot_signatures::{
    Accepted, Applicable, AttachmentSigners, BUNDLES_LIMIT, BundleSigners, Bundles, Coverage, DataSource,
    EvaluationOptions, Examined, ImageIdentity, ImageToJudge, Judge, Judgement, KeyType, NoSignatures, Outcome,
    PathTransport, Refusal, Refused, Requirement, SIGNATURE_LIMIT, SIGNATURES_LIMIT, SIGSTORE_SIGNATURE_TYPE, Section,
    Signature, SignatureKind, SignatureSource, SignedIdentity, SourceError, SourceFailure, StorageImage, StoredBundle,
    Verdict, VerifiedAttestation,
};
