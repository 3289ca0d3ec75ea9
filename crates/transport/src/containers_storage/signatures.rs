//! The signatures of an image in a store: data items in which all signatures of a manifest follow each other, and the
//! lengths in the metadata of the image (containers/image, storage/storage_image.go).

use std::collections::BTreeMap;

use serde::Deserialize;
use vmroot_model::Digest;
use vmroot_signatures::{SIGNATURE_LIMIT, SIGNATURES_LIMIT, Signature};

use super::records::ImageRecord;
use super::store::Store;
use crate::{Error, Result};

/// The data item with the signatures of the image's manifest.
const SIGNATURES: &str = "signatures";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Metadata {
    signature_sizes: Option<Vec<usize>>,
    signatures_sizes: Option<BTreeMap<String, Vec<usize>>>,
}

/// Reads the signatures of a manifest of an image. `is_default` says that the manifest is the one of the image.
pub(super) fn read(store: &Store, image: &ImageRecord, manifest: &Digest, is_default: bool) -> Result<Vec<Signature>> {
    let metadata = image.metadata.as_deref().filter(|text| !text.is_empty());
    // Other programs than those with containers/image may have metadata of their own.
    let metadata: Metadata = metadata.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let by_digest = metadata.signatures_sizes.unwrap_or_default().remove(&manifest.to_string());
    let (item, sizes) = match (by_digest, metadata.signature_sizes) {
        (Some(sizes), _) if !sizes.is_empty() => (format!("signature-{}", manifest.hex()), sizes),
        (_, Some(sizes)) if is_default && !sizes.is_empty() => (SIGNATURES.to_owned(), sizes),
        _ => return Ok(Vec::new()),
    };
    let broken = |reason: &str| Error::member(store.path(), &format!("{item} of {}", image.id), reason);
    if sizes.len() > SIGNATURES_LIMIT {
        return Err(Error::TooManySignatures { place: store.path().display().to_string(), limit: SIGNATURES_LIMIT });
    }
    if sizes.iter().any(|size| *size > SIGNATURE_LIMIT) {
        return Err(broken("has a signature that is too long"));
    }
    let total: usize = sizes.iter().sum();
    let bytes = store.read_item(image, &item, total as u64)?;
    let mut rest = &bytes[..];
    let mut signatures = Vec::new();
    for size in sizes {
        let (signature, others) = rest.split_at_checked(size).ok_or_else(|| broken("is too short"))?;
        signatures.push(Signature::from_stored(signature));
        rest = others;
    }
    Ok(signatures)
}
