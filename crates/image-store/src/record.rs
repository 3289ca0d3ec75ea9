//! Image records: one file for each name and platform.
//!
//! A record is written twice, and each copy has a digest of itself. The names of images are only in records; all other
//! files of the cache can be built or fetched again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use vmroot_cache::{LockName, Mode, PUBLISHED_MODE};
use vmroot_encryption::ANNOTATION_PREFIX;
use vmroot_model::{Descriptor, Digest, MediaType, Platform, Reference};
use vmroot_output::write_atomically;

use crate::collect::remove;
use crate::journal::RecordsLock;
use crate::verify::fault_of_read;
use crate::{Error, Result, Store};

/// The beginning of the origin of an image that a commit made. No reference and no name with a transport begins so.
pub(crate) const COMMIT_OF: &str = "a commit of ";

/// The image of a name and a platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Record {
    /// The name; `None` for an image that was loaded without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
    /// The platform for which the name was resolved.
    pub platform: Platform,
    /// The digest that the name resolved to: of an index or of the manifest.
    pub digest: Digest,
    /// The indexes between that index and the manifest, the upper one first. Earlier records lack this field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<Digest>,
    /// The image's manifest.
    pub manifest: Descriptor,
    /// The image's config. Its digest is the image's id.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<LayerRecord>,
    /// The time at which the image was pulled or loaded, in seconds since the Unix epoch.
    pub pulled: u64,
    /// The archive, layout or directory that the image was loaded from, as `TRANSPORT:details` with an absolute path: a
    /// repair reads damaged blobs from it. `None` for an image from a registry: its name
    /// identifies the registry. Records before 0.2 lack this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded_from: Option<String>,
    /// The time when the image was built, as its config has it: it should be in RFC 3339 format, but is not checked.
    /// Records before 0.3 lack this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The digest of the document with the signatures that were read when the image was judged. Records before 0.5 lack
    /// this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signatures: Option<Digest>,
    /// The directory of the shared cache that the record is in; `None` for a record of the store's own cache.
    #[serde(skip)]
    pub shared_cache: Option<PathBuf>,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LayerRecord {
    /// The media type of the layer's blob.
    pub media_type: MediaType,
    /// The digest of the layer's blob.
    pub digest: Digest,
    /// The digest of the layer's uncompressed tar.
    pub diff_id: Digest,
    /// The length of the layer's blob in bytes.
    pub size: u64,
    /// Further URLs of the blob of a foreign layer. Records before 0.2 lack this field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// The annotations about the encryption of an encrypted layer, which have its encrypted key. Earlier records lack this
    /// field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub encryption: BTreeMap<String, String>,
}

impl LayerRecord {
    /// Returns the record of the layer that a manifest's descriptor and a config's diff id describe.
    pub(crate) fn new(descriptor: &Descriptor, diff_id: &Digest) -> Self {
        Self {
            media_type: descriptor.media_type.clone(),
            digest: descriptor.digest,
            diff_id: *diff_id,
            size: descriptor.size,
            urls: descriptor.foreign_urls().map(str::to_owned).collect(),
            encryption: encryption_of(descriptor),
        }
    }

    /// Returns whether the layer's blob is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.media_type.is_encrypted_layer()
    }

    /// Returns the descriptor for fetching the blob.
    pub(crate) fn descriptor(&self) -> Descriptor {
        Descriptor {
            urls: self.urls.clone(),
            annotations: self.encryption.clone(),
            ..Descriptor::new(self.media_type.clone(), self.digest, self.size)
        }
    }
}

/// Returns the annotations about encryption, if a layer is encrypted.
fn encryption_of(descriptor: &Descriptor) -> BTreeMap<String, String> {
    let is_encrypted = descriptor.media_type.is_encrypted_layer();
    let annotations =
        descriptor.annotations.iter().filter(|(key, _)| is_encrypted && key.starts_with(ANNOTATION_PREFIX));
    annotations.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// A record as it is stored in a file.
#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    /// The digest of the bytes of `record`.
    digest: Digest,
    #[serde(borrow)]
    record: &'a RawValue,
}

impl Record {
    /// Returns whether a digest is that of the image's manifest, or of an index between it and the index of the name.
    pub(crate) fn has_document(&self, digest: &Digest) -> bool {
        self.manifest.digest == *digest || self.indexes.contains(digest)
    }

