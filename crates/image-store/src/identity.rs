//! Images by their ids: what the images of a store are made of, and how they are related.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vmroot_errors::with_causes;
use vmroot_model::{Descriptor, Digest, ImageConfig, MediaType, NewManifest, Platform, chain_ids};

use crate::catalogue::Snapshot;
use crate::history::file_bytes;
use crate::journal::{Transaction, is_ancestor};
use crate::metadata::Metadata;
use crate::{Error, Image, LayerRecord, Progress, Record, Result, Store};

/// A layer that no image has any more, after [`Store::delete`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FreedLayer {
    /// The chain id of the layer and those below it.
    pub chain_id: Digest,
    /// The digest of the layer's uncompressed tar.
    pub diff_id: Digest,
    /// The size of the files of the layer and those below it in bytes.
    pub size: u64,
    /// The size of the layer's files and of the targets of its symbolic links in bytes, as in [`LayerSize::files`]. 0 if
    /// the layer is damaged.
    ///
    /// [`LayerSize::files`]: crate::LayerSize::files
    pub diff_size: u64,
}

impl Store {
    /// Returns the ids of all images, ordered by their hex digits.
    ///
    /// # Errors
    /// [`Error::Cache`] if the records cannot be listed or read.
    pub fn ids(&self) -> Result<Vec<Digest>> {
        Ok(self.visible()?.ids.clone())
    }

    /// Returns the number of images. An image with several names counts once.
    ///
    /// # Errors
    /// As [`Self::ids`].
    pub fn len(&self) -> Result<usize> {
        Ok(self.visible()?.ids.len())
    }

    /// Returns whether the store has no images.
    ///
    /// # Errors
    /// As [`Self::ids`].
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Finds the id of an image by the id or by a prefix of it, with or without `sha256:`. A complete id counts even if it
    /// begins another one.
    ///
    /// # Errors
    /// - [`Error::NoSuchImage`] if no image has this id or prefix, or if `term` has no digits.
    /// - [`Error::Ambiguous`], with the candidates, if several images have this prefix.
    /// - [`Error::Cache`] if the records cannot be listed or read.
    pub fn search(&self, term: &str) -> Result<Digest> {
        let fitting = self.visible()?.ids_with_prefix(term);
        match &fitting[..] {
            [] => Err(Error::NoSuchImage(term.to_owned())),
            [id] => Ok(*id),
            _ => Err(Error::ambiguous(term, fitting.iter().map(Digest::to_string))),
        }
    }

    /// Creates an image without a name from the bytes of its config, and returns its id. The layers must be those of
    /// images in the store, or of [`Store::add_layer`].
    ///
    /// An image that exists stays as it is. A failed call leaves no image.
    ///
    /// # Errors
    /// - [`Error::Image`] if the config cannot be parsed, has no `rootfs`, has more steps of history with a layer than
    ///   layers, or is for another operating system than this machine's.
    /// - [`Error::NoLayer`] if the store does not have one of the layers.
    /// - [`Error::Damaged`] if a layer cannot be completed from the cache.
    /// - [`Error::Cache`] if files of the store cannot be read or written.
    pub fn create(&self, config: &[u8], progress: &Arc<dyn Progress>) -> Result<Digest> {
        let config = parse_config(config)?;
        let id = *config.digest();
        loop {
            let snapshot = self.visible()?;
            if snapshot.by_id.contains_key(&id) {
                return Ok(id);
            }
            let (layers, holders) = self.known_layers(&snapshot, &config)?;
            // The images that have the layers keep them until the new record does.
            let pins: Vec<_> = holders.iter().map(|holder| self.pin_current(holder)).collect::<Result<_>>()?;
            if pins.iter().any(Option::is_none) {
                continue;
            }
            let (record, manifest) = new_record(&config, layers);
            let _pin = self.in_use.pin(&record)?;
            self.write_document(&id, config.raw(), &**progress)?;
            self.write_document(&record.digest, &manifest, &**progress)?;
            self.complete(&crate::image::layers(&record), progress)?;
            self.write_records(&[record], &**progress)?;
            return Ok(id);
        }
    }

