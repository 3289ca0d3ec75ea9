//! Signatures in OCI layouts, as `cosign save` writes them (sigstore/cosign, pkg/oci/layout).

use std::fs;

use vmroot_model::{Algorithm, Descriptor, Digest, Document, MANIFEST_LIMIT, MediaType};
use vmroot_signatures::{SIGNATURE_LIMIT, SIGNATURES_LIMIT, Signature, StoredBundle};

use super::{OciImage, REF_NAME};
use crate::attachments::attachment_tag;
use crate::referrers::Referrers;
use crate::source::{ImageSource as _, read_blob};
use crate::{Error, Result, bundles};

/// The annotation by which cosign marks the entries of a layout, and the marks of signatures and attestations.
pub(super) const KIND: &str = "kind";
pub(super) const SIGNATURES: &str = "dev.cosignproject.cosign/sigs";
const ATTESTATIONS: &str = "dev.cosignproject.cosign/atts";

/// The most blobs of a layout that are searched for bundles.
const BLOBS_LIMIT: usize = 4096;

/// Returns whether an entry of a layout is a document of cosign about an image, and not an image.
pub(super) fn is_of_cosign(entry: &Descriptor) -> bool {
    entry.annotation(KIND).is_some_and(|kind| kind == SIGNATURES || kind == ATTESTATIONS)
}

impl OciImage {
    /// Reads the sigstore signatures of the entry with the tag of a manifest's signatures. A layout of `cosign save` has
    /// no such tag, and does not say which image its signatures are about, so all of them are returned. Only those with
    /// the digest in their payload verify.
    pub(super) fn read_signatures(&self, manifest: &Digest) -> Result<Vec<Signature>> {
        let tag = attachment_tag(manifest);
        let is_attachment = |entry: &&Descriptor| match entry.annotation(REF_NAME) {
            Some(name) if name.ends_with(".sig") => name == tag,
            _ => entry.annotation(KIND) == Some(SIGNATURES),
        };
        let mut signatures = Vec::new();
        for entry in self.entries.iter().filter(is_attachment) {
            let raw = self.read_manifest(&entry.digest, None)?;
            let Ok(Document::Manifest(attachments)) = Document::parse(raw.bytes, None) else { continue };
            for layer in attachments.layers() {
                if signatures.len() == SIGNATURES_LIMIT {
                    return Err(Error::TooManySignatures { place: self.name(), limit: SIGNATURES_LIMIT });
                }
                signatures.push(Signature::Sigstore {
                    mime_type: layer.media_type.to_string(),
                    payload: read_blob(self, layer, SIGNATURE_LIMIT as u64)?,
                    annotations: layer.annotations.clone(),
                });
            }
        }
        Ok(signatures)
    }

    /// Reads the bundles that refer to a manifest: those of the entries, and in a directory those of all blobs, because
    /// cosign lists no bundles in the index.
    pub(super) fn read_bundles(&self, manifest: &Digest) -> Result<Vec<StoredBundle>> {
        let mut listed = self.referrers(manifest)?;
        for found in self.search_blobs(manifest)? {
            if !listed.iter().any(|known| known.digest == found.digest) {
                listed.push(found);
            }
        }
        bundles::of_listed(self, manifest, listed)
    }

    /// Returns the manifests among the blobs of a directory that refer to a manifest.
    fn search_blobs(&self, manifest: &Digest) -> Result<Vec<Descriptor>> {
        let Some(directory) = self.blobs.bundle.directory() else { return Ok(Vec::new()) };
        let directory = directory.join(self.blobs.prefix).join(Algorithm::Sha256.name());
        let Ok(entries) = fs::read_dir(&directory) else { return Ok(Vec::new()) };
        let mut found = Referrers::default();
        for entry in entries.take(BLOBS_LIMIT) {
            let entry = entry.map_err(Error::io("list", &directory))?;
            let name = entry.file_name();
            let digest = name.to_str().and_then(|hex| Digest::parse(&format!("sha256:{hex}")).ok());
            let Some(digest) = digest else { continue };
            let Some(section) = self.blobs.bundle.find(&self.blobs.member(&digest))? else { continue };
            if section.len() > MANIFEST_LIMIT {
                continue;
            }
            let bytes = self.blobs.bundle.read(&self.blobs.member(&digest), section, MANIFEST_LIMIT)?;
            // A layer or another blob is not parsed.
            if bytes.starts_with(b"{") && bytes.windows(SUBJECT.len()).any(|part| part == SUBJECT) {
                found.add(&digest, bytes, Some(&MediaType::OCI_MANIFEST));
            }
        }
        Ok(found.of(manifest))
    }
}

/// The member by which a manifest refers to another one.
const SUBJECT: &[u8] = b"\"subject\"";
