//! The signatures that were read when an image was judged, kept as one document beside its record, so that a policy can be
//! asked again without the image's source.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use vmroot_model::{Digest, Document};
use vmroot_signatures::{Coverage, ImageIdentity, Signature, StoredBundle, Verdict, VerifiedAttestation};
use vmroot_transport::{Admission, Admitted, ImageSource, JudgedImage, SeenSignatures};

use crate::{ChosenImage, Error, Progress, Record, Result, Store, StoredSource};

/// The largest document in bytes.
const DOCUMENT_LIMIT: u64 = 256 << 20;

/// The document with the signatures of an image.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignatureDocument {
    /// The verdict, if a policy accepted the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    judged: Option<Judged>,
    /// The signatures in the form of files, in base64, by the digest of the signed document.
    signatures: BTreeMap<Digest, Vec<String>>,
    bundles: BTreeMap<Digest, Vec<BundleEntry>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BundleEntry {
    manifest: Digest,
    bundle: String,
}

/// The acceptance of an image by a policy, when it was pulled or loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Judged {
    /// The image, as the policy named it.
    pub image: String,
    /// The digest of the judged manifest.
    pub digest: Digest,
    /// The section of the policy that applied.
    pub section: String,
    /// The signatures by which its requirements were met. Empty if it needed none.
    pub accepted: Vec<JudgedSignature>,
}

/// A signature that met a requirement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct JudgedSignature {
    /// The type of the requirement that it met. Empty in documents of earlier versions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub requirement: String,
    /// The verified digest.
    pub verified: Digest,
    /// Whether it is that of an index through which the manifest was found, and not of the manifest.
    pub is_index: bool,
    /// The signer.
    pub signer: String,
    /// The signed name, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

impl Judged {
    fn of(verdict: &Verdict) -> Self {
        let accepted = verdict.met_by_signatures().map(|(requirement, it)| JudgedSignature {
            requirement: requirement.name().to_owned(),
            verified: it.verified,
            is_index: it.coverage == Coverage::Index,
            signer: it.signer.clone(),
            reference: it.reference.clone(),
        });
        Self {
            image: verdict.image.clone(),
            digest: verdict.digest,
            section: verdict.section.to_string(),
            accepted: accepted.collect(),
        }
    }
}

/// Signatures to keep beside the record of an image.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeptSignatures {
    document: SignatureDocument,
}

impl KeptSignatures {
    /// Takes the signatures of an image that was accepted.
    pub(crate) fn of_admitted(admitted: &Admitted) -> Self {
        Self { document: SignatureDocument { judged: Some(Judged::of(&admitted.verdict)), ..document(&admitted.seen) } }
    }

    /// Takes signatures that a copy carries.
    pub(crate) fn of_seen(seen: &SeenSignatures) -> Self {
        Self { document: document(seen) }
    }

    /// Returns the document and its digest, or `None` if there is nothing to keep.
    pub(crate) fn to_document(&self) -> Option<(Digest, Vec<u8>)> {
        let SignatureDocument { judged, signatures, bundles } = &self.document;
        if judged.is_none() && signatures.is_empty() && bundles.is_empty() {
            return None;
        }
        let bytes = serde_json::to_vec(&self.document).expect("digests and texts are plain data");
        Some((Digest::of(&bytes), bytes))
    }
}

fn document(seen: &SeenSignatures) -> SignatureDocument {
    let encode = |signature: &Signature| BASE64.encode(signature.to_stored());
    let entry = |it: &StoredBundle| BundleEntry { manifest: it.manifest, bundle: BASE64.encode(&it.bytes) };
    let signatures = seen.signatures.iter().filter(|(_, all)| !all.is_empty());
    let bundles = seen.bundles.iter().filter(|(_, all)| !all.is_empty());
    SignatureDocument {
        judged: None,
        signatures: signatures.map(|(digest, all)| (*digest, all.iter().map(encode).collect())).collect(),
        bundles: bundles.map(|(digest, all)| (*digest, all.iter().map(entry).collect())).collect(),
    }
}

/// The documents by which a policy judges an image.
#[derive(Debug, Clone)]
pub struct JudgedDocuments {
    manifest: Vec<u8>,
    digest: Digest,
    indexes: Vec<(Digest, Vec<u8>)>,
}

impl JudgedDocuments {
    /// Returns the documents for a policy.
    pub fn as_judged(&self) -> JudgedImage<'_> {
        JudgedImage { manifest: &self.manifest, digest: self.digest, indexes: &self.indexes }
    }
}

impl ChosenImage {
    /// Returns the documents by which a policy judges the image: its manifest, and the indexes above it.
    ///
    /// The signatures of an image whose layers are stored in another form are those of its original manifest.
    pub fn judged_documents(&self, source: &dyn ImageSource) -> JudgedDocuments {
        if let Some(raw) = source.original_manifest() {
            return JudgedDocuments { digest: Digest::of(&raw.bytes), manifest: raw.bytes, indexes: Vec::new() };
        }
        let top = match &*self.top {
            Document::Index(index) => Some((*index.digest(), index.raw().to_vec())),
            Document::Manifest(_) => None,
        };
        let indexes = self.indexes.iter().rev().map(|index| (*index.digest(), index.raw().to_vec()));
        let indexes = indexes.chain(top).collect();
        JudgedDocuments { manifest: self.manifest.raw().to_vec(), digest: *self.manifest.digest(), indexes }
    }
}

