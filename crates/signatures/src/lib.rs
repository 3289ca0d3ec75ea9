//! Signatures of images as they are stored, and the interface of the judges of images.
//!
//! The parts of vmroot that read, keep and write images handle [`Signature`]s and [`StoredBundle`]s as bytes, and ask a
//! [`Judge`] whether an image may be used. The judge answers with a [`Verdict`]. This crate has no cryptography: the crate
//! `vmroot-trust` has the judge that verifies signatures by a policy.

mod error;
mod identity;
mod judge;
mod requirement;
mod section;
mod signature;
mod signed_identity;
mod source;
mod verdict;

pub use error::{Error, Result};
pub use identity::{ImageIdentity, PathTransport, StorageImage, check_scope};
pub use judge::{EvaluationOptions, ImageToJudge, Judge};
pub use requirement::{AttachmentSigners, BundleSigners, DataSource, KeyType, Requirement};
pub use section::{Applicable, Section};
pub use signature::{SIGNATURE_LIMIT, SIGSTORE_SIGNATURE_TYPE, Signature, StoredBundle};
pub use signed_identity::{SignedIdentity, check_prefix};
pub use source::{BUNDLES_LIMIT, Bundles, NoSignatures, SIGNATURES_LIMIT, SignatureSource, SourceError};
pub use verdict::{
    Accepted, Coverage, Examined, Judgement, Outcome, Refusal, Refused, SignatureKind, SourceFailure, Verdict,
    VerifiedAttestation,
};
