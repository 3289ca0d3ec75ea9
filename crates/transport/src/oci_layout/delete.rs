//! Removal of images from OCI layouts in directories.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use vmroot_model::{Descriptor, Digest, Document, MANIFEST_LIMIT};
use vmroot_output::sync_directory;

use super::directory::{BLOBS, Lock, blob_path, read_index, write_index};
use super::{Blobs, INDEX_JSON, OciLayout};
use crate::bundle::Directory;
use crate::selector::select;
use crate::{Error, ImageSelector, Result};

/// The maximum depth of indexes in indexes.
const DEPTH_LIMIT: u32 = 8;

/// Removes an image from the index, and then the blobs in the layout's own directory that no other image uses. Returns
/// the digests of the removed entries.
///
/// Waits until other processes of this program have written their images: they may use a blob that is there already.
pub(crate) fn delete(path: &Path, selector: &ImageSelector, shared_blob_dir: Option<&Path>) -> Result<Vec<Digest>> {
    let blobs = path.join(BLOBS);
    let _no_writers = Lock::take(&blobs)?;
    let _lock = Lock::take(path)?;
    let mut layout = OciLayout::open(Arc::new(Directory(path.to_owned())))?;
    if let Some(shared) = shared_blob_dir {
        layout.share_blobs(shared);
    }
    let image = match selector {
        &ImageSelector::Index(index) => layout.entry(index),
        _ => None,
    };
    let image = image.map_or_else(|| select(path, &layout.images(), selector), Ok)?;
    let digests = image.entries.iter().filter_map(|&index| layout.index.manifests().get(index));
    let digests = digests.map(|entry| entry.digest).collect();
    let (mut removed, mut kept) = (BTreeSet::new(), BTreeSet::new());
    for (index, entry) in layout.index.manifests().iter().enumerate() {
        let used = if image.entries.contains(&index) { &mut removed } else { &mut kept };
        add_used(&layout.blobs, entry, used, DEPTH_LIMIT)?;
    }
    let missing = || Error::Missing { path: path.to_owned(), role: "index", member: INDEX_JSON.to_owned() };
    let mut index = read_index(path)?.ok_or_else(missing)?;
    index.remove(&image.entries);
    write_index(path, &index)?;
    // A crash from here on leaves blobs without a use, but no image without its blobs.
    for digest in removed.difference(&kept) {
        let path = blob_path(&blobs, digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io("remove", &path)(error)),
            _ => {}
        }
    }
    sync_directory(&blobs)?;
    Ok(digests)
}

/// Adds the blobs of an entry and its own. An instance may be missing, as in a copy of some platforms only.
fn add_used(blobs: &Blobs, entry: &Descriptor, used: &mut BTreeSet<Digest>, depth: u32) -> Result<()> {
    let is_document = entry.media_type.is_empty() || entry.media_type.is_manifest() || entry.media_type.is_index();
    if !used.insert(entry.digest) || !is_document {
        return Ok(());
    }
    let member = blobs.member(&entry.digest);
    let Some(section) = blobs.bundle.find(&member)? else { return Ok(()) };
    let bytes = blobs.bundle.read(&member, section, MANIFEST_LIMIT)?;
    let parsed = Document::parse(bytes, Some(entry.media_type.as_str()).filter(|it| !it.is_empty()));
    let path = blobs.bundle.path();
    match parsed.map_err(|source| Error::Document { path: path.to_owned(), member: member.clone(), source })? {
        Document::Manifest(manifest) => {
            used.insert(manifest.config().digest);
            used.extend(manifest.layers().iter().map(|layer| layer.digest));
            Ok(())
        }
        Document::Index(_) if depth == 0 => {
            let limit = u64::from(DEPTH_LIMIT);
            Err(Error::ArchiveLimit { path: path.to_owned(), what: "the depth of indexes in indexes", limit })
        }
        Document::Index(index) => {
            index.manifests().iter().try_for_each(|entry| add_used(blobs, entry, used, depth - 1))
        }
    }
}
