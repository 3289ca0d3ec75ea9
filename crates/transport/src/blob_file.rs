//! Writing of blobs to files.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use vmroot_model::{Descriptor, MANIFEST_LIMIT};
use vmroot_output::flock::{Mode, is_at, try_flock};
use vmroot_output::{BlockWriter, TEMPORARY_PREFIX, TemporaryFile};

use crate::regular::open_regular;
use crate::{Error, NewBlob, Result};

/// The size in bytes of the buffer between a blob's reader and its file.
const BUFFER: usize = 256 << 10;

/// The permission bits of blobs and documents: everyone may read them, as in all other tools.
pub(crate) const READABLE: u32 = 0o644;

/// Reads the next bytes of a blob, retrying interrupted reads. `place` is the destination, for the error.
pub(crate) fn read_some(blob: &mut NewBlob<'_>, buffer: &mut [u8], place: &Path) -> Result<usize> {
    loop {
        match blob.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map_err(|error| Error::reading_blob(place, error)),
        }
    }
}

/// Returns the descriptor of a blob that was read to its end.
pub(crate) fn finished(blob: &NewBlob<'_>, place: &Path) -> Result<Descriptor> {
    let cut = || Error::reading_blob(place, io::Error::from(io::ErrorKind::UnexpectedEof));
    blob.finished().ok_or_else(cut)
}

/// Reads a blob to its end into a temporary file in `directory`, and syncs the file. `place` is the destination, for
/// messages.
pub(crate) fn write_blob(
    directory: &Path,
    place: &Path,
    blob: &mut NewBlob<'_>,
) -> Result<(TemporaryFile, Descriptor)> {
    const ACTION: &str = "write a blob to";
    let file = TemporaryFile::create_in(directory, 0o600)?;
    let handle = file.file().try_clone().map_err(Error::io(ACTION, place))?;
    let mut writer = BlockWriter::new(handle, file.path(), 0).map_err(Error::io(ACTION, place))?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match read_some(blob, &mut buffer, place)? {
            0 => break,
            read => writer.append(&buffer[..read]).map_err(Error::io(ACTION, place))?,
        }
    }
    writer.flush().map_err(Error::io(ACTION, place))?;
    let descriptor = finished(blob, place)?;
    file.sync(Some(READABLE))?;
    Ok((file, descriptor))
}

/// Writes a document to a temporary file in `directory`, and syncs the file.
pub(crate) fn write_document(directory: &Path, place: &Path, bytes: &[u8]) -> Result<TemporaryFile> {
    let mut file = TemporaryFile::create_in(directory, 0o600)?;
    file.write_all(bytes).map_err(Error::io("write a manifest to", place))?;
    file.sync(Some(READABLE))?;
    Ok(file)
}

/// Reads a manifest or an index from a regular file. Returns `None` if it is missing, too large or cannot be read.
pub(crate) fn read_document(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path).ok()?.take(MANIFEST_LIMIT + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= MANIFEST_LIMIT).then_some(bytes)
}

/// Returns whether `path` is a file of `size` bytes.
pub(crate) fn is_file_of_size(path: &Path, size: u64) -> Result<bool> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_file() && metadata.len() == size),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("stat", path)(error)),
    }
}

/// Removes the temporary files and directories in `directory` whose writers were killed. Errors are ignored: the next
/// writer tries again.
pub(crate) fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| is_temporary(&entry.file_name())) {
        let path = entry.path();
        let Ok(file_type) = entry.file_type() else { continue };
        if !file_type.is_file() && !file_type.is_dir() {
            continue;
        }
        // Another file may have the name by now.
        let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
        let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(&path) else { continue };
        // The lock is held during the removal. Its writer, if it has just made the file, notices that it is gone.
        if matches!(try_flock(&file, Mode::Exclusive), Ok(true)) && is_at(&file, &path).unwrap_or(false) {
            let _ = if file_type.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        }
    }
}

/// Returns whether this is the name of a temporary file or directory of this program.
pub(crate) fn is_temporary(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().starts_with(TEMPORARY_PREFIX.as_bytes())
}
