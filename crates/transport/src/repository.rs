//! The source for repositories of registries.

mod destination;
mod fallback;
mod listed_tags;
mod put_signatures;
mod signatures;

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use vmroot_compress::Compression;
use vmroot_errors::{ErrorKind, with_causes};
use vmroot_model::{Descriptor, Digest, LayerCompression, Reference};
use vmroot_registry::{Client, RequestEvent, SignaturePlaces};
use vmroot_signatures::{ImageIdentity, Signature};

use crate::{BlobBody, BundleList, Error, ImageSource, RawManifest, Result, bundles, identity};
use fallback::FallbackReader;

pub use destination::RegistryDestination;
pub use listed_tags::ListedTags;

/// The image of a reference, in its registry or in one of several places.
///
/// Interrupted blobs are resumed, within the retries of the client's options. The first place that has a manifest is used
/// for everything else. If it fails later, the next one is used from there on.
#[derive(Debug, Clone)]
pub struct RegistrySource {
    reference: Reference,
    places: Arc<[RegistryPlace]>,
    /// The index of the place that answered last.
    current: Arc<AtomicUsize>,
}

/// A place that may have an image.
#[derive(Debug, Clone)]
pub enum RegistryPlace {
    /// A repository to read from.
    Repository {
        /// The client to read with, which has the settings and credentials for the place.
        client: Client,
        /// The image in this place.
        reference: Reference,
        /// The places of its signatures. With `None`, they are only in the registry's own storage, if it has one.
        signatures: Option<Arc<dyn SignaturePlaces>>,
    },
    /// A repository that may not be used.
    Blocked {
        /// The image in this place.
        reference: Reference,
        /// The file that says so.
        file: PathBuf,
    },
}

impl RegistryPlace {
    fn reference(&self) -> &Reference {
        match self {
            Self::Repository { reference, .. } | Self::Blocked { reference, .. } => reference,
        }
    }

    fn signatures(&self) -> Option<&dyn SignaturePlaces> {
        match self {
            Self::Repository { signatures, .. } => signatures.as_deref(),
            Self::Blocked { .. } => None,
        }
    }

    /// Returns the client and the reference.
    ///
    /// # Errors
    /// [`Error::Blocked`]
    fn open(&self) -> Result<(&Client, &Reference)> {
        match self {
            Self::Repository { client, reference, .. } => Ok((client, reference)),
            Self::Blocked { reference, file } => {
                Err(Error::Blocked { reference: reference.clone(), file: file.clone() })
            }
        }
    }
}

impl RegistrySource {
    /// Creates a source of the image of `reference`. Without a tag and a digest, the tag is `latest`.
    pub fn new(client: Client, reference: Reference) -> Self {
        let place = RegistryPlace::Repository { client, reference: reference.clone(), signatures: None };
        Self::at_places(reference, vec![place])
    }

    /// Creates a source of the image of `reference` in one of several places, which are tried in order: its mirrors, and
    /// then the place that they mirror.
    ///
    /// Places before the last one are given up soon if they do not answer ([`Client::with_alternative`]).
    pub fn at_places(reference: Reference, mut places: Vec<RegistryPlace>) -> Self {
        let repositories = places.iter_mut().filter_map(|place| match place {
            RegistryPlace::Repository { client, .. } => Some(client),
            RegistryPlace::Blocked { .. } => None,
        });
        for client in repositories.rev().skip(1) {
            *client = client.with_alternative();
        }
        Self { reference, places: places.into(), current: Arc::default() }
    }

    /// Calls `read` for the current place and those after it, until one succeeds.
    ///
    /// # Errors
    /// The error of the last place. If there are several, all errors are in its message.
    fn try_places<T>(&self, read: impl Fn(&Client, &Reference) -> Result<T>) -> Result<T> {
        self.try_open_places(|client, reference, _| read(client, reference))
    }

    /// Calls `read` as [`Self::try_places`] does, also with the places of the signatures.
    fn try_open_places<T>(
        &self,
        read: impl Fn(&Client, &Reference, Option<&dyn SignaturePlaces>) -> Result<T>,
    ) -> Result<T> {
        let first = self.current.load(Ordering::Relaxed);
        let mut failed: Vec<(Reference, Error)> = Vec::new();
        for (index, place) in self.places.iter().enumerate().skip(first) {
            let read = |(client, reference)| read(client, reference, place.signatures());
            match place.open().and_then(read) {
                Ok(done) => {
                    self.current.fetch_max(index, Ordering::Relaxed);
                    return Ok(done);
                }
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                Err(error) => {
                    if let Some(next) = self.places.get(index + 1) {
                        self.note_failure(place.reference(), &error, next.reference());
                    }
                    failed.push((place.reference().clone(), error));
                }
            }
        }
        Err(self.all_failed(failed))
    }

