//! Bytes to serve: in memory or in a file.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that a registry serves.
#[derive(Clone, Debug)]
pub enum Content {
    /// Held in memory.
    Memory(Arc<[u8]>),
    /// Read from a file at each request.
    File(PathBuf),
}

impl Content {
    /// Length in bytes.
    ///
    /// # Errors
    /// If the file is not there.
    pub fn size(&self) -> io::Result<u64> {
        match self {
            Self::Memory(bytes) => Ok(bytes.len() as u64),
            Self::File(path) => Ok(path.metadata()?.len()),
        }
    }

    /// A reader of the bytes from `offset` on.
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
