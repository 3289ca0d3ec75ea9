//! Building `.idx` and `.contents` from a layer's tar, in one streaming pass.
//!
//! [`tar_stream`] reads and hashes the tar, [`tree`] holds the layer's inodes and names, [`contents`] writes file
//! bytes, and [`numbering`] brings the inodes into the order of the index. The files of a [`BuiltLayer`] have temporary
//! names until the caller has verified the source of the tar and publishes them.

mod apply;
mod contents;
mod finish;
mod header;
mod links;
mod markers;
mod numbering;
mod pax;
mod sparse;
mod tar_stream;
mod tree;
mod walk;

use std::io::BufRead;
use std::path::Path;

use vmroot_model::{Algorithm, Digest, Hasher};

pub use finish::BuiltLayer;

use crate::Result;
use apply::Applier;
use tar_stream::TarStream;

/// The prefix of markers, which hide names of lower layers (OCI image-spec, layer.md, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";
/// The name of the marker that hides all entries that lower layers have in its directory.
const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";
/// The prefix of AUFS's own top-level names. They are not part of the root.
const AUFS: &[u8] = b".wh..wh.";
/// The directory in which AUFS keeps the inodes of hard links. Old images have hard links to these files.
const AUFS_LINKS: &[u8] = b".wh..wh.plnk";

/// The expected digest of a layer, and limits for building it.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// The diff id from the image's config; a tar with another digest is an error. The diff id is computed with the
    /// same algorithm, or with SHA-256 if this is `None`.
    pub expected: Option<Digest>,
    /// The largest number of entries in a layer, and of inodes that they make. A regular file takes about 120 bytes of
    /// memory in addition to its name.
    pub max_entries: u32,
    /// The largest total size of the layer's files in bytes, including zeros and the holes of sparse files; at most
    /// 2^62. This limits time, since all of these bytes are hashed.
    pub max_expanded: u64,
    /// The largest number of bytes stored for the layer's files, in blocks of 4096. Holes and blocks of zeros are not
    /// stored.
    pub max_contents: u64,
    /// The largest number of bytes of extended headers of one entry: of names and link targets of more than 100 bytes, PAX
    /// records and xattrs.
    pub max_metadata: usize,
    /// The largest number of bytes of names, link targets and xattrs in the layer; at most 4 GiB. They are kept in
    /// memory.
    pub max_names: usize,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self {
            expected: None,
            max_entries: 4_000_000,
            max_expanded: 2 << 40,
            max_contents: 64 << 30,
            max_metadata: 1 << 20,
            max_names: 1 << 28,
        }
    }
}

/// Reads the tar of one layer to its end and writes `.idx` and `.contents` under temporary names in `directory`.
///
/// The output depends only on the bytes of the tar and the version of the format. [`BuiltLayer::publish`] renames the
/// files to their final names. Dropping the result removes them.
///
/// # Errors
/// - [`Error::Stream`](crate::Error::Stream) when `tar` cannot be read.
/// - [`Error::InvalidTar`](crate::Error::InvalidTar) for a malformed header, or a tar that ends early.
/// - [`Error::InvalidEntry`](crate::Error::InvalidEntry) for an entry that a root file system cannot hold, or that must
///   not be applied.
/// - [`Error::Limit`](crate::Error::Limit) when the layer exceeds a limit of `options`, or a sparse file has too many
///   runs of data.
/// - [`Error::EntryLimit`](crate::Error::EntryLimit) when an entry exceeds a fixed limit.
/// - [`Error::LinkTargetMissing`](crate::Error::LinkTargetMissing) for a hard link that leads back to itself.
/// - [`Error::DiffIdMismatch`](crate::Error::DiffIdMismatch) when the tar does not have the expected digest.
/// - [`Error::Io`](crate::Error::Io) when the files cannot be written.
pub fn build(tar: impl BufRead, directory: &Path, options: &BuildOptions) -> Result<BuiltLayer> {
    let algorithm = options.expected.map_or(Algorithm::Sha256, |digest| digest.algorithm());
    let mut stream = TarStream::new(tar, Hasher::new(algorithm), options.max_metadata);
    let mut applier = Applier::new(directory, options)?;
    while let Some(entry) = stream.next_entry()? {
        applier.apply(entry, &mut stream)?;
    }
    let (diff_id, tar_length) = stream.finish()?;
    if let Some(expected) = options.expected.filter(|expected| *expected != diff_id) {
        return Err(crate::Error::DiffIdMismatch { expected, actual: diff_id });
    }
    finish::finish(applier, directory, diff_id, tar_length)
}
