//! Writing of signatures of images in registries.

use std::fs;
use std::io::Cursor;
use std::time::SystemTime;

use serde_json::json;
use vmroot_model::{CONFIG_LIMIT, Descriptor, Digest, MediaType, rfc3339};
use vmroot_registry::Lookaside;
use vmroot_signatures::Signature;

use super::signatures::{directory, read_attachments, read_simple};
use super::{RegistryDestination, RegistrySource};
use crate::attachments::{Attachments, attachment_tag, layer_of};
use crate::signature_files;
use crate::{BlobRole, Error, ImageDestination as _, ImageSource, NewBlob, Result, Reuse};

impl RegistryDestination {
    /// Adds signatures to those of a manifest. OpenPGP messages go to the registry's own storage or to the lookaside, and
    /// sigstore signatures to attachments.
    pub(super) fn write_signatures(&self, manifest: &Digest, signatures: &[Signature]) -> Result<()> {
        let (attachments, others): (Vec<_>, Vec<_>) =
            signatures.iter().cloned().partition(|signature| matches!(signature, Signature::Sigstore { .. }));
        if !attachments.is_empty() {
            self.write_attachments(manifest, &attachments)?;
        }
        if !others.is_empty() {
            self.write_simple(manifest, &others)?;
        }
        Ok(())
    }

    fn cannot_hold(&self, reason: String) -> Error {
        Error::CannotHoldSignatures { place: self.name(), reason }
    }

    fn write_simple(&self, manifest: &Digest, signatures: &[Signature]) -> Result<()> {
        let locations = self.locations()?;
        let staging = locations.as_ref().map(|it| &it.staging);
        let extension = self.client.has_signature_extension(&self.reference)?;
        let base = match staging {
            _ if extension => None,
            Some(Lookaside::Directory(base)) => Some(base),
            Some(server @ Lookaside::Server(_)) => {
                let reason = format!("{server} cannot be written; registries.d needs a lookaside-staging: directory");
                return Err(self.cannot_hold(reason));
            }
            None => return Err(self.cannot_hold("registries.d names no place for them".to_owned())),
        };
        let mut all = read_simple(&self.client, &self.reference, staging, manifest)?;
        let known = all.len();
        merge(&mut all, signatures);
        let Some(base) = base else {
            return all[known..].iter().try_for_each(|signature| self.write_extension(manifest, signature));
        };
        let directory = directory(base, &self.reference, manifest);
        fs::create_dir_all(&directory).map_err(Error::io("create the directory", &directory))?;
        signature_files::write(&directory, "", &all)
    }

    fn write_extension(&self, manifest: &Digest, signature: &Signature) -> Result<()> {
        let Signature::Simple(message) = signature else {
            return Err(self.cannot_hold("the registry stores OpenPGP signatures only".to_owned()));
        };
        // The name must differ from those of other signatures of the manifest.
        let name = &Digest::of(message).hex()[..32];
        Ok(self.client.put_extension_signature(&self.reference, manifest, name, message)?)
    }

    fn write_attachments(&self, manifest: &Digest, signatures: &[Signature]) -> Result<()> {
        if !self.locations()?.is_some_and(|it| it.attachments) {
            let reason = "sigstore attachments are off; registries.d turns them on with use-sigstore-attachments";
            return Err(self.cannot_hold(reason.to_owned()));
        }
        let mut attachments = self.read_existing(manifest)?;
        let mut is_changed = false;
        for signature in signatures {
            let Some((layer, payload)) = layer_of(signature) else { continue };
            if attachments.add(&layer) {
                self.put_small(&layer, BlobRole::Layer, payload)?;
                is_changed = true;
            }
        }
        if !is_changed {
            return Ok(());
        }
        let (descriptor, config) = attachments.config();
        self.put_small(&descriptor, BlobRole::Config, &config)?;
        let bytes = attachments.manifest(&descriptor);
        self.put(&[&attachment_tag(manifest)], &bytes, &MediaType::OCI_MANIFEST)
    }

    fn read_existing(&self, manifest: &Digest) -> Result<Attachments> {
        let Some(existing) = read_attachments(&self.client, &self.reference, manifest)? else {
            return Ok(Attachments::new());
        };
        let source = RegistrySource::new(self.client.clone(), self.reference.clone());
        let config = (&source as &dyn ImageSource).read_blob(existing.config(), CONFIG_LIMIT)?;
        Ok(Attachments::of(&existing, &config))
    }

    /// Writes a blob that is in memory, unless the registry has it.
    fn put_small(&self, descriptor: &Descriptor, role: BlobRole, bytes: &[u8]) -> Result<()> {
        if self.reuse_blob(descriptor, &[])? != Reuse::Absent {
            return Ok(());
        }
        self.put_blob(&mut NewBlob::known(descriptor, role, Cursor::new(bytes)))
    }

    /// Writes a sigstore bundle as a document that refers to a manifest, as cosign does. `predicate_type` is that of its
    /// statement. Returns the digest of the document.
    ///
    /// # Errors
    /// The registry cannot be written.
    pub fn put_bundle(&self, subject: &Descriptor, bundle: &[u8], predicate_type: &str) -> Result<Digest> {
        const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
        let mut empty = Descriptor::of(MediaType::OCI_EMPTY, b"{}");
        // As cosign writes it.
        empty.artifact_type = Some(MediaType::new(BUNDLE));
        let layer = Descriptor::of(MediaType::new(BUNDLE), bundle);
        self.put_small(&layer, BlobRole::Layer, bundle)?;
        self.put_small(&empty, BlobRole::Config, b"{}")?;
        let subject = Descriptor::new(subject.media_type.clone(), subject.digest, subject.size);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_MANIFEST,
            "artifactType": BUNDLE,
            "config": empty,
            "layers": [layer],
            "annotations": {
                "dev.sigstore.bundle.content": "dsse-envelope",
                "dev.sigstore.bundle.predicateType": predicate_type,
                "org.opencontainers.image.created": rfc3339(SystemTime::now()),
            },
            "subject": subject,
        });
        let bytes = manifest.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        self.put(&[&digest.to_string()], &bytes, &MediaType::OCI_MANIFEST)?;
        Ok(digest)
    }
}

/// Adds the signatures that are not among `known` yet.
fn merge(known: &mut Vec<Signature>, new: &[Signature]) {
    for signature in new {
        if !known.contains(signature) {
            known.push(signature.clone());
        }
    }
}
