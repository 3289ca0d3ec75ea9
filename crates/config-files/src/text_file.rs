//! Reading of whole text files.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use crate::{Error, Result};

/// The maximum length of a configuration file, in bytes.
const LENGTH_LIMIT: u64 = 4 << 20;

/// Reads a text file. Returns `None` if it does not exist.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, or [`Error::Invalid`] if it is too long or not UTF-8.
pub(crate) fn read(path: &Path) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(LENGTH_LIMIT + 1).read_to_end(&mut bytes)) {
        Ok(length) if length as u64 > LENGTH_LIMIT => {
            Err(Error::invalid(path, format!("the file is longer than {LENGTH_LIMIT} bytes")))
        }
        Ok(_) => String::from_utf8(bytes).map(Some).map_err(|_| Error::invalid(path, "the file is not UTF-8")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}
