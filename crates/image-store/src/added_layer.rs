//! Layers that are in the store before an image has them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vmroot_compress::{Compression, Target};
use vmroot_model::{Descriptor, Digest, MediaType, Platform};

use crate::in_use::Pin;
use crate::{LayerRecord, NewLayer, Progress, Record, Result, Store};

/// A layer that [`Store::add_layer`] has put into the store.
///
/// While it or a clone of it is alive, [`Store::create`] of the same store makes images of the layer, and
/// [`Store::collect`] keeps it. Afterwards an image must have it.
#[derive(Debug, Clone)]
pub struct AddedLayer {
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    layer: LayerRecord,
    layers: AddedLayers,
    _pin: Pin,
}

/// The layers that are held, which clones of a store share.
#[derive(Debug, Clone, Default)]
pub(crate) struct AddedLayers {
    /// Each layer with the number of its holders.
    held: Arc<Mutex<HashMap<Digest, (LayerRecord, usize)>>>,
}

impl AddedLayer {
    /// Returns the digest of the layer's uncompressed tar.
    pub fn diff_id(&self) -> &Digest {
        &self.held.layer.diff_id
    }

    /// Returns the description of the layer and its blob.
    pub fn record(&self) -> &LayerRecord {
        &self.held.layer
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.layers.held();
        if let Some((_, holders)) = held.get_mut(&self.layer.diff_id) {
            *holders -= 1;
            if *holders == 0 {
                held.remove(&self.layer.diff_id);
            }
        }
    }
}

impl AddedLayers {
    fn held(&self) -> MutexGuard<'_, HashMap<Digest, (LayerRecord, usize)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a holder of a layer. Returns the layer as its first holder has it.
    fn hold(&self, layer: &LayerRecord) -> LayerRecord {
        let mut held = self.held();
        let (layer, holders) = held.entry(layer.diff_id).or_insert_with(|| (layer.clone(), 0));
        *holders += 1;
        layer.clone()
    }

    /// Returns a layer that is held.
    pub(crate) fn get(&self, diff_id: &Digest) -> Option<LayerRecord> {
        self.held().get(diff_id).map(|(layer, _)| layer.clone())
    }
}

impl Store {
    /// Puts a layer into the store, for [`Store::create`]. A layer that is there stays as it is.
    ///
    /// `compression` is that of the layer's blob. `None` keeps gzip and zstd as they are, and makes gzip of all others.
    ///
    /// # Errors
    /// - [`Error::NewLayer`](crate::Error::NewLayer) or [`Error::NewLayerEntry`](crate::Error::NewLayerEntry) if the
    ///   layer cannot be read, decoded or applied.
    /// - [`Error::Cache`](crate::Error::Cache) or [`Error::Index`](crate::Error::Index) if files of the store cannot be
    ///   written.
    /// - [`Error::Cancelled`](crate::Error::Cancelled) if the work was cancelled.
    pub fn add_layer(
        &self,
        layer: NewLayer,
        compression: Option<Target>,
        progress: &Arc<dyn Progress>,
    ) -> Result<AddedLayer> {
        let written = self.write_layer(layer, compression, progress)?;
        let media_type = match written.compression {
            Compression::None => MediaType::OCI_LAYER,
            Compression::Zstd => MediaType::OCI_LAYER_ZSTD,
            _ => MediaType::OCI_LAYER_GZIP,
        };
        let descriptor = Descriptor::new(media_type, written.digest, written.size);
        let layer = LayerRecord::new(&descriptor, written.built.diff_id());
        // From here on no collection removes the files.
        let pin = self.in_use.pin(&record_of(&layer))?;
        self.publish_layer(written, progress)?;
        let layers = self.added_layers.clone();
        let held = layers.hold(&layer);
        // Another blob of the same layer may be held already.
        let pin = if held.digest == layer.digest { pin } else { self.in_use.pin(&record_of(&held))? };
        Ok(AddedLayer { held: Arc::new(Held { layer: held, layers, _pin: pin }) })
    }
}

/// Returns a record that needs only the files of a layer.
fn record_of(layer: &LayerRecord) -> Record {
    let descriptor = layer.descriptor();
    Record {
        reference: None,
        platform: Platform::host(),
        digest: descriptor.digest,
        manifest: descriptor.clone(),
        config: descriptor,
        layers: vec![layer.clone()],
        pulled: 0,
        loaded_from: None,
        created: None,
        indexes: Vec::new(),
        signatures: None,
        shared_cache: None,
    }
}
