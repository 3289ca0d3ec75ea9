//! Blobs to upload.

use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use vmroot_model::{Algorithm, Digest, Hasher};
use vmroot_registry::UploadBody;

/// A blob in memory, whose size and digest may be known in advance.
pub(crate) struct Blob {
    bytes: Vec<u8>,
    read: usize,
    size: Option<u64>,
    digest: Option<Digest>,
    /// The number of bytes after which reading fails.
    pub(crate) fails_at: usize,
    /// The pause in the middle.
    pub(crate) pauses: Option<Duration>,
}

impl Blob {
    /// A blob of known size and digest.
    pub(crate) fn known(bytes: &[u8]) -> Self {
        let digest = Some(Digest::of(bytes));
        let (bytes, size) = (bytes.to_vec(), Some(bytes.len() as u64));
        Self { bytes, read: 0, size, digest, fails_at: usize::MAX, pauses: None }
    }

    /// A blob whose size and digest are known once it was read.
    pub(crate) fn unknown(bytes: &[u8]) -> Self {
        Self { size: None, digest: None, ..Self::known(bytes) }
    }

    /// A blob with a SHA-512 digest.
    pub(crate) fn sha512(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(bytes);
        Self { digest: Some(hasher.finish()), ..Self::known(bytes) }
    }

    /// Makes the blob claim another digest.
    pub(crate) fn claims(&mut self, digest: Digest) {
        self.digest = Some(digest);
    }

    /// Makes the blob claim another size.
    pub(crate) fn claims_size(&mut self, size: u64) {
        self.size = Some(size);
    }

    /// Returns whether the blob is too large for one request.
    pub(crate) fn is_large(&self) -> bool {
        self.bytes.len() > 1 << 20
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read >= self.fails_at {
            return Err(io::Error::other("the disk is on fire"));
        }
        if self.read >= self.bytes.len() / 2 {
            self.pauses.take().map(thread::sleep);
        }
        let count = (&self.bytes[self.read..]).read(buffer)?.min(self.fails_at - self.read);
        self.read += count;
        Ok(count)
    }
}

impl UploadBody for Blob {
    fn size(&self) -> Option<u64> {
        self.size
    }

    fn digest(&self) -> Option<Digest> {
        self.digest.or_else(|| (self.read == self.bytes.len()).then(|| Digest::of(&self.bytes)))
    }
}
