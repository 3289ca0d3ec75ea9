//! A registry, and a store that pulls from it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vmroot_image_store::{
    Error, Fallback, Finding, Image, ImageOrigins, NoProgress, Progress, PullPolicy, PullRequest, Record, Store,
    StoreOptions,
};
use vmroot_model::{Digest, Platform, Reference};
use vmroot_registry::{Client, ClientOptions};
use vmroot_testkit::image::{Image as BuiltImage, ImageBuilder, Index};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::sample::noise;
use vmroot_transport::{ImageSource, RegistrySource, SeenSignatures};

const REPOSITORY: &str = "test/image";

/// The time after which a waiting test fails.
const TIME_LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Fixture {
    pub(crate) registry: Registry,
    pub(crate) store: Store,
    client: Client,
    directory: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// Returns a fixture whose store has changed options.
    pub(crate) fn with(change: impl FnOnce(&mut StoreOptions)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = StoreOptions::new(directory.path());
        change(&mut options);
        let cancel = options.cancel.clone();
        let client = ClientOptions { cancel, retries: 1, ..ClientOptions::default() };
        let client = Client::new(client).unwrap();
        Self { registry: Registry::start(), store: Store::open(options).unwrap(), client, directory }
    }

    /// Returns another store of the same cache, in place of another process.
    pub(crate) fn another(&self) -> Store {
        Store::open(StoreOptions::new(self.directory.path())).unwrap()
    }

    /// Serves an image under a tag.
    pub(crate) fn serve(&self, image: &BuiltImage, tag: &str) -> Reference {
        for (digest, bytes) in image.blobs() {
            self.registry.put_blob_as(&digest, bytes);
        }
        let document = &image.manifest;
        self.registry.put_manifest(REPOSITORY, Some(tag), &document.media_type, &document.bytes);
        self.reference(tag)
    }

    /// Serves an index and its images under a tag.
    pub(crate) fn serve_index(&self, index: &Index, tag: &str) -> Reference {
        for (digest, bytes) in index.blobs() {
            self.registry.put_blob_as(&digest, bytes);
        }
        for document in index.documents() {
            let tag = (document.digest == index.document.digest).then_some(tag);
            self.registry.put_manifest(REPOSITORY, tag, &document.media_type, &document.bytes);
        }
        self.reference(tag)
    }

    fn reference(&self, tag: &str) -> Reference {
        Reference::parse(&format!("{}/{REPOSITORY}:{tag}", self.registry.host())).unwrap()
    }

    pub(crate) fn source(&self, reference: &Reference) -> RegistrySource {
        RegistrySource::new(self.client.clone(), reference.clone())
    }

    pub(crate) fn pull(&self, reference: &Reference) -> Result<Image, Error> {
        self.pull_as(&request(reference, PullPolicy::Always))
    }

    pub(crate) fn pull_as(&self, request: &PullRequest) -> Result<Image, Error> {
        self.pull_with_progress(request, Arc::new(NoProgress))
    }

    pub(crate) fn pull_with_progress(
        &self,
        request: &PullRequest,
        progress: Arc<dyn Progress>,
    ) -> Result<Image, Error> {
        self.store.pull(&self.source(&request.references[0]), request, &progress)
    }

    pub(crate) fn verify(&self) -> Vec<Finding> {
        self.store.verify(&no_progress()).unwrap().findings
    }

    /// Repairs the cache, with the registry as the source of all images.
    pub(crate) fn repair(&self) -> Vec<Finding> {
        self.store.repair(self, &no_progress()).unwrap().findings
    }

    pub(crate) fn cache(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.cache().join("blobs/sha256").join(digest.hex())
    }

    pub(crate) fn layer(&self, diff_id: &Digest, extension: &str) -> PathBuf {
        self.cache().join(format!("layers/v1/{}.{extension}", diff_id.hex()))
    }

    /// Returns the paths of all files of the cache except locks and uses, relative to it.
    pub(crate) fn files(&self) -> BTreeSet<PathBuf> {
        let mut files = BTreeSet::new();
        let mut open = vec![self.cache().to_owned()];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => open.push(path),
                    false if path.extension().is_some_and(|it| it == "lock" || it == "use") => {}
                    false => drop(files.insert(path.strip_prefix(self.cache()).unwrap().to_owned())),
                }
            }
        }
        files
    }
}

impl ImageOrigins for Fixture {
    fn open(&self, record: &Record) -> Result<Option<Box<dyn ImageSource>>, vmroot_transport::Error> {
        Ok(record.reference.as_ref().map(|reference| Box::new(self.source(reference)) as _))
    }
}

pub(crate) fn amd64() -> Platform {
    Platform::parse("linux/amd64").unwrap()
}

/// Returns a request for amd64 without a fallback.
pub(crate) fn request(reference: &Reference, policy: PullPolicy) -> PullRequest {
    PullRequest {
        references: vec![reference.clone()],
        platform: amd64(),
        policy,
        fallback: Fallback::Refuse,
        loaded_from: None,
        admission: None,
        signatures: SeenSignatures::default(),
    }
}

/// Returns an image whose file `name` contains `text`, with a base layer that is the same in all images.
pub(crate) fn image(text: &str) -> BuiltImage {
    builder(text).build()
}

pub(crate) fn builder(text: &str) -> ImageBuilder {
    with_layers(ImageBuilder::new(), text)
}

/// Adds the layers of [`image`].
pub(crate) fn with_layers(builder: ImageBuilder, text: &str) -> ImageBuilder {
    let base = Layer::new([Entry::file("base", noise(1, 50_000)), Entry::file("gone", "x")]);
    let top = Layer::new([Entry::file("name", text), Entry::file("own", noise(text.len() as u64, 30_000))]);
    builder.layer(&base).layer(&top)
}

pub(crate) fn no_progress() -> Arc<dyn Progress> {
    Arc::new(NoProgress)
}

/// Returns the content of an image's file `name`.
pub(crate) fn name_in(store: &Store, image: &Image) -> String {
    let root = store.root(image, &no_progress()).unwrap();
    let ino = root.resolve_path(b"name").unwrap().ino;
    let mut bytes = vec![0; 100];
    let count = root.read_at(ino, 0, &mut bytes).unwrap();
    String::from_utf8(bytes[..count].to_vec()).unwrap()
}

/// Waits until a condition is true.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < TIME_LIMIT, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Replaces the content of a read-only file.
pub(crate) fn replace(path: &Path, bytes: impl AsRef<[u8]>) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Flips a bit in the middle of a file.
pub(crate) fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    replace(path, bytes);
}
