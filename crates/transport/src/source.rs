//! The trait that all sources of images implement.

use std::fmt;
use std::io::{Cursor, Read};

use vmroot_compress::Compression;
use vmroot_model::{Descriptor, Digest, Reference};
use vmroot_signatures::{ImageIdentity, Signature, StoredBundle};

use crate::{Error, ImageName, Result, bundles};

/// A source of one image: a repository of a registry, or one image of an archive or directory.
///
/// A source returns a manifest (or an index of manifests), and blobs by their descriptors. So one implementation of
/// pulling works for all sources: read the manifest and the config; then, for each layer, use the index of its diff id
/// if there is one, or else read the blob and check digest, size and diff id.
///
/// If an image has no manifest, the source creates one. A docker save archive identifies layers by their diff ids. In
/// the created manifest, the digest of an uncompressed layer is its diff id. So nothing is hashed in advance, and
/// checking a blob against its descriptor also checks its diff id.
///
/// Manifests are checked against their digests if these are known. Blobs are not checked: the caller must do that.
pub trait ImageSource: Send + Sync + fmt::Debug {
    /// Returns the name of the source, for messages.
    fn name(&self) -> String;

    /// Reads the manifest or index with this digest. `None` stands for the document that the image's name refers to.
    ///
    /// # Errors
    /// - [`Error::Unknown`](crate::Error::Unknown) or [`Error::Missing`](crate::Error::Missing): the source does not
    ///   have it.
    /// - [`Error::DigestMismatch`](crate::Error::DigestMismatch): its bytes do not have the digest.
    /// - `Error::Registry`: the registry failed or refused.
    /// - [`Error::Io`](crate::Error::Io), [`Error::Member`](crate::Error::Member) or
    ///   [`Error::MemberTooLarge`](crate::Error::MemberTooLarge): the archive or directory cannot be read.
    fn manifest(&self, digest: Option<&Digest>) -> Result<RawManifest>;

    /// Opens a blob at `offset` bytes, or at an earlier offset if the source cannot start there: see
    /// [`BlobBody::offset`].
    ///
    /// Blobs can be read from several threads at once, even the same one. The blob of a registry is requested by the
    /// first read.
    ///
    /// # Errors
    /// - [`Error::Unknown`](crate::Error::Unknown) or [`Error::Missing`](crate::Error::Missing): the source does not
    ///   have it.
    /// - [`Error::Io`](crate::Error::Io) or [`Error::Member`](crate::Error::Member): the archive or directory cannot be
    ///   read.
    fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobBody>;

    /// Returns the compression of a blob by its first bytes, if the source can read these at little cost. The media type of a
    /// layer may be wrong.
    ///
    /// # Errors
    /// As [`Self::blob`].
    fn sniff(&self, _descriptor: &Descriptor) -> Result<Option<Compression>> {
        Ok(None)
    }

    /// Returns the name of the archive's member with a blob, for messages. `None` for other sources.
    fn member(&self, _digest: &Digest) -> Option<String> {
        None
    }

    /// Returns the size of a blob in bytes, for documents that do not state it.
    ///
    /// # Errors
    /// As [`Self::blob`].
    fn blob_size(&self, digest: &Digest) -> Result<u64> {
        Err(Error::Unknown { place: self.name(), digest: *digest })
    }

    /// Returns the repository, if the source is in a registry.
    fn repository(&self) -> Option<&Reference> {
        None
    }

    /// Returns the descriptors of the documents that refer to the one with this digest: signatures, bills of materials,
    /// and their kind (OCI distribution-spec 1.1, "Listing Referrers"). Empty if the source cannot list them.
    ///
    /// # Errors
    /// The source cannot be read.
    fn referrers(&self, _digest: &Digest) -> Result<Vec<Descriptor>> {
        Ok(Vec::new())
    }

    /// Returns the name of the image in policies on signatures.
    ///
    /// # Errors
    /// A policy has no name for the image, or its path cannot be resolved.
    fn identity(&self) -> Result<ImageIdentity> {
        ImageName::parse(&self.name())?.policy_identity()
    }

    /// Returns the signatures of a manifest or index in the forms of containers/image. They are not verified. Empty if the
    /// source cannot have any.
    ///
    /// # Errors
    /// - [`Error::TooManySignatures`](crate::Error::TooManySignatures): there are more than any policy examines.
    /// - The source cannot be read.
    fn signatures(&self, _manifest: &Digest) -> Result<Vec<Signature>> {
        Ok(Vec::new())
    }

    /// Returns the sigstore bundles that refer to a manifest or index. They are not verified.
    ///
    /// # Errors
    /// The source cannot be read.
    fn bundles(&self, manifest: &Digest) -> Result<Vec<StoredBundle>> {
        bundles::of_referrers(self, manifest)
    }

