//! The interface of judges, which say whether an image may be used.

use std::fmt;
use std::time::SystemTime;

use vmroot_model::Digest;

use crate::{Applicable, ImageIdentity, SignatureSource, Verdict, VerifiedAttestation};

/// An image that a judge is asked about.
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

/// Says whether images may be used. `vmroot_trust::Policy` is one.
pub trait Judge: Send + Sync + fmt::Debug {
    /// Returns the requirements on an image by its name alone.
    ///
    /// An image whose requirements [accept anything](Applicable::accepts_anything) is used without a judgement, unless
    /// signatures are required.
    fn requirements(&self, image: &ImageIdentity) -> Applicable<'_>;

    /// Returns whether every image with any name is accepted. No name is asked for then.
    fn accepts_everything(&self) -> bool {
        false
    }

    /// Judges an image: all requirements on it must be met. Signatures are requested from `source` only as they are needed.
    fn judge(&self, image: &ImageToJudge<'_>, source: &dyn SignatureSource, options: &EvaluationOptions) -> Verdict;

    /// Returns the attestations about an image by signers that the requirements name. Others are left out, and so are
    /// signatures.
    ///
    /// # Errors
    /// The reason for which the documents of the image, the keys of a requirement or the bundles cannot be read.
    fn attestations(
        &self,
        _image: &ImageToJudge<'_>,
        _source: &dyn SignatureSource,
        _now: SystemTime,
    ) -> Result<Vec<VerifiedAttestation>, String> {
        Ok(Vec::new())
    }
}
