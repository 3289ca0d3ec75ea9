//! The trait that all destinations of images implement.

use std::fmt;
use std::io::{self, Read};

use vmroot_model::{Algorithm, Descriptor, Digest, Hasher, MediaType, Reference};
use vmroot_signatures::Signature;

use crate::{Admitted, Error, Result};

/// A destination for one image: a repository of a registry, or a place in an archive or directory.
///
/// A copy calls [`put_blob`](Self::put_blob) for each blob that [`reuse_blob`](Self::reuse_blob) does not find, then
/// [`put_manifest`](Self::put_manifest) for each manifest (the instances of a list before the list), then
/// [`commit`](Self::commit). Blobs may be written by several threads at once. Until `commit` returns, a destination of
/// one file or directory shows its old content, and one that is shared keeps its old names.
///
/// A destination that is dropped without a commit removes its temporary files. Whole blobs may stay, so that the next
/// copy finds them. A registry has no commit of its own: its manifests are visible at once, the top one last.
pub trait ImageDestination: Send + Sync + fmt::Debug {
    /// Returns the name of the destination, for messages.
    fn name(&self) -> String;

    /// Returns the forms of images that the destination can hold.
    fn accepts(&self) -> Accepts;

    /// Returns whether the destination can hold a document of this type, if the caller asks for exactly this type. An
    /// OCI layout can hold Docker's manifests, which are not among the types that it [accepts](Self::accepts) unasked.
    fn can_hold(&self, media_type: &MediaType) -> bool {
        self.accepts().accepts(media_type)
    }

    /// Returns the digest of the manifest or index that the destination's name has now, or `None` if it has none or the
    /// destination cannot tell.
    ///
    /// # Errors
    /// The destination cannot be read.
    fn current(&self) -> Result<Option<Digest>> {
        Ok(None)
    }

    /// Returns whether [`Self::current`] returns only images and lists all of whose parts are in the destination.
    /// Otherwise the caller asks [`Self::has_manifest`] for each image of a list.
    fn is_current_whole(&self) -> bool {
        false
    }

    /// Returns whether the destination has a manifest or index with this digest, and everything that it refers to.
    ///
    /// # Errors
    /// The destination cannot be read.
    fn has_manifest(&self, _digest: &Digest) -> Result<bool> {
        Ok(false)
    }

    /// Returns the name of the place that holds the blobs, such as a repository or the path of a layout. Destinations
    /// with equal names share their blobs.
    fn blob_scope(&self) -> String {
        self.name()
    }

    /// Returns the repository, if the destination is in a registry.
    fn repository(&self) -> Option<&Reference> {
        None
    }

    /// Returns whether the destination has a blob now, so that it need not be written. The destination may obtain it by
    /// itself from one of `origins`, repositories that have it; a registry does if the repository is its own.
    ///
    /// # Errors
    /// The destination cannot be read.
    fn reuse_blob(&self, blob: &Descriptor, origins: &[Reference]) -> Result<Reuse>;

