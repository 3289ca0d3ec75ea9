//! Signing of images in registries, and the documents that were signed about them.

use std::sync::Arc;
use std::time::SystemTime;

use vmroot_model::{Descriptor, Digest, Document, MediaType, Reference};
use vmroot_registry::{Lookaside, SignatureLocations, SignaturePlaces};
use vmroot_sigstore::{
    Bundle, BundleTrust, PrivateKey, PublicKey, SIGNATURE_PREDICATE, Statement, attestation_statement,
    signature_statement,
};
use vmroot_transport::{Admission, ImageDestination as _, ImageSource, JudgedImage, ManifestPlace, RegistrySource};
use vmroot_transport::{RegistryDestination, RegistryPlace};
use vmroot_trust::{Policy, Verdict};

use super::Client;
use crate::Result;
use crate::signing::SigstoreSigner;

/// The forms of a signature that [`Client::sign`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignatureForms {
    /// A sigstore bundle that refers to the image, as cosign 3 writes it.
    pub bundle: bool,
    /// A sigstore attachment, as skopeo, podman and earlier versions of cosign read it.
    pub attachment: bool,
}

/// A verified attestation about an image.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Attestation {
    /// The digest of the document that has it.
    pub manifest: Digest,
    /// The type of the predicate.
    pub predicate_type: String,
    /// The predicate, as JSON.
    pub predicate: serde_json::Value,
    /// The hint of the signer's key: base64 of its SHA-256.
    pub signer: String,
}

impl Client {
    /// Signs an image or list in its registry. Returns the digest that was signed: that of the document that the name
    /// refers to. The images of a list are not signed.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the registry does not have the image.
    /// - The registry cannot be written.
    pub fn sign(&self, reference: &Reference, key: PrivateKey, forms: SignatureForms) -> Result<Digest> {
        let subject = self.signed_document(reference)?;
        let destination = self.signature_destination(reference, subject.digest);
        if forms.bundle {
            let statement = signature_statement(&subject.digest.hex(), &std::collections::BTreeMap::new());
            let bundle = Bundle::sign(&key, &statement)?;
            destination.put_bundle(&subject, &bundle, SIGNATURE_PREDICATE)?;
        }
        if forms.attachment {
            let signature = SigstoreSigner(key).attachment(&subject.digest, &tagged(reference).to_string());
            destination.put_signatures(&subject.digest, ManifestPlace::Top, &[signature])?;
        }
        Ok(subject.digest)
    }

    /// Judges the document that a name refers to in its registry: a bundle or an attachment of it must be signed by one of
    /// the keys. The name that an attachment signs is not compared, as in cosign.
    ///
    /// # Errors
    /// The registry cannot be read. An image that is not signed is no error: the verdict has the reason.
    pub fn verify_signature(&self, reference: &Reference, keys: &[PublicKey]) -> Result<Verdict> {
        use base64::Engine as _;

        let encode = |key: &PublicKey| base64::engine::general_purpose::STANDARD.encode(key.to_pem());
        let keys: Vec<String> = keys.iter().map(encode).collect();
        let policy = serde_json::json!({"default": [{"type": "vmrootBundleSigned", "keyDatas": keys}]});
        let admission =
            Admission { policy: Arc::new(Policy::parse(policy.to_string().as_bytes())?), require_signed: true };
        let source = self.signature_source(reference);
        let raw = source.manifest(None)?;
        let digest = vmroot_model::manifest_digest(&raw.bytes).unwrap_or_else(|_| Digest::of(&raw.bytes));
        let image = JudgedImage { manifest: &raw.bytes, digest, indexes: &[] };
        Ok(admission.judge(&source.identity()?, &source, &image).0)
    }

    /// Signs a predicate about an image or list in its registry, and writes it as a bundle. Returns the digest of the
    /// image.
    ///
    /// # Errors
    /// As [`Self::sign`].
    pub fn attest(
        &self,
        reference: &Reference,
        key: &PrivateKey,
        predicate_type: &str,
        predicate: &serde_json::Value,
    ) -> Result<Digest> {
        let subject = self.signed_document(reference)?;
        let statement = attestation_statement(&reference.name(), &subject.digest.hex(), predicate_type, predicate);
        let bundle = Bundle::sign(key, &statement)?;
        let destination = self.signature_destination(reference, subject.digest);
        destination.put_bundle(&subject, &bundle, predicate_type)?;
        Ok(subject.digest)
    }

    /// Returns the attestations about an image or list that one of the keys has signed. Others, and those that are damaged,
    /// are left out. So are signatures.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub fn attestations(&self, reference: &Reference, keys: &[PublicKey]) -> Result<Vec<Attestation>> {
        let source = self.signature_source(reference);
        let raw = source.manifest(None)?;
        let digest = vmroot_model::manifest_digest(&raw.bytes).unwrap_or_else(|_| Digest::of(&raw.bytes));
        let mut found = Vec::new();
        for stored in source.bundles(&digest)? {
            let trust = BundleTrust::Keys { keys, log: None };
            let Ok(bundle) = Bundle::parse(&stored.bytes) else { continue };
            let Ok(verified) = bundle.verify(&trust, SystemTime::now()) else { continue };
            let Statement { predicate_type, predicate, .. } = &verified.statement;
            if !verified.statement.is_about_sha256(&digest.hex()) || predicate_type == SIGNATURE_PREDICATE {
                continue;
            }
            found.push(Attestation {
                manifest: stored.manifest,
                predicate_type: predicate_type.clone(),
                predicate: predicate.clone(),
                signer: match &verified.signer {
                    vmroot_sigstore::Signer::Key(key) => key.hint(),
                    _ => String::new(),
                },
            });
        }
        Ok(found)
    }

    /// Returns the descriptor of the document that a name refers to in its registry.
    fn signed_document(&self, reference: &Reference) -> Result<Descriptor> {
        let fetched = self.registry().manifest(reference)?;
        let size = fetched.bytes.len() as u64;
        let document = Document::parse(fetched.bytes, fetched.media_type.as_deref())?;
        Ok(Descriptor::new(MediaType::new(document.media_type().essence()), fetched.digest, size))
    }

    /// Returns the repository of a reference, to write signatures.
    fn signature_destination(&self, reference: &Reference, digest: Digest) -> RegistryDestination {
        let destination = RegistryDestination::new(self.registry().clone(), reference.with_digest(digest));
        destination.with_signatures(Arc::new(attachments_only()))
    }

    /// Returns the image of a reference in its registry, with its attachments.
    fn signature_source(&self, reference: &Reference) -> RegistrySource {
        let (client, reference) = (self.registry().clone(), tagged(reference));
        let signatures: Option<Arc<dyn SignaturePlaces>> = Some(Arc::new(attachments_only()));
        let place = RegistryPlace::Repository { client, reference: reference.clone(), signatures };
        RegistrySource::at_places(reference, vec![place])
    }
}

/// Returns places of signatures with attachments only: a lookaside that does not exist.
fn attachments_only() -> SignatureLocations {
    let nowhere = Lookaside::Directory("/nonexistent/sigstore".into());
    SignatureLocations { lookaside: nowhere.clone(), staging: nowhere, attachments: true }
}

fn tagged(reference: &Reference) -> Reference {
    match (reference.tag(), reference.digest()) {
        (None, None) => reference.with_tag("latest").expect("latest is a tag"),
        _ => reference.clone(),
    }
}