    /// Returns an image by its id.
    ///
    /// # Errors
    /// - [`Error::NoSuchImage`] if the store has no such image.
    /// - [`Error::Damaged`] if its config is missing or damaged.
    /// - [`Error::Cache`] if the records cannot be listed or read.
    pub fn get(&self, id: &Digest) -> Result<Image> {
        loop {
            let snapshot = self.visible()?;
            let record = known(&snapshot, id)?;
            if let Some(pin) = self.pin_current(record)? {
                return self.image(record.clone(), pin);
            }
        }
    }

    /// Returns all images by their ids. One whose config is missing or damaged is left out, with a warning.
    ///
    /// # Errors
    /// [`Error::Cache`] if the records cannot be listed or read.
    pub fn map(&self) -> Result<BTreeMap<Digest, Image>> {
        self.readable(|_, _| true)
    }

    /// Returns the images without children. Otherwise as [`Self::map`].
    ///
    /// # Errors
    /// As [`Self::map`].
    pub fn heads(&self) -> Result<BTreeMap<Digest, Image>> {
        self.readable(|snapshot, id| snapshot.children(id).is_empty())
    }

    fn readable(&self, is_wanted: impl Fn(&Snapshot, &Digest) -> bool) -> Result<BTreeMap<Digest, Image>> {
        let (_pin, records, ()) = self.in_use.pin_all(|| {
            let snapshot = self.visible()?;
            let wanted = snapshot.ids.iter().filter(|id| is_wanted(&snapshot, id));
            Ok((wanted.map(|id| (*snapshot.by_id[id][0]).clone()).collect(), ()))
        })?;
        let mut images = BTreeMap::new();
        for record in records {
            self.check_cancelled()?;
            let pin = self.in_use.pin(&record)?;
            match self.image(record, pin) {
                Ok(image) => drop(images.insert(*image.id(), image)),
                Err(error @ Error::Damaged { .. }) => tracing::warn!("{}", with_causes(&error)),
                Err(error) => return Err(error),
            }
        }
        Ok(images)
    }