    /// Returns the bundles of [`Self::bundles`] that are found with the fewest requests. Those of a registry are read when
    /// they are taken. [`Self::further_bundles`] returns the others.
    ///
    /// # Errors
    /// The source cannot be read.
    fn probable_bundles<'a>(&'a self, manifest: &Digest) -> Result<BundleList<'a>> {
        Ok(Box::new(self.bundles(manifest)?.into_iter().map(Ok)))
    }

    /// Returns the bundles that [`Self::probable_bundles`] has not looked for. Most sources have none.
    ///
    /// # Errors
    /// The source cannot be read.
    fn further_bundles<'a>(&'a self, _manifest: &Digest) -> Result<BundleList<'a>> {
        Ok(Box::new(std::iter::empty()))
    }

    /// Returns the document by which the image was written into the source, if [`Self::manifest`] returns another one: a
    /// manifest with the same config, or an index that lists the manifest. The source may not have its layers or other
    /// images, so it is for descriptions of the image only.
    fn original_manifest(&self) -> Option<RawManifest> {
        None
    }

    /// Returns whether the source has the image or the list that an entry of its list names. A source that keeps only some
    /// images of a list returns false for the others.
    fn has_instance(&self, _digest: &Digest) -> bool {
        true
    }

    /// Returns notes on the image for the user: for example, that its manifest differs from the one that was pulled.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Bundles that are read one after the other. An error ends them.
pub type BundleList<'a> = Box<dyn Iterator<Item = Result<StoredBundle>> + 'a>;

impl dyn ImageSource + '_ {
    /// Reads a whole blob of at most `limit` bytes, and checks its size and digest.
    ///
    /// # Errors
    /// - [`Error::BlobTooLarge`]: the descriptor's size exceeds the limit.
    /// - [`Error::WrongBlob`]: the bytes have another size or digest than the descriptor.
    /// - The errors of [`ImageSource::blob`].
    pub fn read_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        read_blob(self, descriptor, limit)
    }

    /// Reads the manifest or index of a descriptor, and checks its size and digest.
    ///
    /// # Errors
    /// - [`Error::WrongBlob`]: the bytes have another size or digest than the descriptor.
    /// - The errors of [`ImageSource::manifest`].
    pub fn read_manifest(&self, descriptor: &Descriptor) -> Result<RawManifest> {
        let raw = self.manifest(Some(&descriptor.digest))?;
        check(self, descriptor, &raw.bytes)?;
        Ok(raw)
    }
}

/// Reads a whole blob, as [`ImageSource::read_blob`] does.
pub(crate) fn read_blob<S: ImageSource + ?Sized>(source: &S, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>> {
    let &Descriptor { digest, size, .. } = descriptor;
    if size > limit {
        return Err(Error::BlobTooLarge { place: source.name(), digest, size, limit });
    }
    let mut bytes = Vec::new();
    // One byte more than expected, to detect a longer blob.
    let read = source.blob(descriptor, 0)?.reader.take(size + 1).read_to_end(&mut bytes);
    read.map_err(|error| Error::of_reader(error, source.name(), digest))?;
    check(source, descriptor, &bytes)?;
    Ok(bytes)
}

fn check<S: ImageSource + ?Sized>(source: &S, descriptor: &Descriptor, bytes: &[u8]) -> Result<()> {
    let &Descriptor { digest, size, .. } = descriptor;
    let wrong = |reason| Err(Error::WrongBlob { place: source.name(), digest, reason });
    if bytes.len() as u64 != size {
        return wrong(format!("has {} bytes, its descriptor says {size}", bytes.len()));
    }
    if !digest.is_of(bytes) {
        return wrong("has another digest".to_owned());
    }
    Ok(())
}

/// The unparsed bytes of a manifest or index, for [`Document::parse`](vmroot_model::Document::parse).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawManifest {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The media type, if the source states one.
    pub media_type: Option<String>,
}

/// An open blob.
pub struct BlobBody {
    /// Reads the bytes from `offset` on. They are not checked. An error of the source is an
    /// [`Error`](crate::Error) in the [`io::Error`](std::io::Error).
    pub reader: Box<dyn Read + Send>,
    /// The offset in the blob of the first byte. It is at most the requested offset.
    pub offset: u64,
    /// The size of the whole blob in bytes, if known. It can differ from the descriptor's.
    pub size: Option<u64>,
}

impl BlobBody {
    /// Returns the body of a blob that is in memory, from `offset` bytes on, or from its end if it is shorter.
    pub fn of_bytes(bytes: Vec<u8>, offset: u64) -> Self {
        let size = bytes.len() as u64;
        let offset = offset.min(size);
        let mut reader = Cursor::new(bytes);
        reader.set_position(offset);
        Self { reader: Box::new(reader), offset, size: Some(size) }
    }
}

impl fmt::Debug for BlobBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobBody").field("offset", &self.offset).field("size", &self.size).finish_non_exhaustive()
    }
}
