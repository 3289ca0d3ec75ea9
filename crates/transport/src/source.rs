//! The trait that all sources of images implement.

use std::fmt;
use std::io::Read;

use vmroot_model::{Descriptor, Digest};

use crate::Result;

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

    /// Returns notes for the user of a copy, such as a difference between the manifest and the original one. Each is
    /// one line.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
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

impl fmt::Debug for BlobBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobBody").field("offset", &self.offset).field("size", &self.size).finish_non_exhaustive()
    }
}