    /// Returns an error for each damaged record, each damaged file of metadata, and each image whose config is missing or
    /// damaged, or that lacks a layer. All other images can be used. [`Store::verify`] also reads the layers.
    ///
    /// # Errors
    /// [`Error::Cache`] if the records cannot be listed or read.
    pub fn damaged(&self) -> Result<Vec<Error>> {
        let snapshot = self.visible()?;
        let record = |(path, reason): &(std::path::PathBuf, String)| Error::Record {
            path: path.clone(),
            reason: reason.clone(),
        };
        let mut damaged: Vec<Error> = snapshot.damaged.iter().map(record).collect();
        for id in &snapshot.ids {
            self.check_cancelled()?;
            match self.get(id) {
                Err(error @ Error::Damaged { .. }) => damaged.push(error),
                Ok(image) => damaged.extend(self.missing_layer(image.record())),
                Err(Error::NoSuchImage(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(damaged)
    }

    /// Returns an error for the first layer that is neither in the store nor can be made from its blob.
    fn missing_layer(&self, record: &Record) -> Option<Error> {
        let layout = self.cache.layout();
        let is_missing = |layer: &&LayerRecord| {
            let has_index =
                layout.layer_index(&layer.diff_id).exists() && layout.layer_contents(&layer.diff_id).exists();
            !has_index && !layout.blob(&layer.digest).exists()
        };
        let layer = record.layers.iter().find(is_missing)?;
        Some(Error::damaged(layout.layer_index(&layer.diff_id), layer.digest).of_image(record))
    }

    /// Finds the layers of a config in the store, and an image that has each of them.
    fn known_layers<'a>(
        &self,
        snapshot: &'a Snapshot,
        config: &ImageConfig,
    ) -> Result<(Vec<LayerRecord>, Vec<&'a Record>)> {
        let mut layers = Vec::new();
        let mut holders = Vec::new();
        for (diff_id, chain_id) in config.diff_ids().iter().zip(chain_ids(config.diff_ids())) {
            let of = |record: &'a Arc<Record>| {
                let layer = record.layers.iter().find(|layer| layer.diff_id == *diff_id)?;
                Some((&**record, layer.clone()))
            };
            if let Some((holder, layer)) = snapshot.records.iter().find_map(of) {
                layers.push(layer);
                holders.push(holder);
            } else {
                let added = self.added_layers.get(diff_id);
                layers.push(added.ok_or(Error::NoLayer { id: *config.digest(), diff_id: *diff_id, chain_id })?);
            }
        }
        Ok((layers, holders))
    }

    /// Removes an image with all its names and its metadata. Its children no longer have a parent.
    ///
    /// Returns the layers that no image has any more, the top one first. [`Store::collect`] removes their files.
    ///
    /// # Errors
    /// - [`Error::NoSuchImage`] if the store has no such image.
    /// - [`Error::Shared`] if only a shared cache has it.
    /// - [`Error::Cache`] if the records cannot be locked, read or removed.
    pub fn delete(&self, id: &Digest) -> Result<Vec<FreedLayer>> {
        let lock = self.lock_records(None)?;
        let snapshot = self.snapshot()?;
        let record = self.known_here(&snapshot, id)?;
        let mut transaction = Transaction::default();
        transaction.remove.extend(snapshot.by_id[id].iter().map(|record| (**record).clone()));
        for child in snapshot.children(id) {
            transaction.set_metadata(Metadata { parent: None, ..snapshot.metadata(child) });
        }
        transaction.metadata.push((*id, None));
        self.commit(&lock, &transaction)?;
        Ok(self.freed_layers(&snapshot, record))
    }

    /// Returns the layers of a record that no other image has at the same place, the top one first.
    fn freed_layers(&self, snapshot: &Snapshot, gone: &Record) -> Vec<FreedLayer> {
        let diff_ids = |record: &Record| -> Vec<Digest> { record.layers.iter().map(|layer| layer.diff_id).collect() };
        let others = snapshot.records.iter().filter(|record| record.id() != gone.id());
        let needed: HashSet<Digest> = others.flat_map(|record| chain_ids(&diff_ids(record))).collect();
        let length = |layer: &LayerRecord| self.open_layer(&layer.diff_id).map_or(0, |index| file_bytes(&index));
        let mut size = 0;
        let mut layers = Vec::new();
        for (layer, chain_id) in gone.layers.iter().zip(chain_ids(&diff_ids(gone))) {
            let diff_size = length(layer);
            size = u64::saturating_add(size, diff_size);
            layers.push(FreedLayer { chain_id, diff_id: layer.diff_id, size, diff_size });
        }
        let is_held = |layer: &FreedLayer| self.added_layers.get(&layer.diff_id).is_some();
        let is_free = |layer: &FreedLayer| !needed.contains(&layer.chain_id) && !is_held(layer);
        layers.into_iter().rev().take_while(is_free).collect()
    }

    /// Sets the parent of an image: the image from which it was made.
    ///
    /// # Errors
    /// - [`Error::NoSuchImage`] if the store does not have one of the two images.
    /// - [`Error::Cycle`] if `id` is `parent` or an ancestor of it.
    /// - [`Error::Cache`] if the records cannot be locked, read or written.
    pub fn set_parent(&self, id: &Digest, parent: &Digest) -> Result<()> {
        self.change_metadata(id, |snapshot, metadata| {
            let visible = self.visible()?;
            known(&visible, parent)?;
            if is_ancestor(id, *parent, |id| snapshot.metadata(id).parent) {
                return Err(Error::Cycle { id: *id, parent: *parent });
            }
            metadata.parent = Some(*parent);
            Ok(())
        })
    }

    /// Returns the parent of an image; `None` if it has none in the store.
    ///
    /// # Errors
    /// - [`Error::NoSuchImage`] if the store has no image `id`.
    /// - [`Error::Cache`] if the records cannot be listed or read.
    pub fn get_parent(&self, id: &Digest) -> Result<Option<Digest>> {
        let snapshot = self.visible()?;
        known(&snapshot, id)?;
        Ok(snapshot.metadata(id).parent.filter(|parent| snapshot.by_id.contains_key(parent)))
    }

    /// Returns the direct children of an image, sorted. An id without an image has none.
    ///
    /// # Errors
    /// [`Error::Cache`] if the records cannot be listed or read.
    pub fn children(&self, id: &Digest) -> Result<Vec<Digest>> {
        Ok(self.visible()?.children(id).to_vec())
    }

    /// Records that an image was updated now.
    ///
    /// # Errors
    /// - [`Error::NoSuchImage`] if the store has no such image.
    /// - [`Error::Cache`] if the records cannot be locked, read or written.
    pub fn set_last_updated(&self, id: &Digest) -> Result<()> {
        self.change_metadata(id, |_, metadata| {
            metadata.last_updated = u64::try_from(now().as_nanos()).ok();
            Ok(())
        })
    }

    /// Returns the time of the last [`Self::set_last_updated`] of an image.
    ///
    /// # Errors
    /// As [`Self::get_parent`].
    pub fn get_last_updated(&self, id: &Digest) -> Result<Option<SystemTime>> {
        let snapshot = self.visible()?;
        known(&snapshot, id)?;
        Ok(snapshot.metadata(id).last_updated.map(|since| UNIX_EPOCH + Duration::from_nanos(since)))
    }

    /// Records that an image was built on this machine.
    ///
    /// # Errors
    /// As [`Self::set_last_updated`].
    pub fn set_built_locally(&self, id: &Digest) -> Result<()> {
        self.change_metadata(id, |_, metadata| {
            metadata.built_locally = true;
            Ok(())
        })
    }

    /// Returns whether [`Self::set_built_locally`] was called for an image.
    ///
    /// # Errors
    /// As [`Self::get_parent`].
    pub fn is_built_locally(&self, id: &Digest) -> Result<bool> {
        let snapshot = self.visible()?;
        known(&snapshot, id)?;
        Ok(snapshot.metadata(id).built_locally)
    }

    /// Returns a record of an image in the own cache.
    fn known_here<'a>(&self, own: &'a Snapshot, id: &Digest) -> Result<&'a Record> {
        let missing = |error: Error| match self.visible() {
            Ok(visible) => known(&visible, id).ok().and_then(|record| self.only_shared(record)).unwrap_or(error),
            Err(_) => error,
        };
        known(own, id).map_err(missing)
    }

