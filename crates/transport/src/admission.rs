//! Admission of images: a policy is asked before an image is used.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use vmroot_model::Digest;
use vmroot_signatures::{
    Bundles, EvaluationOptions, ImageIdentity, ImageToJudge, Judge, Refused, Signature, SignatureSource, SourceError,
    StoredBundle, Verdict, VerifiedAttestation,
};

use crate::{BundleList, Error, ImageSource, Result};

/// A policy that images must meet before they are stored under a name, copied or used.
#[derive(Debug, Clone)]
pub struct Admission {
    /// The policy, or another judge.
    pub policy: Arc<dyn Judge>,
    /// Whether an image is refused if no requirement verifies a signature of it.
    pub require_signed: bool,
}

/// An image that a policy is asked about.
#[derive(Debug, Clone, Copy)]
pub struct JudgedImage<'a> {
    /// The bytes of the manifest.
    pub manifest: &'a [u8],
    /// The digest of the manifest.
    pub digest: Digest,
    /// The indexes through which the manifest was found, the nearest first.
    pub indexes: &'a [(Digest, Vec<u8>)],
}

/// The signatures that were read to judge an image, by the digest of the signed document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenSignatures {
    /// Those in the forms of containers/image.
    pub signatures: BTreeMap<Digest, Vec<Signature>>,
    /// Sigstore bundles.
    pub bundles: BTreeMap<Digest, Vec<StoredBundle>>,
}

impl SeenSignatures {
    /// Adds those of `others`. Signatures of a document that is known already stay.
    pub fn merge(&mut self, others: &Self) {
        for (digest, signatures) in &others.signatures {
            self.signatures.entry(*digest).or_insert_with(|| signatures.clone());
        }
        for (digest, bundles) in &others.bundles {
            self.bundles.entry(*digest).or_insert_with(|| bundles.clone());
        }
    }

    /// Returns whether there are no signatures.
    pub fn is_empty(&self) -> bool {
        self.signatures.values().all(Vec::is_empty) && self.bundles.values().all(Vec::is_empty)
    }
}

/// An image that a policy accepts.
#[derive(Debug)]
pub struct Admitted {
    /// The verdict with its reasons.
    pub verdict: Verdict,
    /// The signatures that were read for it.
    pub seen: SeenSignatures,
}

impl Admission {
    /// Returns whether every image is accepted, so that not even its name matters.
    pub fn accepts_everything(&self) -> bool {
        !self.require_signed && self.policy.accepts_everything()
    }

    /// Returns whether the policy accepts each image with this name, with any manifest and any signatures. Nothing
    /// needs to be read for it then.
    pub fn accepts_unseen(&self, identity: &ImageIdentity) -> bool {
        !self.require_signed && self.policy.requirements(identity).accepts_anything()
    }

    /// Judges an image of a source, under the source's own name.
    ///
    /// # Errors
    /// - [`Error::RefusedByPolicy`]: the policy does not accept the image.
    /// - [`Error::Name`], or another error: a policy has no name for the image.
    pub fn check(&self, source: &dyn ImageSource, image: &JudgedImage<'_>) -> Result<Admitted> {
        self.check_as(&source.identity()?, source, image)
    }

    /// Judges an image of a source, under the name `identity`.
    ///
    /// # Errors
    /// [`Error::RefusedByPolicy`]: the policy does not accept the image.
    pub fn check_as(
        &self,
        identity: &ImageIdentity,
        source: &dyn ImageSource,
        image: &JudgedImage<'_>,
    ) -> Result<Admitted> {
        let (verdict, seen) = self.judge(identity, source, image);
        match verdict.into_result() {
            Ok(verdict) => Ok(Admitted { verdict, seen }),
            Err(refused) => Err(Error::RefusedByPolicy(refused)),
        }
    }

    /// Judges an image, and returns the verdict in either case, with the signatures that were read.
    pub fn judge(
        &self,
        identity: &ImageIdentity,
        source: &dyn ImageSource,
        image: &JudgedImage<'_>,
    ) -> (Verdict, SeenSignatures) {
        let recorder = Recorder { source, seen: Mutex::default() };
        let judged = image.under(identity);
        let options = EvaluationOptions { now: SystemTime::now(), require_signed: self.require_signed };
        let verdict = self.policy.judge(&judged, &recorder, &options);
        (verdict, recorder.seen.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the attestations about an image by signers of the policy. An image that the policy does not accept, for
    /// example because a key cannot be read, has none.
    pub fn attestations(
        &self,
        identity: &ImageIdentity,
        source: &dyn ImageSource,
        image: &JudgedImage<'_>,
    ) -> Vec<VerifiedAttestation> {
        let recorder = Recorder { source, seen: Mutex::default() };
        self.policy.attestations(&image.under(identity), &recorder, SystemTime::now()).unwrap_or_default()
    }
}

impl<'a> JudgedImage<'a> {
    /// Returns the image under a name.
    fn under(&self, identity: &'a ImageIdentity) -> ImageToJudge<'a> {
        let &Self { manifest, digest, indexes } = self;
        ImageToJudge { identity, manifest, digest, indexes }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::RefusedByPolicy(refused)
    }
}

/// Reads signatures of an image, and keeps what it has read.
struct Recorder<'a> {
    source: &'a dyn ImageSource,
    seen: Mutex<SeenSignatures>,
}

impl Recorder<'_> {
    /// Returns bundles that are kept when they are taken.
    fn recorded<'a>(&'a self, manifest: &Digest, bundles: BundleList<'a>) -> Bundles<'a> {
        let manifest = *manifest;
        Box::new(bundles.map(move |read| {
            let bundle = read?;
            let mut seen = self.seen();
            let kept = seen.bundles.entry(manifest).or_default();
            if !kept.contains(&bundle) {
                kept.push(bundle.clone());
            }
            Ok(bundle)
        }))
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, SeenSignatures> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SignatureSource for Recorder<'_> {
    fn signatures(&self, manifest: &Digest) -> std::result::Result<Vec<Signature>, SourceError> {
        let signatures = self.source.signatures(manifest)?;
        self.seen().signatures.insert(*manifest, signatures.clone());
        Ok(signatures)
    }

    fn bundles<'a>(&'a self, manifest: &Digest) -> std::result::Result<Bundles<'a>, SourceError> {
        // Those of a file or the cache cost no requests, so all of them are kept.
        if self.source.repository().is_none() {
            let all: Vec<_> = self.recorded(manifest, self.source.probable_bundles(manifest)?).collect();
            return Ok(Box::new(all.into_iter()));
        }
        Ok(self.recorded(manifest, self.source.probable_bundles(manifest)?))
    }

    fn further_bundles<'a>(&'a self, manifest: &Digest) -> std::result::Result<Bundles<'a>, SourceError> {
        Ok(self.recorded(manifest, self.source.further_bundles(manifest)?))
    }
}
