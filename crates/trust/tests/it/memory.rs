//! Signatures in memory, which count how often they are requested.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::SystemTime;

use vmroot_model::{Digest, Reference};
use vmroot_trust::{
    Bundles, EvaluationOptions, ImageIdentity, ImageToJudge, Policy, Signature, SignatureSource, SourceError,
    StoredBundle, Verdict, evaluate,
};

pub(crate) const MANIFEST: &[u8] = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#;

#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) signatures: HashMap<Digest, Vec<Signature>>,
    pub(crate) bundles: HashMap<Digest, Vec<StoredBundle>>,
    pub(crate) further: HashMap<Digest, Vec<StoredBundle>>,
    /// Requests for these digests fail.
    pub(crate) unreachable: Vec<Digest>,
    pub(crate) requests: RefCell<Vec<(&'static str, Digest)>>,
}

impl Memory {
    pub(crate) fn signed(signatures: &[Signature]) -> Self {
        Self { signatures: [(Digest::of(MANIFEST), signatures.to_vec())].into(), ..Self::default() }
    }

    pub(crate) fn bundled(bundles: &[&[u8]]) -> Self {
        let stored = |bytes: &&[u8]| StoredBundle { manifest: Digest::of(bytes), bytes: bytes.to_vec() };
        Self { bundles: [(Digest::of(MANIFEST), bundles.iter().map(stored).collect())].into(), ..Self::default() }
    }

    fn answer<T: Clone>(
        &self,
        kind: &'static str,
        of: &Digest,
        lists: &HashMap<Digest, Vec<T>>,
    ) -> Result<Vec<T>, SourceError> {
        self.requests.borrow_mut().push((kind, *of));
        if self.unreachable.contains(of) {
            return Err("the registry does not answer".into());
        }
        Ok(lists.get(of).cloned().unwrap_or_default())
    }
}

impl SignatureSource for Memory {
    fn signatures(&self, manifest: &Digest) -> Result<Vec<Signature>, SourceError> {
        self.answer("signatures", manifest, &self.signatures)
    }

    fn bundles<'a>(&'a self, manifest: &Digest) -> Result<Bundles<'a>, SourceError> {
        let bundles = self.answer("bundles", manifest, &self.bundles)?;
        Ok(Box::new(bundles.into_iter().map(Ok)))
    }

    fn further_bundles<'a>(&'a self, manifest: &Digest) -> Result<Bundles<'a>, SourceError> {
        let bundles = self.answer("further bundles", manifest, &self.further)?;
        Ok(Box::new(bundles.into_iter().map(Ok)))
    }
}

/// Returns an index that names a manifest.
pub(crate) fn index_of(manifest: &Digest) -> (Digest, Vec<u8>) {
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":
        "application/vnd.oci.image.manifest.v1+json","digest":"{manifest}","size":76}}]}}"#
    );
    (Digest::of(text.as_bytes()), text.into_bytes())
}

/// Judges [`MANIFEST`] by a policy whose default is one requirement.
pub(crate) fn judge(requirement: &str, name: &str, source: &Memory, indexes: &[(Digest, Vec<u8>)]) -> Verdict {
    let policy = Policy::parse(format!(r#"{{"default":[{requirement}]}}"#).as_bytes()).unwrap();
    let identity = ImageIdentity::docker(&Reference::parse(name).unwrap()).unwrap();
    let image = ImageToJudge { identity: &identity, manifest: MANIFEST, digest: Digest::of(MANIFEST), indexes };
    evaluate(&policy, &image, source, &EvaluationOptions { now: SystemTime::now(), require_signed: true })
}

/// Returns the reason of a refusal.
pub(crate) fn refusal(verdict: Verdict) -> String {
    verdict.into_result().unwrap_err().to_string()
}
