//! A destination in memory.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Mutex, MutexGuard};

use vmroot_model::{Descriptor, Digest, MediaType, Reference};
use vmroot_transport::{Accepts, Error, ImageDestination, LayerForm, ManifestPlace, NewBlob, Result, Reuse};

/// A destination in memory, which can refuse documents.
#[derive(Debug)]
pub(crate) struct MemoryDestination {
    pub(crate) accepts: Accepts,
    /// The types that `put_manifest` refuses, although `accepts` has them.
    pub(crate) refuses: Vec<MediaType>,
    pub(crate) current: Option<Digest>,
    pub(crate) repository: Option<Reference>,
    /// Whether blobs are not read to their end.
    pub(crate) is_lazy: bool,
    state: Mutex<State>,
}

/// The content of a destination, and the calls.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) blobs: HashMap<Digest, Vec<u8>>,
    /// The digests of all blobs that were written, in order.
    pub(crate) written: Vec<Digest>,
    /// The documents in order.
    pub(crate) documents: Vec<(Digest, MediaType, ManifestPlace, Vec<u8>)>,
    /// The types of all documents that were offered.
    pub(crate) offered: Vec<MediaType>,
    /// The repositories from which blobs could come.
    pub(crate) origins: HashMap<Digest, Vec<Reference>>,
    pub(crate) commits: usize,
    writers: usize,
    /// The most blobs that were written at once.
    pub(crate) most_writers: usize,
}

impl MemoryDestination {
    pub(crate) fn new() -> Self {
        let accepts =
            Accepts { documents: Vec::new(), layers: LayerForm::Compress, foreign_layers: true, digest: None };
        let state = Mutex::default();
        Self { accepts, refuses: Vec::new(), current: None, repository: None, is_lazy: false, state }
    }

    pub(crate) fn with_layers(mut self, layers: LayerForm) -> Self {
        self.accepts.layers = layers;
        self
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Fails unless nothing was written.
    pub(crate) fn assert_untouched(&self) {
        let state = self.state();
        assert!(state.written.is_empty() && state.offered.is_empty() && state.commits == 0, "{state:?}");
    }

    /// Fails if a document was written.
    pub(crate) fn assert_no_image(&self) {
        let state = self.state();
        assert!(state.documents.is_empty() && state.commits == 0, "{state:?}");
    }

    /// Returns the top document.
    pub(crate) fn top(&self) -> (Digest, MediaType, serde_json::Value) {
        let state = self.state();
        let (digest, media_type, place, bytes) = state.documents.last().unwrap();
        assert_eq!((*place, state.commits), (ManifestPlace::Top, 1));
        (*digest, media_type.clone(), serde_json::from_slice(bytes).unwrap())
    }
}

impl ImageDestination for MemoryDestination {
    fn name(&self) -> String {
        "memory:destination".to_owned()
    }

    fn accepts(&self) -> Accepts {
        self.accepts.clone()
    }

    fn current(&self) -> Result<Option<Digest>> {
        Ok(self.current)
    }

    fn has_manifest(&self, digest: &Digest) -> Result<bool> {
        Ok(self.state().documents.iter().any(|(known, ..)| known == digest))
    }

    fn repository(&self) -> Option<&Reference> {
        self.repository.as_ref()
    }

    fn reuse_blob(&self, blob: &Descriptor, origins: &[Reference]) -> Result<Reuse> {
        let mut state = self.state();
        state.origins.insert(blob.digest, origins.to_vec());
        Ok(if state.blobs.contains_key(&blob.digest) { Reuse::Present } else { Reuse::Absent })
    }

    fn put_blob(&self, blob: &mut NewBlob<'_>) -> Result<()> {
        {
            let mut state = self.state();
            state.writers += 1;
            state.most_writers = state.most_writers.max(state.writers);
        }
        let mut bytes = Vec::new();
        let limit = if self.is_lazy { 1 } else { u64::MAX };
        let read = (&mut *blob).take(limit).read_to_end(&mut bytes);
        let mut state = self.state();
        state.writers -= 1;
        read.map_err(|error| blob.read_error(error, self.name()))?;
        let digest = blob.digest().unwrap_or(Digest::of(&bytes));
        state.written.push(digest);
        state.blobs.insert(digest, bytes);
        Ok(())
    }

    fn put_manifest(&self, bytes: &[u8], media_type: &MediaType, place: ManifestPlace) -> Result<()> {
        let mut state = self.state();
        assert_eq!(state.commits, 0, "a document after the commit");
        state.offered.push(media_type.clone());
        if self.refuses.iter().any(|refused| refused.matches(media_type)) {
            let (place, reason) = (self.name(), format!("refusal {}", state.offered.len()));
            return Err(Error::Refused { place, media_type: media_type.to_string(), reason });
        }
        // Everything that a document refers to is written before it.
        let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        if place != ManifestPlace::Referrer {
            for blob in value["layers"].as_array().into_iter().flatten().chain(value.get("config")) {
                let digest = Digest::parse(blob["digest"].as_str().unwrap()).unwrap();
                let is_foreign = blob.get("urls").is_some() && self.accepts.foreign_layers;
                assert!(state.blobs.contains_key(&digest) || is_foreign, "{blob}");
            }
        }
        state.documents.push((Digest::of(bytes), media_type.clone(), place, bytes.to_vec()));
        Ok(())
    }

    fn commit(&self) -> Result<()> {
        self.state().commits += 1;
        Ok(())
    }
}
