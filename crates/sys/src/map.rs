//! Read-only memory maps of files that vmroot writes once and never changes.

use std::fs::File;
use std::io;
use std::ops::Deref;

use memmap2::{Advice, Mmap};

/// A read-only map of a whole file.
///
/// An empty file maps to an empty slice.
///
/// The file must have been written under a temporary name, synced, given mode 0444 and renamed into place. According to
/// the rules of the cache, no program writes to it or truncates it afterwards (`docs/formats/cache.md`). A program that
/// breaks these rules can make a read of the map fault, as with every map of a file. So only indexes are mapped, and
/// file contents are read with `pread`.
#[derive(Debug)]
pub struct Map {
    map: Option<Mmap>,
}

impl Map {
    /// Maps the whole of `file` and advises the kernel to read it soon.
    ///
    /// # Errors
    /// The errors of fstat(2) and mmap(2).
    pub fn open(file: &File) -> io::Result<Self> {
        if file.metadata()?.len() == 0 {
            return Ok(Self { map: None });
        }
        // JUSTIFICATION: mapping a file is unsafe in every Rust interface, and reading an index in place is the point.
        // SAFETY: the map is private and read-only. memmap2 asks that the file is not changed while it is mapped: files
        // that this is called on are published once, by rename, and never written again (see the type's documentation).
        let map = unsafe { Mmap::map(file) }?;
        // Opening an index reads all of it. The advice is optional, so an error is ignored.
        let _ = map.advise(Advice::WillNeed);
        Ok(Self { map: Some(map) })
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

impl AsRef<[u8]> for Map {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn maps_the_bytes_of_a_file() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"read in place").unwrap();
        assert_eq!(&*Map::open(&file).unwrap(), b"read in place");
    }

    #[test]
    fn an_empty_file_is_an_empty_slice() {
        assert!(Map::open(&tempfile::tempfile().unwrap()).unwrap().is_empty());
    }
}