    /// Returns the digests of the documents that the image needs: indexes, manifest, config and signatures.
    pub(crate) fn documents(&self) -> impl Iterator<Item = &Digest> {
        let documents = [&self.manifest.digest, &self.config.digest].into_iter().chain(&self.signatures);
        [&self.digest].into_iter().chain(&self.indexes).chain(documents)
    }

    /// Returns whether the image was made in this cache, by a commit. Such an image has no origin that signs it.
    pub fn is_made_here(&self) -> bool {
        self.loaded_from.as_deref().is_some_and(|origin| origin.starts_with(COMMIT_OF))
    }

    /// Returns whether a layer of the image is encrypted. Its blob in the cache is the ciphertext, and its index and
    /// contents are plain.
    pub fn is_encrypted(&self) -> bool {
        self.layers.iter().any(LayerRecord::is_encrypted)
    }

    /// Returns the image's id: the digest of its config.
    pub fn id(&self) -> &Digest {
        &self.config.digest
    }

    /// Returns a record of the same image under another name, in the own cache.
    pub(crate) fn with_reference(&self, reference: Option<&Reference>) -> Self {
        Self { reference: reference.cloned(), shared_cache: None, ..self.clone() }
    }

    /// Returns the digest that names the record's file: of the name (or the id, without a name) and the platform.
    pub(crate) fn key(&self) -> Digest {
        match &self.reference {
            Some(reference) => key(&reference.to_string(), &self.platform),
            None => key(&self.id().to_string(), &self.platform),
        }
    }

    /// Returns the name of the record's file.
    pub(crate) fn file_name(&self) -> String {
        self.key().hex() + ".json"
    }
}

fn key(name: &str, platform: &Platform) -> Digest {
    Digest::of(format!("{name} {}", platform.normalised()).as_bytes())
}

/// Returns the path of the second copy of a record.
pub(crate) fn copy_of(path: &Path) -> PathBuf {
    path.with_extension("copy")
}

impl Store {
    /// Reads the record of a name and platform.
    ///
    /// # Errors
    /// [`Error::Record`] if both copies are damaged; [`Error::Cache`] if a file cannot be read.
    pub(crate) fn record(&self, reference: &Reference, platform: &Platform) -> Result<Option<Record>> {
        self.read_record(&self.cache.layout().image_record(&key(&reference.to_string(), platform)))
    }

    /// Writes a record and replaces any earlier one of the same name and platform.
    pub(crate) fn write_record(&self, record: &Record) -> Result<()> {
        let path = self.cache.layout().image_record(&record.key());
        let body = serde_json::to_string(record).expect("a record has no keys but strings");
        let raw = RawValue::from_string(body).expect("serde_json writes JSON");
        let sealed = Sealed { digest: Digest::of(raw.get().as_bytes()), record: &raw };
        let bytes = serde_json::to_vec(&sealed).expect("a record has no keys but strings");
        write_atomically(&copy_of(&path), PUBLISHED_MODE, &bytes)?;
        write_atomically(&path, PUBLISHED_MODE, &bytes)?;
        Ok(())
    }

    pub(crate) fn remove_record(&self, record: &Record) -> Result<()> {
        let path = self.cache.layout().image_record(&record.key());
        for path in [path.clone(), copy_of(&path)] {
            remove(&path)?;
        }
        Ok(())
    }

    /// Returns whether the file of a record still has the same content.
    pub(crate) fn is_current(&self, record: &Record) -> bool {
        let path = self.cache.layout().image_record(&record.key());
        matches!(self.read_record(&path), Ok(Some(current)) if current == *record)
    }

    /// Reads a record from either of its copies, and restores the other.
    pub(crate) fn read_record(&self, path: &Path) -> Result<Option<Record>> {
        match read_copies(path)? {
            Copies::Neither => Ok(None),
            Copies::Both(record) => Ok(Some(*record)),
            Copies::Damaged(reason) => Err(Error::Record { path: path.to_owned(), reason }),
            Copies::One { record, .. } => {
                self.repair_record(path)?;
                Ok(Some(*record))
            }
        }
    }

