//! The sources of damaged blobs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vmroot_errors::{ErrorKind, with_causes};
use vmroot_model::{CONFIG_LIMIT, Descriptor, Digest, NewManifest};
use vmroot_transport::ImageSource;

use super::Check;
use super::needs::{BlobUse, Role};
use crate::image::layers;
use crate::progress::BlobReporter;
use crate::{Error, Record, Result};

/// The number of sources from which one blob is requested: of several images with the blob, the last ones are not asked.
const MAX_SOURCES: usize = 8;

/// The number of sources that stay open.
const MAX_OPEN: usize = 16;

/// Opens the sources from which a repair fetches damaged blobs.
pub trait ImageOrigins: Sync {
    /// Opens the source that an image came from: its registry, or the archive, layout or directory of
    /// [`Record::loaded_from`]. Returns `None` if it has none.
    ///
    /// # Errors
    /// The source cannot be opened. An error whose kind is [`ErrorKind::NotFound`] means that it does not exist any more.
    fn open(&self, record: &Record) -> std::result::Result<Option<Box<dyn ImageSource>>, vmroot_transport::Error>;
}

/// No sources: a repair builds files only from others in the cache.
#[derive(Debug, Clone, Copy)]
pub struct NoOrigins;

impl ImageOrigins for NoOrigins {
    fn open(&self, _: &Record) -> std::result::Result<Option<Box<dyn ImageSource>>, vmroot_transport::Error> {
        Ok(None)
    }
}

/// The sources of a repair, and those that cannot be reached.
pub(super) struct Sources<'a> {
    origins: &'a dyn ImageOrigins,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The sources that were used last, the latest at the end.
    open: Vec<(Key, Arc<dyn ImageSource>)>,
    /// The hosts and files that cannot be reached, with the reason. They are not tried again.
    unreachable: HashMap<String, String>,
}

/// Identifies the source of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Origin(String),
    Repository { domain: String, name: String },
}

/// The result of an attempt to get a blob.
#[derive(Debug)]
pub(super) enum Fetched {
    /// The blob is in the cache. The text says where it came from.
    From(String),
    /// No source has the blob any more. The text says why.
    Gone(String),
    /// A source cannot be reached or used at this time.
    NotNow(String),
}

impl Key {
    fn of(record: &Record) -> Option<Self> {
        match (&record.loaded_from, &record.reference) {
            (Some(origin), _) => Some(Self::Origin(origin.clone())),
            (None, Some(reference)) => {
                Some(Self::Repository { domain: reference.domain().to_owned(), name: reference.name().to_owned() })
            }
            (None, None) => None,
        }
    }

    /// Returns the text that identifies the host or the file.
    fn place(&self) -> &str {
        match self {
            Self::Origin(origin) => origin,
            Self::Repository { domain, .. } => domain,
        }
    }
}

