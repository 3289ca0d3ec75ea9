//! The files of a layout in a directory, and the lock for changing them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use vmroot_model::{Digest, MANIFEST_LIMIT};
use vmroot_output::{TemporaryDirectory, directory_of, sync_directory, write_atomically};

use super::index_file::IndexFile;
use super::{INDEX_JSON, LAYOUT_LIMIT, OCI_LAYOUT, VERSION, check_version_text};
use crate::blob_file::READABLE;
use crate::regular::open_regular;
use crate::{Error, Result};

/// The directory of the blobs.
pub(crate) const BLOBS: &str = "blobs";

/// The content of `oci-layout`, as all tools write it.
pub(crate) fn layout_file() -> String {
    format!(r#"{{"imageLayoutVersion":"{VERSION}"}}"#)
}

/// Returns the path of a blob below the directory of the blobs.
pub(crate) fn blob_path(blobs: &Path, digest: &Digest) -> PathBuf {
    blobs.join(digest.algorithm().name()).join(digest.hex())
}

/// Makes `path` a layout, unless it is one. It never is an incomplete one for other processes, if it is new.
pub(super) fn ensure(path: &Path) -> Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => complete(path),
        Ok(_) => Err(Error::Occupied { path: path.to_owned(), reason: "it is not a directory" }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path),
        Err(error) => Err(Error::io("stat", path)(error)),
    }
}

/// Checks a directory as [`ensure`] does, and changes nothing.
pub(super) fn check(path: &Path) -> Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            read_limited(&path.join(OCI_LAYOUT), LAYOUT_LIMIT)?.map_or(Ok(()), |bytes| check_version_text(path, &bytes))
        }
        Ok(_) => Err(Error::Occupied { path: path.to_owned(), reason: "it is not a directory" }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("stat", path)(error)),
    }
}

/// Creates the layout under another name and renames it.
fn create(path: &Path) -> Result<()> {
    let parent = directory_of(path);
    fs::create_dir_all(parent).map_err(Error::io("create the directory", parent))?;
    let staging = TemporaryDirectory::create_in(parent)?;
    // The staging directory is for its owner only. This one gets the usual permissions.
    let layout = staging.path().join("layout");
    fs::create_dir(&layout).map_err(Error::io("create a directory in", parent))?;
    complete(&layout)?;
    match fs::rename(&layout, path) {
        Ok(()) => Ok(sync_directory(parent)?),
        // Another process was faster.
        Err(_) if path.is_dir() => complete(path),
        Err(error) => Err(Error::io("create the directory", path)(error)),
    }
}

/// Adds the files that a directory lacks to be a layout. Checks those that it has.
fn complete(path: &Path) -> Result<()> {
    let _lock = Lock::take(path)?;
    let version = path.join(OCI_LAYOUT);
    match read_limited(&version, LAYOUT_LIMIT)? {
        Some(bytes) => check_version_text(path, &bytes)?,
        None => write_atomically(&version, READABLE, layout_file().as_bytes())?,
    }
    let blobs = path.join(BLOBS);
    fs::create_dir_all(&blobs).map_err(Error::io("create the directory", &blobs))?;
    if read_index(path)?.is_none() {
        write_index(path, &IndexFile::empty())?;
    }
    Ok(())
}

/// Reads `index.json`, or returns `None` if it does not exist.
pub(super) fn read_index(path: &Path) -> Result<Option<IndexFile>> {
    let Some(bytes) = read_limited(&path.join(INDEX_JSON), MANIFEST_LIMIT)? else { return Ok(None) };
    // serde's messages quote values, and the file may be a link to one that others may not read.
    let invalid = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        Error::member(path, INDEX_JSON, format!("is not an index: error at line {line}, column {column}"))
    };
    IndexFile::parse(&bytes).map(Some).map_err(invalid)
}

/// Replaces `index.json`. The caller holds the lock.
pub(super) fn write_index(path: &Path, index: &IndexFile) -> Result<()> {
    let bytes = index_bytes(path, index)?;
    Ok(write_atomically(&path.join(INDEX_JSON), READABLE, &bytes)?)
}

/// Returns the bytes of an index that readers accept.
pub(crate) fn index_bytes(path: &Path, index: &IndexFile) -> Result<Vec<u8>> {
    let bytes =
        index.to_bytes().map_err(|error| Error::member(path, INDEX_JSON, format!("cannot be written: {error}")))?;
    if bytes.len() as u64 > MANIFEST_LIMIT {
        return Err(Error::member_too_large(path, INDEX_JSON, bytes.len() as u64, MANIFEST_LIMIT));
    }
    Ok(bytes)
}

/// Reads a file of at most `limit` bytes, or returns `None` if it does not exist.
fn read_limited(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let file = match open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > limit {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        return Err(Error::member_too_large(directory_of(path), &name, bytes.len() as u64, limit));
    }
    Ok(Some(bytes))
}

/// A lock by flock(2) of a directory. It ends when it is dropped.
///
/// The lock of the layout is for changing `index.json`. The lock of the blobs is shared by writers of images, and
/// exclusive for a process that removes blobs.
#[derive(Debug)]
pub(crate) struct Lock {
    _directory: File,
}

impl Lock {
    /// Takes the lock of a directory. Waits for other processes and threads.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        Self::take_by(path, File::lock)
    }

    /// Shares the lock of a directory. Waits for a holder that does not share it.
    pub(super) fn share(path: &Path) -> Result<Self> {
        Self::take_by(path, File::lock_shared)
    }

    fn take_by(path: &Path, lock: impl Fn(&File) -> io::Result<()>) -> Result<Self> {
        let directory = File::open(path).map_err(Error::io("open the directory", path))?;
        loop {
            match lock(&directory) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The file system has no locks. Edits are atomic, but one of two at the same time may be lost.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => break,
                Err(error) => return Err(Error::io("lock the directory", path)(error)),
            }
        }
        Ok(Self { _directory: directory })
    }
}