    /// Restores the missing or damaged copy of a record.
    ///
    /// A process that is killed between the two writes leaves one copy. The record is skipped if another process holds
    /// the lock, since it may be writing or removing the record: restoring a copy of a removed record would bring it
    /// back.
    fn repair_record(&self, path: &Path) -> Result<()> {
        if !self.is_writable() {
            return Ok(());
        }
        let Some(_lock) = self.cache.try_lock(&LockName::Images, Mode::Exclusive)? else { return Ok(()) };
        let Copies::One { bytes, other, .. } = read_copies(path)? else { return Ok(()) };
        write_atomically(&other, PUBLISHED_MODE, &bytes)?;
        tracing::warn!(path = %other.display(), "repaired an image record from its other copy");
        Ok(())
    }

    /// Writes the missing copy of a record, after waiting for the lock of the records.
    pub(crate) fn restore_copy(&self, path: &Path, progress: &dyn crate::Progress) -> Result<()> {
        let lock = self.lock_records(Some(progress))?;
        self.write_other_copy(&lock, path)
    }

    /// Writes the missing or damaged copy of a record from the other one. The lock of the records must be held.
    pub(crate) fn write_other_copy(&self, _lock: &RecordsLock, path: &Path) -> Result<()> {
        let Copies::One { bytes, other, .. } = read_copies(path)? else { return Ok(()) };
        Ok(write_atomically(&other, PUBLISHED_MODE, &bytes)?)
    }
}

/// The condition of the two copies of a record.
pub(crate) enum Copies {
    Neither,
    Both(Box<Record>),
    /// One copy is valid.
    One {
        record: Box<Record>,
        bytes: Vec<u8>,
        other: PathBuf,
        /// The fault of the other copy; `None` if it is missing.
        problem: Option<String>,
    },
    Damaged(String),
}

pub(crate) fn read_copies(path: &Path) -> Result<Copies> {
    let copy = copy_of(path);
    Ok(match (read_sealed(path)?, read_sealed(&copy)?) {
        (SealedCopy::Missing, SealedCopy::Missing) => Copies::Neither,
        (SealedCopy::Whole(record, _), SealedCopy::Whole(..)) => Copies::Both(record),
        (SealedCopy::Whole(record, bytes), other) => {
            Copies::One { record, bytes, other: copy, problem: other.problem() }
        }
        (other, SealedCopy::Whole(record, bytes)) => {
            Copies::One { record, bytes, other: path.to_owned(), problem: other.problem() }
        }
        (SealedCopy::Damaged(reason), _) | (_, SealedCopy::Damaged(reason)) => Copies::Damaged(reason),
    })
}

enum SealedCopy {
    Missing,
    Whole(Box<Record>, Vec<u8>),
    Damaged(String),
}

impl SealedCopy {
    fn problem(self) -> Option<String> {
        match self {
            Self::Damaged(reason) => Some(reason),
            Self::Missing | Self::Whole(..) => None,
        }
    }
}

fn read_sealed(path: &Path) -> Result<SealedCopy> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(SealedCopy::Missing),
        // The other copy may be readable.
        Err(error) if fault_of_read(&error).is_some() => {
            return Ok(SealedCopy::Damaged(fault_of_read(&error).unwrap_or_default()));
        }
        read => read.map_err(vmroot_output::Error::on("read", path))?,
    };
    Ok(match parse(&bytes) {
        Ok(record) => SealedCopy::Whole(Box::new(record), bytes),
        Err(reason) => SealedCopy::Damaged(reason),
    })
}

/// Parses the file of a record.
pub(crate) fn parse(bytes: &[u8]) -> std::result::Result<Record, String> {
    let sealed: Sealed<'_> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if Digest::of(sealed.record.get().as_bytes()) != sealed.digest {
        return Err("its bytes have changed since it was written".to_owned());
    }
    serde_json::from_str(sealed.record.get()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layer in the format of versions before 0.2.
    const OLD: &str = r#"{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","diffId":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0}"#;

    #[test]
    fn layers_of_old_records_keep_their_bytes() {
        let layer: LayerRecord = serde_json::from_str(OLD).unwrap();
        assert_eq!(layer.descriptor().urls, [""; 0]);
        assert_eq!(serde_json::to_string(&layer).unwrap(), OLD);
        let foreign = LayerRecord { urls: vec!["https://a.test/x".to_owned()], ..layer };
        let text = serde_json::to_string(&foreign).unwrap();
        assert_eq!(serde_json::from_str::<LayerRecord>(&text).unwrap(), foreign);
        assert_eq!(foreign.descriptor().urls, foreign.urls);
    }
}
