//! Policies on signatures of images.
//!
//! A [`Policy`] says which signatures an image needs. [`evaluate`] asks a [`SignatureSource`] for them and gives a
//! [`Verdict`], which names the requirement that applied, each signature with the reason of its refusal, and the digest
//! that was verified. The policy has the format of containers/image, `policy.json`, with one more type of requirement
//! ([`Requirement::BundleSigned`]) for the bundles of cosign 3.
//!
//! The crate uses no network and no clock. It reads only the files that a policy names.

mod error;
mod evaluate;
mod identity;
mod payload;
mod policy;
mod requirement;
mod signature;
mod signed_identity;
mod source;
mod verdict;

pub use error::{Error, Result};
pub use evaluate::{EvaluationOptions, ImageToJudge, evaluate, verified_attestations};
pub use identity::{ImageIdentity, PathTransport, StorageImage};
pub use payload::{PAYLOAD_LIMIT, Payload, PayloadKind};
pub use policy::{Applicable, POLICY_LIMIT, Policy, Section};
pub use requirement::{AttachmentSigners, BundleSigners, DataSource, KeyType, Requirement};
pub use signature::{SIGNATURE_LIMIT, SIGSTORE_SIGNATURE_TYPE, Signature, StoredBundle};
pub use signed_identity::SignedIdentity;
pub use source::{BUNDLES_LIMIT, Bundles, NoSignatures, SIGNATURES_LIMIT, SignatureSource, SourceError};
pub use verdict::{
    Accepted, Coverage, Examined, Judgement, Outcome, Refusal, Refused, SignatureKind, SourceFailure, Verdict,
    VerifiedAttestation,
};
