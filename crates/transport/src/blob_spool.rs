//! Blobs that wait in one unnamed file until their archive is written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use vmroot_model::{Descriptor, Digest};

use crate::blob_file::{finished, read_some};
use crate::{Error, NewBlob, Result};

/// The size in bytes of the pieces in which blobs are written.
const PIECE: usize = 1 << 20;

/// Blobs by digest, in one unnamed file. The kernel deletes it when its process ends, in any way.
///
/// Several threads write at once: each reserves the range of its next piece. So an archive can have a fixed order, though
/// its blobs arrive in any order and the sizes of some are known only at their end.
#[derive(Debug)]
pub(crate) struct BlobSpool {
    file: File,
    /// The directory of the file, for messages.
    directory: PathBuf,
    /// The length of the file.
    end: AtomicU64,
    blobs: Mutex<BTreeMap<Digest, SpooledBlob>>,
}

/// The ranges of a blob in the spool, in their order.
#[derive(Debug, Clone, Default)]
struct SpooledBlob {
    ranges: Vec<Range<u64>>,
}

impl SpooledBlob {
    fn len(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }
}

impl BlobSpool {
    /// Creates a spool on the file system of `directory`.
    pub(crate) fn create_in(directory: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(directory).map_err(Error::io("make a temporary file in", directory))?;
        let directory = directory.to_owned();
        Ok(Self { file, directory, end: AtomicU64::new(0), blobs: Mutex::new(BTreeMap::new()) })
    }

    fn blobs(&self) -> MutexGuard<'_, BTreeMap<Digest, SpooledBlob>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the size of a blob in bytes, if the spool has it.
    pub(crate) fn size(&self, digest: &Digest) -> Option<u64> {
        self.blobs().get(digest).map(SpooledBlob::len)
    }

    /// Returns the digests of all blobs, in the order of algorithm and hex digits.
    pub(crate) fn digests(&self) -> Vec<Digest> {
        self.blobs().keys().copied().collect()
    }

    /// Reads a blob to its end into the spool. `place` is the destination, for messages.
    pub(crate) fn put(&self, place: &Path, blob: &mut NewBlob<'_>) -> Result<Descriptor> {
        let mut spooled = SpooledBlob::default();
        let mut piece = vec![0; PIECE];
        loop {
            let mut filled = 0;
            while filled < piece.len() {
                match read_some(blob, &mut piece[filled..], place)? {
                    0 => break,
                    read => filled += read,
                }
            }
            self.append(&mut spooled, &piece[..filled])?;
            if filled < piece.len() {
                break;
            }
        }
        let descriptor = finished(blob, place)?;
        self.blobs().insert(descriptor.digest, spooled);
        Ok(descriptor)
    }

    /// Writes a document into the spool.
    pub(crate) fn put_bytes(&self, digest: Digest, bytes: &[u8]) -> Result<()> {
        let mut spooled = SpooledBlob::default();
        self.append(&mut spooled, bytes)?;
        self.blobs().insert(digest, spooled);
        Ok(())
    }

    fn append(&self, blob: &mut SpooledBlob, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let len = bytes.len() as u64;
        let start = self.end.fetch_add(len, Ordering::Relaxed);
        self.file.write_all_at(bytes, start).map_err(Error::io("write a temporary file in", &self.directory))?;
        match blob.ranges.last_mut() {
            Some(last) if last.end == start => last.end += len,
            _ => blob.ranges.push(start..start + len),
        }
        Ok(())
    }

    /// Opens a blob. Returns its size in bytes and a reader.
    pub(crate) fn open(&self, digest: &Digest) -> Option<(u64, SpoolReader<'_>)> {
        let blob = self.blobs().get(digest)?.clone();
        let size = blob.len();
        Some((size, SpoolReader { spool: self, ranges: blob.ranges, next: 0 }))
    }

    /// Reads a document of at most `limit` bytes. Returns `None` if the spool does not have it or it is longer.
    pub(crate) fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some((size, mut reader)) = self.open(digest) else { return Ok(None) };
        if size > limit {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut reader, &mut bytes)
            .map_err(Error::io("read a temporary file in", &self.directory))?;
        Ok(Some(bytes))
    }
}

/// Reads a blob of a spool.
#[derive(Debug)]
pub(crate) struct SpoolReader<'a> {
    spool: &'a BlobSpool,
    ranges: Vec<Range<u64>>,
    /// The index of the first range with unread bytes.
    next: usize,
}

impl io::Read for SpoolReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(range) = self.ranges.get_mut(self.next) else { return Ok(0) };
        let wanted = buffer.len().min(usize::try_from(range.end - range.start).unwrap_or(usize::MAX));
        let read = self.spool.file.read_at(&mut buffer[..wanted], range.start)?;
        if read == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        range.start += read as u64;
        if range.start == range.end {
            self.next += 1;
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::thread;

    use vmroot_model::MediaType;

    use super::*;
    use crate::BlobRole;

    #[test]
    fn threads_write_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let spool = BlobSpool::create_in(directory.path()).unwrap();
        let contents: Vec<Vec<u8>> = (0..8_u8)
            .map(|seed| (0..usize::from(seed) * 700_000).map(|at| (at % 253) as u8 ^ seed).collect())
            .collect();
        thread::scope(|scope| {
            for content in &contents {
                let spool = &spool;
                scope.spawn(move || {
                    let mut blob = NewBlob::unknown(MediaType::OCI_LAYER, BlobRole::Layer, &content[..]);
                    spool.put(Path::new("archive"), &mut blob).unwrap();
                });
            }
        });
        assert_eq!(spool.digests().len(), contents.len());
        for content in &contents {
            let (size, mut reader) = spool.open(&Digest::of(content)).unwrap();
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            assert!(size == content.len() as u64 && bytes == *content);
            assert_eq!(spool.size(&Digest::of(content)), Some(size));
        }
        assert!(spool.open(&Digest::of(b"other")).is_none());
        assert_eq!(spool.read(&Digest::of(b""), 0).unwrap().unwrap(), b"");
        assert_eq!(spool.read(&Digest::of(&contents[1]), 699_999).unwrap(), None);
    }

    #[test]
    fn a_wrong_blob_is_not_kept() {
        let directory = tempfile::tempdir().unwrap();
        let spool = BlobSpool::create_in(directory.path()).unwrap();
        let descriptor = Descriptor::of(MediaType::OCI_LAYER, b"right");
        let mut wrong = NewBlob::known(&descriptor, BlobRole::Layer, &b"wrong"[..]);
        let error = spool.put(Path::new("archive"), &mut wrong).unwrap_err();
        assert!(matches!(error, Error::Blob { .. }), "{error}");
        assert_eq!(spool.digests(), []);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
