//! The content that a registry serves, in memory or in a file.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The bytes of a blob or document.
#[derive(Clone, Debug)]
pub enum Content {
    /// Bytes in memory.
    Memory(Arc<[u8]>),
    /// A file, which is read at each request.
    File(PathBuf),
}

impl Content {
    /// Returns the length in bytes.
    ///
    /// # Errors
    /// If the file does not exist.
    pub fn size(&self) -> io::Result<u64> {
        match self {
            Self::Memory(bytes) => Ok(bytes.len() as u64),
            Self::File(path) => Ok(path.metadata()?.len()),
        }
    }

    /// Returns a reader of the bytes from `offset` on.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn reader(&self, offset: u64) -> io::Result<Box<dyn Read>> {
        match self {
            Self::Memory(bytes) => {
                let mut cursor = Cursor::new(Arc::clone(bytes));
                cursor.set_position(offset);
                Ok(Box::new(cursor))
            }
            Self::File(path) => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(offset))?;
                Ok(Box::new(file))
            }
        }
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Memory(bytes.into())
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        Self::Memory(bytes.into())
    }
}

impl From<&Path> for Content {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}
