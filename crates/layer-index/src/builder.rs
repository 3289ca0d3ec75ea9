//! One streaming pass from a layer's tar to `.idx` and `.contents`.
//!
//! [`tar_stream`] reads headers and hashes, [`tree`] holds what the layer names, [`contents`] writes file bytes,
//! [`numbering`] puts what was read into the order of the index, and [`BuiltLayer`] waits under temporary names until
//! the caller has checked where the bytes came from.

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

/// Names that begin so say something about lower layers (layer.md, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";
/// The directory that holds it hides everything that lower layers have in it.
const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";
/// Top-level names that begin so are AUFS's own and name no files.
const AUFS: &[u8] = b".wh..wh.";
/// AUFS keeps the inodes of hard links here. Images of its time have hard links to its files.
const AUFS_LINKS: &[u8] = b".wh..wh.plnk";

/// What a layer may cost, and what it must be.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// The diff id that the image's config names; another one is an error. With nothing here, SHA-256 is computed.
    pub expected: Option<Digest>,
    /// The most entries a layer may have, and the most inodes that they may make. A regular file takes about 120 bytes
    /// of memory and its name.
    pub max_entries: u32,
    /// The most bytes that the layer's files may have, zeros and holes of sparse files included; 2^62 at most. All of
    /// them are hashed: it is a bound on time.
    pub max_expanded: u64,
    /// The most bytes of the layer's files that may be stored, which is done in blocks of 4096. Blocks of zeros and holes
    /// are not stored.
    pub max_contents: u64,
    /// The most bytes of names, link targets and xattrs that one entry may have.
    pub max_metadata: usize,
    /// The most bytes of names, link targets and xattrs that the layer may have; 4 GiB at most. Kept in memory.
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
/// What is written is a function of the tar's bytes and the format's version alone. [`BuiltLayer::publish`] gives the
/// files their names; dropping the result removes them.
///
/// # Errors
/// [`Error::Stream`](crate::Error::Stream) when `tar` fails, [`Error::InvalidTar`](crate::Error::InvalidTar),
/// [`Error::InvalidEntry`](crate::Error::InvalidEntry) and [`Error::Limit`](crate::Error::Limit) for what it holds,
/// [`Error::DiffIdMismatch`](crate::Error::DiffIdMismatch) when it is not the expected one,
/// [`Error::Io`](crate::Error::Io) when the files cannot be written.
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