    /// Writes a blob: reads `blob` to its end. On an error, the blob does not exist in the destination.
    ///
    /// # Errors
    /// - The error of the reader. The caller may try again.
    /// - The destination cannot be written.
    fn put_blob(&self, blob: &mut NewBlob<'_>) -> Result<()>;

    /// Writes a manifest or index, whose blobs and instances are all written. The bytes stay as they are.
    ///
    /// # Errors
    /// - [`Error::Refused`](crate::Error::Refused): the destination does not take a manifest of this type. Another type
    ///   may work.
    /// - The destination cannot be written.
    fn put_manifest(&self, bytes: &[u8], media_type: &MediaType, place: ManifestPlace) -> Result<()>;

    /// Returns the reason for which the destination cannot hold signatures, or `None` if it can.
    fn signatures_refusal(&self) -> Option<String> {
        Some("this transport has no place for signatures".to_owned())
    }

    /// Writes signatures of a manifest or index that was written before, at this place.
    ///
    /// # Errors
    /// - [`Error::CannotHoldSignatures`](crate::Error::CannotHoldSignatures): there is no place for signatures, or not for
    ///   those of this form.
    /// - The destination cannot be written.
    fn put_signatures(&self, _manifest: &Digest, _place: ManifestPlace, signatures: &[Signature]) -> Result<()> {
        match self.signatures_refusal() {
            Some(reason) if !signatures.is_empty() => Err(Error::CannotHoldSignatures { place: self.name(), reason }),
            _ => Ok(()),
        }
    }

    /// Takes note of the acceptance of an image by a policy, with the signatures that were read for it. A destination that
    /// can be asked again without the source keeps them.
    fn note_admitted(&self, _admitted: &Admitted) {}

    /// Makes everything visible under the destination's name, durably. Must be called once, at the end.
    ///
    /// # Errors
    /// The destination cannot be written.
    fn commit(&self) -> Result<()>;
}

/// The forms of images that a destination can hold.
#[derive(Debug, Clone)]
pub struct Accepts {
    /// The media types of manifests and indexes, the preferred first. Empty if all are accepted.
    pub documents: Vec<MediaType>,
    /// The treatment of layers, unless the caller asks for a compression.
    pub layers: LayerForm,
    /// Whether a foreign layer may be missing, because its descriptor has URLs.
    pub foreign_layers: bool,
    /// The digest that the image must have, if the destination's name has one. The manifest may then not change.
    pub digest: Option<Digest>,
}

impl Accepts {
    /// Returns whether a document of this type is accepted.
    pub fn accepts(&self, media_type: &MediaType) -> bool {
        self.documents.is_empty() || self.documents.iter().any(|it| it.matches(media_type))
    }
}

/// The treatment of layers by a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerForm {
    /// Layers stay as they are.
    Keep,
    /// Plain layers are compressed.
    Compress,
    /// Compressed layers are decompressed.
    Decompress,
}

/// The result of [`ImageDestination::reuse_blob`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// The blob is missing.
    Absent,
    /// The blob is there.
    Present,
    /// The blob was missing, and came from another repository of the same registry.
    Mounted,
}

/// The place of a manifest in a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestPlace {
    /// The document that the destination's name refers to.
    Top,
    /// An instance of the list that follows.
    Instance,
    /// A document that refers to another one, such as a signature. It has no name.
    Referrer,
}

/// The role of a blob in its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobRole {
    /// The config, a short document.
    Config,
    /// A layer, or a part of an artifact.
    Layer,
}

/// The bytes of a blob on their way to a destination.
///
/// Reading hashes the bytes, and compares them with the digest and the size if these are known. A wrong blob is an
/// error of kind [`io::ErrorKind::InvalidData`] at its end.
pub struct NewBlob<'a> {
    reader: Box<dyn Read + Send + 'a>,
    media_type: MediaType,
    role: BlobRole,
    /// The digest, if it is known in advance.
    digest: Option<Digest>,
    /// The size in bytes, if it is known in advance.
    size: Option<u64>,
    hasher: Option<Hasher>,
    read: u64,
    /// The digest of all bytes, once they are read.
    finished: Option<Digest>,
}

impl<'a> NewBlob<'a> {
    /// Creates a blob whose digest and size are known, such as one that is copied unchanged.
    pub fn known(descriptor: &Descriptor, role: BlobRole, reader: impl Read + Send + 'a) -> Self {
        let digest = descriptor.digest;
        Self {
            reader: Box::new(reader),
            media_type: descriptor.media_type.clone(),
            role,
            digest: Some(digest),
            size: Some(descriptor.size),
            hasher: Some(Hasher::new(digest.algorithm())),
            read: 0,
            finished: None,
        }
    }