impl StoredSource {
    /// Returns the documents by which a policy judges the image.
    fn judged_documents(&self) -> Result<JudgedDocuments> {
        let record = self.record();
        let manifest = self.manifest(Some(&record.manifest.digest))?.bytes;
        let mut indexes = Vec::new();
        for digest in record.indexes.iter().rev().chain([&record.digest]) {
            if *digest != record.manifest.digest {
                indexes.push((*digest, self.manifest(Some(digest))?.bytes));
            }
        }
        Ok(JudgedDocuments { manifest, digest: record.manifest.digest, indexes })
    }
}

impl Store {
    fn read_signatures(&self, record: &Record) -> Option<SignatureDocument> {
        let bytes = self.read_document(record.signatures.as_ref()?, DOCUMENT_LIMIT)?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Returns the signatures that were kept when an image was pulled or loaded. Empty if there are none, or if they are
    /// lost.
    pub fn kept_signatures(&self, record: &Record) -> SeenSignatures {
        let document = self.read_signatures(record).unwrap_or_default();
        let decode = |text: &String| Some(Signature::from_stored(&BASE64.decode(text).ok()?));
        let bundle =
            |it: &BundleEntry| Some(StoredBundle { manifest: it.manifest, bytes: BASE64.decode(&it.bundle).ok()? });
        let signatures = document.signatures.iter();
        let bundles = document.bundles.iter();
        SeenSignatures {
            signatures: signatures.map(|(digest, all)| (*digest, all.iter().filter_map(decode).collect())).collect(),
            bundles: bundles.map(|(digest, all)| (*digest, all.iter().filter_map(bundle).collect())).collect(),
        }
    }

    /// Returns the verdict by which an image was accepted when it was pulled or loaded, if a policy was asked then.
    pub fn judged(&self, record: &Record) -> Option<Judged> {
        self.read_signatures(record)?.judged
    }

    /// Judges an image of the store with the signatures that were kept when it was pulled or loaded. Nothing is fetched.
    /// `identity` is the name of the image in the policy; by default it is that of its origin.
    ///
    /// # Errors
    /// - [`Error::Source`] with a [`RefusedByPolicy`](vmroot_transport::Error::RefusedByPolicy): the policy does not accept
    ///   the image.
    /// - [`Error::Source`], [`Error::Damaged`]: the image has no name in policies, or its documents are damaged.
    /// - [`Error::BrokenChain`]: the record has other layers than the manifest, or another manifest than the index.
    pub fn check_policy(
        &self,
        image: &StoredSource,
        identity: Option<&ImageIdentity>,
        admission: &Admission,
    ) -> Result<Option<Admitted>> {
        let Some((verdict, seen)) = self.judge(image, identity, admission)? else { return Ok(None) };
        match verdict.into_result() {
            Ok(verdict) => Ok(Some(Admitted { verdict, seen })),
            Err(refused) => Err(vmroot_transport::Error::RefusedByPolicy(refused).into()),
        }
    }

    /// Judges an image as [`Self::check_policy`] does, and returns the verdict in either case; `None` if the policy accepts
    /// the image by its name alone.
    ///
    /// # Errors
    /// [`Error::Source`]: the image has no name in policies, or its documents are damaged.
    pub fn judge(
        &self,
        image: &StoredSource,
        identity: Option<&ImageIdentity>,
        admission: &Admission,
    ) -> Result<Option<(Verdict, SeenSignatures)>> {
        if admission.accepts_everything() {
            return Ok(None);
        }
        let identity = match identity {
            Some(identity) => identity.clone(),
            None => image.identity()?,
        };
        if admission.accepts_unseen(&identity) {
            return Ok(None);
        }
        // The root is that of the record, and must be that of the documents.
        self.chain(image.image())?;
        Ok(Some(admission.judge(&identity, image, &image.judged_documents()?.as_judged())))
    }

    /// Returns the attestations about an image of the store, by signers of the policy, among the bundles that were kept.
    ///
    /// # Errors
    /// [`Error::Source`]: the documents of the image are damaged.
    pub fn verified_attestations(
        &self,
        image: &StoredSource,
        identity: &ImageIdentity,
        admission: &Admission,
    ) -> Result<Vec<VerifiedAttestation>> {
        Ok(admission.attestations(identity, image, &image.judged_documents()?.as_judged()))
    }

    /// Judges an image of a source before it is stored.
    pub(crate) fn admit(
        &self,
        admission: Option<&Admission>,
        source: &dyn ImageSource,
        chosen: &ChosenImage,
    ) -> Result<KeptSignatures> {
        let Some(admission) = admission.filter(|it| !it.accepts_everything()) else {
            return Ok(KeptSignatures::default());
        };
        let of_source = |error| Error::of_source(source.name(), error);
        let identity = source.identity().map_err(of_source)?;
        if admission.accepts_unseen(&identity) {
            return Ok(KeptSignatures::default());
        }
        let documents = chosen.judged_documents(source);
        let admitted = admission.check_as(&identity, source, &documents.as_judged()).map_err(of_source)?;
        Ok(KeptSignatures::of_admitted(&admitted))
    }

    /// Stores the document with the signatures of an image.
    pub(crate) fn keep_signatures(&self, kept: &KeptSignatures, progress: &dyn Progress) -> Result<()> {
        match kept.to_document() {
            Some((digest, bytes)) => self.write_document(&digest, &bytes, progress),
            None => Ok(()),
        }
    }
}