    /// Reports the failure of a mirror. A mirror may lack an image, so that is no cause for a warning.
    fn note_failure(&self, place: &Reference, error: &Error, next: &Reference) {
        let (place, next, reason) = (place.to_string(), next.to_string(), with_causes(error));
        if error.kind() == ErrorKind::NotFound {
            tracing::info!(reason, "{place} has no such image, trying {next}");
        } else {
            tracing::warn!(reason, "cannot read {place}, trying {next}");
        }
        // All clients of the places report to the same observer.
        if let Some((client, _)) = self.places.iter().find_map(|place| place.open().ok()) {
            client.report(&RequestEvent::NextPlace { failed: &place, next: &next, reason: &reason });
        }
    }

    /// Joins the errors of all places.
    fn all_failed(&self, mut failed: Vec<(Reference, Error)>) -> Error {
        let Some((place, last)) = failed.pop() else {
            return Error::NoPlace { reference: self.reference.clone() };
        };
        if failed.is_empty() {
            return last;
        }
        let mirrors = failed.iter().map(|(place, error)| format!("[{place}: {}]", with_causes(error)));
        Error::AllPlaces { mirrors: mirrors.collect::<Vec<_>>().join(" "), place, source: Box::new(last) }
    }
}

impl ImageSource for RegistrySource {
    fn name(&self) -> String {
        self.reference.to_string()
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<RawManifest> {
        let fetched = self.try_places(|client, reference| match digest {
            Some(digest) => Ok(client.manifest_by_digest(reference, digest)?),
            None => Ok(client.manifest(reference)?),
        })?;
        if self.places.len() > 1
            && let Some(place) = self.places.get(self.current.load(Ordering::Relaxed))
        {
            tracing::info!("{}: read from {}", self.reference, place.reference());
        }
        Ok(RawManifest { bytes: fetched.bytes, media_type: fetched.media_type })
    }

    fn repository(&self) -> Option<&Reference> {
        Some(&self.reference)
    }

    fn blob_size(&self, digest: &Digest) -> Result<u64> {
        let unknown = || Error::Unknown { place: self.name(), digest: *digest };
        self.try_places(|client, reference| client.has_blob(reference, digest)?.ok_or_else(unknown))
    }

    /// Asks only about a layer that is plain by its media type. Otherwise compressed bytes would be taken for plain ones,
    /// and those of another compression are decoded by any reader.
    fn sniff(&self, descriptor: &Descriptor) -> Result<Option<Compression>> {
        if descriptor.media_type.layer_compression() != Some(LayerCompression::None) {
            return Ok(None);
        }
        let mut start = Vec::new();
        let body = self.blob(descriptor, 0)?.reader.take(Compression::SNIFF_LEN as u64).read_to_end(&mut start);
        body.map_err(|error| Error::of_reader(error, self.name(), descriptor.digest))?;
        Ok(Some(Compression::sniff(&start)))
    }

    fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>> {
        self.try_places(|client, reference| Ok(client.referrers(reference, digest, None)?))
    }

    fn probable_bundles<'a>(&'a self, manifest: &Digest) -> Result<BundleList<'a>> {
        let listed = self.try_places(|client, reference| Ok(client.probable_referrers(reference, manifest)?))?;
        Ok(Box::new(bundles::in_turn(self, manifest, listed)))
    }

    fn further_bundles<'a>(&'a self, manifest: &Digest) -> Result<BundleList<'a>> {
        let listed = self.try_places(|client, reference| Ok(client.other_referrers(reference, manifest)?))?;
        Ok(Box::new(bundles::in_turn(self, manifest, listed)))
    }

    fn identity(&self) -> Result<ImageIdentity> {
        identity::of_reference(&self.reference)
    }

    fn signatures(&self, manifest: &Digest) -> Result<Vec<Signature>> {
        self.try_open_places(|client, reference, places| {
            let locations = places.map(|places| places.signature_locations(reference)).transpose()?;
            signatures::read(client, reference, locations.as_ref(), manifest)
        })
    }

    fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobBody> {
        let reader = FallbackReader::new(self.clone(), descriptor.clone(), offset);
        Ok(BlobBody { reader: Box::new(reader), offset, size: Some(descriptor.size) })
    }
}
