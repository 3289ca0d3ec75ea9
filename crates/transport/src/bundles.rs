//! Sigstore bundles among the documents that refer to an image (cosign, specs/BUNDLE_SPEC.md).

use vmroot_errors::ErrorKind;
use vmroot_model::{Descriptor, Digest, Document, Manifest};
use vmroot_signatures::{BUNDLES_LIMIT, StoredBundle};

use crate::source::ImageSource;
use crate::{Error, Result};

/// The beginning of the media types of bundles.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";

/// The annotation with the type of a bundle's predicate, and the type of signatures.
const PREDICATE_TYPE: &str = "dev.sigstore.bundle.predicateType";
const SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";

/// The largest bundle in bytes. An attestation with a bill of materials can have some megabytes.
pub(crate) const BUNDLE_LIMIT: u64 = 16 << 20;

/// The most bytes of all bundles and manifests that refer to one image.
const TOTAL_LIMIT: u64 = 64 << 20;

/// Returns the bundles among the documents that refer to a manifest.
///
/// The list is not filtered by the kind that it states, because cosign writes a wrong one into the fallback tag. Those
/// that are bundles by their kind come first, so that others cannot displace them. A document that is damaged, missing or
/// no bundle is left out: a verified signature is needed anyway.
///
/// # Errors
/// The source cannot be read, so it is unknown which bundles there are.
pub(crate) fn of_referrers<S: ImageSource + ?Sized>(source: &S, subject: &Digest) -> Result<Vec<StoredBundle>> {
    of_listed(source, subject, source.referrers(subject)?)
}

/// Returns the bundles among some documents, as [`of_referrers`] does.
pub(crate) fn of_listed<S: ImageSource + ?Sized>(
    source: &S,
    subject: &Digest,
    referrers: Vec<Descriptor>,
) -> Result<Vec<StoredBundle>> {
    in_turn(source, subject, referrers).collect()
}

/// Returns the bundles among some documents, as [`of_referrers`] does. Each is read when it is taken.
pub(crate) fn in_turn<'a, S: ImageSource + ?Sized>(
    source: &'a S,
    subject: &Digest,
    mut referrers: Vec<Descriptor>,
) -> impl Iterator<Item = Result<StoredBundle>> + 'a {
    referrers.sort_by_key(rank);
    let subject = *subject;
    let mut total = 0;
    referrers.into_iter().take(BUNDLES_LIMIT).filter_map(move |referrer| {
        match read_bundle(source, &subject, &referrer, TOTAL_LIMIT.saturating_sub(total)) {
            Ok((size, bundle)) => {
                total += size;
                bundle.map(Ok)
            }
            Err(error) if is_of_document(&error) => None,
            Err(error) => Some(Err(error)),
        }
    })
}

/// Returns the place of a document in the order of reading: bundles first, and among them those that do not claim to be an
/// attestation, because a policy needs signatures. The claim is not signed.
fn rank(referrer: &Descriptor) -> u8 {
    let is_bundle = referrer.artifact_type.as_ref().is_some_and(|kind| kind.as_str().starts_with(BUNDLE));
    let is_attestation = referrer.annotation(PREDICATE_TYPE).is_some_and(|kind| kind != SIGNATURE);
    match (is_bundle, is_attestation) {
        (true, false) => 0,
        (true, true) => 1,
        (false, _) => 2,
    }
}

/// Returns whether an error is one of the document, not of the source.
fn is_of_document(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Integrity | ErrorKind::Limit)
}

/// Reads a referrer of at most `budget` bytes, and its bundle if it is one. Returns the number of bytes that were read.
fn read_bundle<S: ImageSource + ?Sized>(
    source: &S,
    subject: &Digest,
    referrer: &Descriptor,
    budget: u64,
) -> Result<(u64, Option<StoredBundle>)> {
    if referrer.size > budget || !(referrer.media_type.is_manifest() || referrer.media_type.is_empty()) {
        return Ok((0, None));
    }
    let raw = source.manifest(Some(&referrer.digest))?;
    let size = raw.bytes.len() as u64;
    let Ok(Document::Manifest(manifest)) = Document::parse(raw.bytes, raw.media_type.as_deref()) else {
        return Ok((size, None));
    };
    let Some(layer) = bundle_layer(&manifest, subject).filter(|layer| layer.size <= budget.saturating_sub(size)) else {
        return Ok((size, None));
    };
    let bytes = crate::source::read_blob(source, layer, BUNDLE_LIMIT)?;
    Ok((size + layer.size, Some(StoredBundle { manifest: referrer.digest, bytes })))
}

/// Returns the layer with the bundle, if a manifest has one and refers to `subject`.
fn bundle_layer<'a>(manifest: &'a Manifest, subject: &Digest) -> Option<&'a Descriptor> {
    let refers = manifest.subject().is_some_and(|own| own.digest == *subject);
    match manifest.layers() {
        [layer] if refers && layer.media_type.as_str().starts_with(BUNDLE) => Some(layer),
        _ => None,
    }
}