impl<'a> Sources<'a> {
    pub(super) fn new(origins: &'a dyn ImageOrigins) -> Self {
        Self { origins, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the source of a record. Returns `None` if it has none.
    fn source(&self, key: &Key, record: &Record) -> Result<Option<Arc<dyn ImageSource>>> {
        let mut state = self.state();
        if let Some(at) = state.open.iter().position(|(open, _)| open == key) {
            let found = state.open.remove(at);
            let source = Arc::clone(&found.1);
            state.open.push(found);
            return Ok(Some(source));
        }
        drop(state);
        let Some(source) = self.origins.open(record)? else { return Ok(None) };
        let source: Arc<dyn ImageSource> = Arc::from(source);
        let mut state = self.state();
        if state.open.len() == MAX_OPEN {
            state.open.remove(0);
        }
        state.open.push((key.clone(), Arc::clone(&source)));
        Ok(Some(source))
    }
}

/// Returns whether an error concerns the whole host, and not only one blob.
fn is_of_host(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unreachable | ErrorKind::Authentication | ErrorKind::RateLimited)
}

impl Check<'_> {
    /// Brings a blob back into the cache, which does not have it: a manifest from its record if possible, and others from
    /// the sources of the images that need it.
    pub(super) fn bring_back(&self, digest: &Digest, uses: &[BlobUse]) -> Result<Fetched> {
        for it in uses.iter().filter(|it| it.role == Role::Manifest) {
            if let Some(bytes) = manifest_of(&it.record) {
                self.store.write_document(digest, &bytes, &**self.progress)?;
                return Ok(Fetched::From("made again from the image's record".to_owned()));
            }
        }
        let Some(sources) = &self.sources else { return Ok(Fetched::NotNow(String::new())) };
        let mut asked: Vec<Key> = Vec::new();
        let (mut reasons, mut may_come) = (Vec::new(), false);
        for it in uses {
            let Some(key) = Key::of(&it.record).filter(|key| !asked.contains(key)) else { continue };
            if asked.len() == MAX_SOURCES {
                break;
            }
            asked.push(key.clone());
            let known = sources.state().unreachable.get(key.place()).cloned();
            if let Some(reason) = known {
                may_come = true;
                reasons.push(reason);
                continue;
            }
            match self.fetch_from(sources, &key, digest, it) {
                Ok(Some(from)) => return Ok(Fetched::From(format!("fetched again from {from}"))),
                Ok(None) => {}
                Err(error) => {
                    let (kind, reason) = (error.kind(), with_causes(&error));
                    if matches!(kind, ErrorKind::Cancelled | ErrorKind::NoSpace) {
                        return Err(error);
                    }
                    self.store.check_cancelled()?;
                    may_come |= !matches!(kind, ErrorKind::NotFound | ErrorKind::Integrity);
                    if is_of_host(kind) {
                        sources.state().unreachable.insert(key.place().to_owned(), reason.clone());
                    }
                    reasons.push(reason);
                }
            }
        }
        let reason = match reasons.is_empty() {
            true => "its source is not known".to_owned(),
            false => reasons.join("; "),
        };
        Ok(if may_come { Fetched::NotNow(reason) } else { Fetched::Gone(reason) })
    }

    /// Fetches a blob from one source. Returns the name of the source, or `None` if there is none.
    fn fetch_from(&self, sources: &Sources<'_>, key: &Key, digest: &Digest, it: &BlobUse) -> Result<Option<String>> {
        let Some(source) = sources.source(key, &it.record)? else { return Ok(None) };
        let name = source.name();
        match it.role {
            Role::Index | Role::Manifest => {
                let raw = source.manifest(Some(digest))?;
                self.write_checked(digest, &raw.bytes, &name)?;
            }
            Role::Config => {
                let bytes = source.read_blob(&it.record.config, CONFIG_LIMIT)?;
                self.write_checked(digest, &bytes, &name)?;
            }
            Role::Layer(position) => {
                let descriptor = it.record.layers[position].descriptor();
                let reporter = BlobReporter::of(self.progress, &descriptor);
                self.store.fetch_blob(&*source, &descriptor, &reporter)?;
            }
        }
        Ok(Some(name))
    }

    fn write_checked(&self, digest: &Digest, bytes: &[u8], place: &str) -> Result<()> {
        if !digest.is_of(bytes) {
            let reason = "has another digest".to_owned();
            return Err(Error::Blob { image: place.to_owned(), digest: *digest, reason });
        }
        self.store.write_document(digest, bytes, &**self.progress)
    }
}

/// Returns the manifest of an image, if it has only members that the record has. That is so for images made in a cache.
fn manifest_of(record: &Record) -> Option<Vec<u8>> {
    let layers: Vec<Descriptor> = layers(record).into_iter().map(|layer| layer.descriptor).collect();
    let manifests =
        [NewManifest::oci(record.config.clone(), layers.clone()), NewManifest::schema2(record.config.clone(), layers)];
    manifests.iter().map(NewManifest::to_bytes).find(|bytes| record.manifest.digest.is_of(bytes))
}
