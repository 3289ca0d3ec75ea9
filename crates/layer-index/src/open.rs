//! Opening an index. The whole shape is checked here, once, in time linear in the length of the file.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use vmroot_model::Digest;
use vmroot_sys::Map;

use crate::check::{Shape, check_shape};
use crate::format::SECTIONS;
use crate::{Error, Result};

/// The number of an inode: the position of its record in the index. The root directory is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InodeId(pub u32);

impl InodeId {
    /// The root directory.
    pub const ROOT: Self = Self(0);
}

/// A reference from an index to a `.contents` file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentsFile {
    /// The diff id of the layer whose files it holds. The file's name is the digest in hex.
    pub diff_id: Digest,
    /// The length of the file in bytes, a multiple of 4096.
    pub length: u64,
}

/// The index of a layer or of a merged root.
///
/// Records are read in place, from the mapped file or from memory.
#[derive(Debug)]
pub struct Index {
    bytes: Bytes,
    pub(crate) ranges: [Range<usize>; SECTIONS],
    pub(crate) kind: u32,
    pub(crate) minor: u16,
    pub(crate) identity: Digest,
    pub(crate) contents: Vec<ContentsFile>,
}

#[derive(Debug)]
enum Bytes {
    Mapped(Map),
    Owned(Vec<u8>),
}

impl Index {
    /// Maps the index at `path` and checks it.
    ///
    /// # Errors
    /// - [`Error::Io`] when the file cannot be opened or mapped.
    /// - [`Error::InvalidIndex`] when the index is damaged or of another major version.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path))?;
        let map = Map::open(&file).map_err(Error::io(path))?;
        Self::check(Bytes::Mapped(map), path)
    }

    /// Reads the index at `path` into memory and checks it.
    ///
    /// It takes more time and memory than [`Self::open`]. It is for files that another user may truncate, or whose file
    /// system may disappear: a map of such a file would end the process with SIGBUS.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = read_whole(path).map_err(Error::io(path))?;
        Self::check(Bytes::Owned(bytes), path)
    }

    /// Checks an index in memory.
    ///
    /// # Errors
    /// [`Error::InvalidIndex`] with an empty path when the index is damaged or of another major version.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        Self::check(Bytes::Owned(bytes), Path::new(""))
    }

    /// Returns the bytes of the whole index, as its file holds them.
    pub fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }

    fn check(bytes: Bytes, path: &Path) -> Result<Self> {
        let slice: &[u8] = match &bytes {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        };
        let shape = check_shape(slice).map_err(|reason| Error::InvalidIndex { path: PathBuf::from(path), reason })?;
        let Shape { ranges, kind, minor, identity, contents } = shape;
        Ok(Self { bytes, ranges, kind, minor, identity, contents })
    }
}

/// Reads a file that has the length of its metadata.
fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let too_large = || io::Error::from(io::ErrorKind::OutOfMemory);
    let size = usize::try_from(length).map_err(|_| too_large())?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(|_| too_large())?;
    // A file that grows meanwhile is invalid, and must not fill the memory.
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}
