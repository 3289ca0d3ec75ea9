//! Reading of the signatures of images in registries: from the registry itself, from lookasides, and from sigstore
//! attachments.

use vmroot_model::{Descriptor, Digest, Document, Manifest, Reference};
use vmroot_registry::{Client, Lookaside, SignatureLocations};
use vmroot_signatures::{SIGNATURE_LIMIT, SIGNATURES_LIMIT, Signature};

use crate::attachments::attachment_tag;
use crate::{Error, Result, signature_files};

/// Returns the signatures of a manifest in the repository of a reference.
///
/// As in containers/image, the registry's own storage replaces the lookaside, and attachments are added to either.
pub(super) fn read(
    client: &Client,
    reference: &Reference,
    locations: Option<&SignatureLocations>,
    manifest: &Digest,
) -> Result<Vec<Signature>> {
    let mut signatures = read_simple(client, reference, locations.map(|it| &it.lookaside), manifest)?;
    if locations.is_some_and(|it| it.attachments)
        && let Some(attachments) = read_attachments(client, reference, manifest)?
    {
        let source = super::RegistrySource::new(client.clone(), reference.clone());
        for layer in attachments.layers() {
            signatures.push(read_attachment(&source, layer)?);
        }
    }
    check_number(reference, signatures.len())?;
    Ok(signatures)
}

/// Returns the signatures in the registry's own storage or, if it has none, in a lookaside.
pub(super) fn read_simple(
    client: &Client,
    reference: &Reference,
    lookaside: Option<&Lookaside>,
    manifest: &Digest,
) -> Result<Vec<Signature>> {
    if client.has_signature_extension(reference)? {
        let messages = client.extension_signatures(reference, manifest)?;
        return Ok(messages.into_iter().map(Signature::Simple).collect());
    }
    match lookaside {
        Some(Lookaside::Directory(base)) => signature_files::read(&directory(base, reference, manifest), ""),
        Some(Lookaside::Server(base)) => read_server(client, base, reference, manifest),
        None => Ok(Vec::new()),
    }
}

/// Returns the directory of a lookaside with the signatures of a manifest.
pub(super) fn directory(base: &std::path::Path, reference: &Reference, manifest: &Digest) -> std::path::PathBuf {
    base.join(relative(reference, manifest))
}

/// Returns `PATH@ALGORITHM=HEX`. The grammar of references excludes `..` and absolute paths.
fn relative(reference: &Reference, manifest: &Digest) -> String {
    format!("{}@{}={}", reference.path(), manifest.algorithm().name(), manifest.hex())
}

fn read_server(client: &Client, base: &str, reference: &Reference, manifest: &Digest) -> Result<Vec<Signature>> {
    let base = format!("{base}/{}", relative(reference, manifest));
    let mut signatures = Vec::new();
    while let Some(bytes) = client.lookaside_signature(&format!("{base}/signature-{}", signatures.len() + 1))? {
        check_number(reference, signatures.len() + 1)?;
        signatures.push(Signature::from_stored(&bytes));
    }
    Ok(signatures)
}

/// Returns the manifest with the sigstore attachments of a manifest, or `None` if there is none.
pub(super) fn read_attachments(client: &Client, reference: &Reference, manifest: &Digest) -> Result<Option<Manifest>> {
    let tag = attachment_tag(manifest);
    let invalid = |reason: String| Error::InvalidName { name: format!("{}:{tag}", reference.name()), reason };
    let tagged = reference.with_tag(&tag).map_err(|error| invalid(error.to_string()))?;
    let fetched = match client.manifest(&tagged) {
        Err(vmroot_registry::Error::NotFound { .. }) => return Ok(None),
        fetched => fetched?,
    };
    match Document::parse(fetched.bytes, fetched.media_type.as_deref()) {
        Ok(Document::Manifest(attachments)) => {
            check_number(reference, attachments.layers().len())?;
            Ok(Some(attachments))
        }
        Ok(Document::Index(_)) => Err(invalid("is an index, not the manifest of sigstore attachments".to_owned())),
        Err(error) => Err(invalid(format!("is not the manifest of sigstore attachments: {error}"))),
    }
}

/// Reads a layer of a manifest with sigstore attachments.
pub(crate) fn read_attachment(source: &dyn crate::ImageSource, layer: &Descriptor) -> Result<Signature> {
    Ok(Signature::Sigstore {
        mime_type: layer.media_type.to_string(),
        payload: source.read_blob(layer, SIGNATURE_LIMIT as u64)?,
        annotations: layer.annotations.clone(),
    })
}

fn check_number(reference: &Reference, number: usize) -> Result<()> {
    if number > SIGNATURES_LIMIT {
        return Err(Error::TooManySignatures { place: reference.to_string(), limit: SIGNATURES_LIMIT });
    }
    Ok(())
}