    /// Creates a blob whose digest and size are known only after it was read, such as one that is compressed meanwhile.
    pub fn unknown(media_type: MediaType, role: BlobRole, reader: impl Read + Send + 'a) -> Self {
        let hasher = Some(Hasher::new(Algorithm::Sha256));
        Self { reader: Box::new(reader), media_type, role, digest: None, size: None, hasher, read: 0, finished: None }
    }

    /// Returns the media type.
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// Returns the role.
    pub fn role(&self) -> BlobRole {
        self.role
    }

    /// Returns the digest: in advance if it is known, else once all bytes are read.
    pub fn digest(&self) -> Option<Digest> {
        self.digest.or(self.finished)
    }

    /// Returns the size in bytes: in advance if it is known, else once all bytes are read.
    pub fn size(&self) -> Option<u64> {
        self.size.or(self.finished.map(|_| self.read))
    }

    /// Returns the descriptor of the blob, if all bytes were read.
    pub fn finished(&self) -> Option<Descriptor> {
        self.finished.map(|digest| Descriptor::new(self.media_type.clone(), digest, self.read))
    }

    /// Returns the error of a destination that could not read the blob.
    pub fn read_error(&self, error: io::Error, place: String) -> Error {
        match error.downcast::<Error>() {
            Ok(error) => error,
            Err(source) => match self.digest() {
                Some(digest) => Error::ReadBlob { place, digest, source },
                None => Error::ReadNewBlob { place, source },
            },
        }
    }

    /// Compares the blob with its descriptor at its end.
    fn finish(&mut self) -> io::Result<()> {
        let Some(hasher) = self.hasher.take() else { return Ok(()) };
        let actual = hasher.finish();
        let wrong = |reason: String| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        if let Some(size) = self.size.filter(|size| *size != self.read) {
            return wrong(format!("the blob has {} bytes, its descriptor says {size}", self.read));
        }
        if let Some(expected) = self.digest.filter(|expected| *expected != actual) {
            return wrong(format!("the blob should have digest {expected} but has {actual}"));
        }
        self.finished = Some(actual);
        Ok(())
    }
}

impl Read for NewBlob<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.reader.read(buffer)?;
        if count == 0 {
            self.finish()?;
            return Ok(0);
        }
        self.read += count as u64;
        if let Some(size) = self.size.filter(|size| self.read > *size) {
            let reason = format!("the blob has more than the {size} bytes of its descriptor");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        Ok(count)
    }
}

impl fmt::Debug for NewBlob<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewBlob")
            .field("media_type", &self.media_type)
            .field("digest", &self.digest)
            .field("size", &self.size)
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(blob: &mut NewBlob<'_>) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        blob.read_to_end(&mut bytes).map(|_| bytes)
    }

    #[test]
    fn a_known_blob_is_checked() {
        let descriptor = Descriptor::of(MediaType::OCI_LAYER, b"abc");
        let mut right = NewBlob::known(&descriptor, BlobRole::Layer, &b"abc"[..]);
        assert_eq!(read_all(&mut right).unwrap(), b"abc");
        assert_eq!(right.finished(), Some(descriptor.clone()));
        for (bytes, reason) in [("abd", "should have digest"), ("ab", "has 2 bytes"), ("abcd", "more than the 3 bytes")]
        {
            let mut wrong = NewBlob::known(&descriptor, BlobRole::Layer, bytes.as_bytes());
            let error = read_all(&mut wrong).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains(reason), "{bytes}: {error}");
            assert_eq!(wrong.finished(), None);
        }
    }

    #[test]
    fn the_digest_of_an_unknown_blob_is_known_at_its_end() {
        let mut blob = NewBlob::unknown(MediaType::OCI_LAYER, BlobRole::Layer, &b"abc"[..]);
        assert_eq!((blob.digest(), blob.size()), (None, None));
        read_all(&mut blob).unwrap();
        assert_eq!(blob.finished(), Some(Descriptor::of(MediaType::OCI_LAYER, b"abc")));
        assert_eq!((blob.digest(), blob.size()), (Some(Digest::of(b"abc")), Some(3)));
    }
}
