//! What every place that images come from can do.

use std::fmt;
use std::io::Read;

use vmroot_model::{Descriptor, Digest};

use crate::Result;

/// An image in some place: a repository of a registry, one image of an archive or of a directory.
///
/// All places look alike: a manifest (or an index of manifests), and blobs by descriptor. Where a place has no manifest
/// of its own, the source makes one. A docker save archive knows its layers by the digest of their plain tars (the diff
/// ids of the config), so the manifest made for it has, as digest of a layer that is stored plain, that layer's diff id:
/// nothing needs to be hashed before it is read, and whoever checks the blob against its descriptor checks the diff id
/// with it. So one way of pulling works for all: read the manifest, read the config, and for each layer either find its
/// diff id's index already there, or read the blob and check digest, size and diff id on the way.
///
/// Manifests are checked here against their digests, wherever one is known. Blobs are not: whoever reads one checks it.
pub trait ImageSource: Send + Sync + fmt::Debug {
    /// The place, for messages.
    fn name(&self) -> String;

    /// Reads the manifest or index with this digest; `None` for the one that the name of the image leads to.
    ///
    /// # Errors
    /// [`Error::Unknown`](crate::Error::Unknown) where there is none, and whatever can go wrong on the way.
    fn manifest(&self, digest: Option<&Digest>) -> Result<RawManifest>;

    /// Reads the bytes of a blob from `offset`, or from an earlier byte if the place cannot start there.
    ///
    /// Any number of threads may read blobs at once, the same one too.
    ///
    /// # Errors
    /// [`Error::Unknown`](crate::Error::Unknown) where there is none, and whatever can go wrong on the way.
    fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobBody>;
}

/// A manifest or an index as the place has it: what [`Document::parse`](vmroot_model::Document::parse) takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawManifest {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The media type, where the place says it.
    pub media_type: Option<String>,
}

/// The bytes of a blob.
pub struct BlobBody {
    /// The bytes from `offset` on, unchecked.
    pub reader: Box<dyn Read + Send>,
    /// Where they start in the blob: at most the offset asked for.
    pub offset: u64,
    /// The size of the whole blob in bytes, where the place knows it. It may differ from the descriptor's.
    pub size: Option<u64>,
}

impl fmt::Debug for BlobBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobBody").field("offset", &self.offset).field("size", &self.size).finish_non_exhaustive()
    }
}
