//! A source in memory.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{self, Read};
use std::sync::Mutex;

use vmroot_errors::ErrorKind;
use vmroot_model::{Descriptor, Digest, MediaType, Reference};
use vmroot_signatures::ImageIdentity;
use vmroot_testkit::image::{Image, Index};
use vmroot_transport::{BlobBody, Error, ImageSource, RawManifest, Result};

/// A failure of one reading of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection breaks after this many bytes.
    Cut(usize),
    /// One byte is wrong.
    Flip(usize),
    /// The blob has only this many bytes.
    Short(usize),
    /// The blob has a byte more.
    Long,
}

/// A source in memory, whose blobs can fail.
#[derive(Default)]
pub(crate) struct MemorySource {
    pub(crate) documents: HashMap<Digest, (Vec<u8>, String)>,
    pub(crate) blobs: HashMap<Digest, Vec<u8>>,
    pub(crate) top: Option<Digest>,
    pub(crate) referrers: BTreeMap<Digest, Vec<Descriptor>>,
    pub(crate) repository: Option<Reference>,
    /// Called before each read of a blob.
    pub(crate) before_read: Option<std::sync::Arc<dyn Fn() + Send + Sync>>,
    faults: Mutex<HashMap<Digest, Vec<Fault>>>,
    opened: Mutex<Vec<Digest>>,
}

impl MemorySource {
    pub(crate) fn of_image(image: &Image) -> Self {
        let mut source = Self::default();
        source.blobs.extend(image.blobs());
        source.add_document(&image.manifest.bytes, &image.manifest.media_type);
        source
    }

    pub(crate) fn of_index(index: &Index) -> Self {
        let mut source = Self::default();
        source.blobs.extend(index.blobs());
        for document in index.documents() {
            source.add_document(&document.bytes, &document.media_type);
        }
        source.top = Some(index.document.digest);
        source
    }

    /// Removes an image of the list, as a store that lacks it does.
    pub(crate) fn without_instance(mut self, digest: Digest) -> Self {
        self.documents.remove(&digest);
        self
    }

    /// Adds a document, which becomes the top one.
    pub(crate) fn add_document(&mut self, bytes: &[u8], media_type: &str) -> Descriptor {
        let descriptor = Descriptor::of(MediaType::new(media_type), bytes);
        self.documents.insert(descriptor.digest, (bytes.to_vec(), media_type.to_owned()));
        self.top = Some(descriptor.digest);
        descriptor
    }

    pub(crate) fn add_blob(&mut self, bytes: &[u8], media_type: &str) -> Descriptor {
        let descriptor = Descriptor::of(MediaType::new(media_type), bytes);
        self.blobs.insert(descriptor.digest, bytes.to_vec());
        descriptor
    }

    /// Makes the next readings of a blob fail, one after the other.
    pub(crate) fn fail(&self, digest: Digest, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().insert(digest, faults.into_iter().collect());
    }

    /// Returns how often a blob was opened.
    pub(crate) fn opened(&self, digest: &Digest) -> usize {
        self.opened.lock().unwrap().iter().filter(|it| *it == digest).count()
    }
}

impl fmt::Debug for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySource").field("top", &self.top).finish_non_exhaustive()
    }
}

impl ImageSource for MemorySource {
    fn name(&self) -> String {
        "memory:source".to_owned()
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<RawManifest> {
        let digest = digest.copied().or(self.top).unwrap();
        let (bytes, media_type) =
            self.documents.get(&digest).cloned().ok_or_else(|| Error::Unknown { place: self.name(), digest })?;
        Ok(RawManifest { bytes, media_type: Some(media_type) })
    }

    fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobBody> {
        assert_eq!(offset, 0);
        let digest = descriptor.digest;
        self.opened.lock().unwrap().push(digest);
        let mut bytes =
            self.blobs.get(&digest).cloned().ok_or_else(|| Error::Unknown { place: self.name(), digest })?;
        let mut faults = self.faults.lock().unwrap();
        let fault = faults.get_mut(&digest).filter(|faults| !faults.is_empty()).map(|faults| faults.remove(0));
        let mut is_cut = false;
        match fault {
            None => (),
            Some(Fault::Flip(at)) => bytes[at] ^= 1,
            Some(Fault::Short(length)) => bytes.truncate(length),
            Some(Fault::Long) => bytes.push(0),
            Some(Fault::Cut(at)) => {
                bytes.truncate(at);
                is_cut = true;
            }
        }
        let size = Some(descriptor.size);
        let before_read = self.before_read.clone();
        Ok(BlobBody { reader: Box::new(Body { bytes, position: 0, is_cut, before_read }), offset: 0, size })
    }

    fn has_instance(&self, digest: &Digest) -> bool {
        self.documents.contains_key(digest)
    }

    fn identity(&self) -> Result<ImageIdentity> {
        match &self.repository {
            Some(repository) => Ok(ImageIdentity::docker(repository)?),
            None => Ok(ImageIdentity::tarball()),
        }
    }

    fn repository(&self) -> Option<&Reference> {
        self.repository.as_ref()
    }

    fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>> {
        Ok(self.referrers.get(digest).cloned().unwrap_or_default())
    }
}

/// The bytes of a blob, in short reads.
struct Body {
    bytes: Vec<u8>,
    position: usize,
    is_cut: bool,
    before_read: Option<std::sync::Arc<dyn Fn() + Send + Sync>>,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(before_read) = &self.before_read {
            before_read();
        }
        let left = &self.bytes[self.position..];
        if left.is_empty() && self.is_cut {
            let cause = io::Error::from(io::ErrorKind::ConnectionReset);
            return Err(io::Error::other(Error::other("memory:source".to_owned(), ErrorKind::Unreachable, cause)));
        }
        let count = left.len().min(buffer.len()).min(100);
        buffer[..count].copy_from_slice(&left[..count]);
        self.position += count;
        Ok(count)
    }
}
