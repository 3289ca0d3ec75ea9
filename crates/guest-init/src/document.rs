//! Reads whole files of an image, up to a size limit.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// Returns the content of a regular file.
///
/// # Errors
/// - [`Error::Io`] if it cannot be read.
/// - [`Error::Document`] if it is not a regular file.
/// - [`Error::TooLong`] if it has more than `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let failed = |source| Error::Io { path: path.to_owned(), source };
    // Opening a fifo would otherwise block forever.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(Error::Document { path: path.to_owned(), reason: "not a regular file".to_owned() });
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooLong { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// Parses a JSON document that was read from `path`.
///
/// # Errors
/// [`Error::Document`] if it is malformed.
pub(crate) fn parse<T: DeserializeOwned>(path: &Path, text: &[u8]) -> Result<T> {
    serde_json::from_slice(text).map_err(|error| Error::Document { path: path.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn a_file_at_the_limit_is_read_and_one_byte_more_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, [b'x'; 16]).unwrap();
        assert_eq!(read(&path, 16).unwrap().len(), 16);
        assert!(matches!(read(&path, 15), Err(Error::TooLong { limit: 15, .. })));
    }

    #[test]
    fn only_regular_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        for path in [directory.path(), &fifo, Path::new("/dev/zero")] {
            let error = read(path, 16).unwrap_err().to_string();
            assert!(error.ends_with("not a regular file"), "{error}");
        }
    }
}