    fn change_metadata(&self, id: &Digest, change: impl FnOnce(&Snapshot, &mut Metadata) -> Result<()>) -> Result<()> {
        let lock = self.lock_records(None)?;
        let snapshot = self.snapshot()?;
        self.known_here(&snapshot, id)?;
        let mut metadata = snapshot.metadata(id);
        change(&snapshot, &mut metadata)?;
        let mut transaction = Transaction::default();
        transaction.set_metadata(metadata);
        self.commit(&lock, &transaction)
    }
}

impl Transaction {
    fn set_metadata(&mut self, metadata: Metadata) {
        self.metadata.push((metadata.id, Some(metadata).filter(|metadata| !metadata.is_empty())));
    }
}

/// Returns a record of an image.
fn known<'a>(snapshot: &'a Snapshot, id: &Digest) -> Result<&'a Record> {
    let record = snapshot.by_id.get(id).and_then(|records| records.first());
    record.map(|record| &**record).ok_or_else(|| Error::NoSuchImage(id.to_string()))
}

/// Parses the config of a new image, and checks that it is for this operating system.
fn parse_config(bytes: &[u8]) -> Result<ImageConfig> {
    let invalid = |source| Error::Image { image: Digest::of(bytes).to_string(), source: Box::new(source) };
    let config = ImageConfig::new_from_json(bytes.to_vec()).map_err(invalid)?;
    ImageConfig::check_os(&config.operating_system()).map_err(invalid)?;
    Ok(config)
}

/// Returns the record of a new image without a name, and its manifest.
fn new_record(config: &ImageConfig, layers: Vec<LayerRecord>) -> (Record, Vec<u8>) {
    let described = Descriptor::new(MediaType::OCI_CONFIG, *config.digest(), config.raw().len() as u64);
    let manifest = NewManifest::oci(described.clone(), layers.iter().map(LayerRecord::descriptor).collect()).to_bytes();
    let host = Platform::host();
    let mut platform = config.platform().clone();
    if platform.os.is_empty() {
        platform.os = host.os;
    }
    if platform.architecture.is_empty() {
        platform.architecture = host.architecture;
    }
    let descriptor = Descriptor::of(MediaType::OCI_MANIFEST, &manifest);
    let record = Record {
        reference: None,
        platform: platform.normalised(),
        digest: descriptor.digest,
        indexes: Vec::new(),
        manifest: descriptor,
        config: described,
        layers,
        pulled: now().as_secs(),
        loaded_from: None,
        created: config.created().map(str::to_owned),
        signatures: None,
        shared_cache: None,
    };
    (record, manifest)
}

/// Returns the time since the Unix epoch.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
