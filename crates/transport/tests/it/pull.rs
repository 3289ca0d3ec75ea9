//! Pulling from a source. It works the same for all sources.

use std::io::Read;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vmroot_compress::{Decoder, Limits};
use vmroot_model::{Descriptor, Digest, Document, Hasher, ImageConfig, Platform, Search};
use vmroot_transport::{Archive, ArchiveOptions, Error, ImageSelector, ImageSource};

use crate::builder::{Image, Member, tar};

/// An archive in its own temporary directory.
pub(crate) struct SavedArchive {
    directory: TempDir,
    pub(crate) path: PathBuf,
}

impl SavedArchive {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("archive");
        std::fs::write(&path, bytes).unwrap();
        Self { directory, path }
    }

    pub(crate) fn tar(members: &[Member]) -> Self {
        Self::new(&tar(members))
    }

    pub(crate) fn options(&self) -> ArchiveOptions {
        options(self.directory.path())
    }

    pub(crate) fn open(&self) -> Result<Archive, Error> {
        Archive::open(&self.path, &self.options())
    }

    /// Opens the archive and returns a source of one image.
    pub(crate) fn source(&self, selector: &ImageSelector) -> Result<Box<dyn ImageSource>, Error> {
        let archive = self.open()?;
        archive.source(&archive.select(selector)?)
    }
}

pub(crate) fn options(spool: &Path) -> ArchiveOptions {
    ArchiveOptions { spool: spool.to_owned(), limits: Limits::default(), reading: None }
}

pub(crate) fn name(name: &str) -> ImageSelector {
    ImageSelector::Name(name.to_owned())
}

/// Reads a blob to its end and checks it.
fn read(source: &dyn ImageSource, descriptor: &Descriptor) -> Vec<u8> {
    let mut body = source.blob(descriptor, 0).unwrap();
    assert_eq!((body.offset, body.size), (0, Some(descriptor.size)));
    let mut bytes = Vec::new();
    body.reader.read_to_end(&mut bytes).unwrap();
    let mut hasher = Hasher::new(descriptor.digest.algorithm());
    hasher.update(&bytes);
    assert_eq!(hasher.finish(), descriptor.digest);
    assert_eq!(bytes.len() as u64, descriptor.size);

    let middle = descriptor.size / 3;
    let mut rest = source.blob(descriptor, middle).unwrap();
    assert_eq!((rest.offset, rest.size), (middle, Some(descriptor.size)));
    let mut resumed = Vec::new();
    rest.reader.read_to_end(&mut resumed).unwrap();
    assert!(resumed == bytes[middle as usize..]);
    bytes
}

/// Pulls an image for arm64 and checks all digests and sizes.
pub(crate) fn pull(source: &dyn ImageSource) -> Image {
    let mut search = Search::new(&Platform::parse("linux/arm64").unwrap());
    let mut raw = source.manifest(None).unwrap();
    let manifest = loop {
        match Document::parse(raw.bytes, raw.media_type.as_deref()).unwrap() {
            Document::Manifest(manifest) => break manifest,
            Document::Index(index) => search.enter(&index),
        }
        let next = search.next_candidate().unwrap();
        raw = source.manifest(Some(&next.digest)).unwrap();
    };
    assert_eq!(source.manifest(Some(manifest.digest())).unwrap().bytes, manifest.raw());
    let config = ImageConfig::parse(read(source, manifest.config())).unwrap();
    config.check_layers(&manifest).unwrap();
    let layer = |(descriptor, diff_id): (&Descriptor, &Digest)| {
        let mut plain = Vec::new();
        Decoder::new(&*read(source, descriptor), &Limits::default()).unwrap().read_to_end(&mut plain).unwrap();
        assert_eq!(Digest::of(&plain), *diff_id);
        plain
    };
    let layers = manifest.layers().iter().zip(config.diff_ids()).map(layer).collect();
    Image { config: config.raw().to_vec(), layers }
}

/// Checks that a source returns this image.
pub(crate) fn assert_same_image(source: &dyn ImageSource, image: &Image) {
    let pulled = pull(source);
    assert_eq!(Digest::of(&pulled.config), image.id());
    assert!(pulled.layers == image.layers);
}
