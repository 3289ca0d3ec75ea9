//! Images of a store.

use std::path::Path;
use std::sync::Arc;

use vmroot_cache::Needs;
use vmroot_container_fs::ContainerFs;
use vmroot_model::{Digest, ImageConfig, Reference};

use crate::in_use::{Pin, add_needs};
use crate::layer::Layer;
use crate::{Progress, Record, Result, Store};

/// An image of a store.
///
/// While it or a clone of it is alive, no collection of this or another process removes its files, even if the image has
/// lost its name. This ends when it is passed to [`Store::remove`] and that removes its last name.
#[derive(Debug, Clone)]
pub struct Image {
    record: Record,
    config: Arc<ImageConfig>,
    pin: Arc<Pin>,
}

impl Image {
    pub(crate) fn new(record: Record, config: impl Into<Arc<ImageConfig>>, pin: Pin) -> Self {
        Self { record, config: config.into(), pin: Arc::new(pin) }
    }

    /// Lets the next collection remove the files, unless they are needed elsewhere.
    pub(crate) fn release(&self) {
        self.pin.release();
    }

    /// Returns the image's id: the digest of its config.
    pub fn id(&self) -> &Digest {
        self.record.id()
    }

    /// Returns the image's record.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Returns the image's config.
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// Returns the same image under another name.
    pub(crate) fn with_reference(self, reference: Option<&Reference>) -> Self {
        Self { record: self.record.with_reference(reference), ..self }
    }

    pub(crate) fn layers(&self) -> Vec<Layer> {
        layers(&self.record)
    }
}

/// Returns the layers of a record.
pub(crate) fn layers(record: &Record) -> Vec<Layer> {
    let layer = |layer: &crate::LayerRecord| Layer::new(layer.descriptor(), layer.diff_id);
    record.layers.iter().map(layer).collect()
}

impl Store {
    /// Returns the records of all images, ordered by name: those of the store's own cache, and those of shared caches under
    /// names that it does not have.
    ///
    /// Records with two damaged copies are left out, with a warning; [`Store::damaged`] and [`Store::verify`] report them.
    ///
    /// # Errors
    /// [`Error::Cache`](crate::Error::Cache) if the records cannot be listed or read.
    pub fn images(&self) -> Result<Vec<Record>> {
        Ok(self.visible()?.records.iter().map(|record| (**record).clone()).collect())
    }

    /// Pins a record that was read earlier. Returns `None` if the record has changed since.
    pub(crate) fn pin_current(&self, record: &Record) -> Result<Option<Pin>> {
        let pin = self.in_use.pin(record)?;
        // The owner of a shared cache may remove its files in any case.
        Ok((record.shared_cache.is_some() || self.is_current(record)).then_some(pin))
    }

    /// Keeps the files of an image as long as what is mounted at `mountpoint` now, for a mount that the kernel serves
    /// without a process. Returns false if nothing is mounted there.
    ///
    /// # Errors
    /// [`Error::Cache`](crate::Error::Cache) if the mountpoint or the table of mounts cannot be read, or the use cannot be written.
    pub fn hold_while_mounted(&self, image: &Image, mountpoint: &Path) -> Result<bool> {
        let mut needs = Needs::default();
        add_needs(&mut needs, image.record());
        Ok(self.cache.hold_while_mounted(mountpoint, needs)?)
    }

    /// Returns the image of a record, with its config from the cache.
    pub(crate) fn image(&self, record: Record, pin: Pin) -> Result<Image> {
        let config = self.config(&record)?;
        Ok(Image::new(record, config, pin))
    }

    /// Opens the merged root of an image.
    ///
    /// Missing or damaged indexes are built again from the blobs in the cache. `progress` receives messages about waits
    /// for other processes that build them.
    ///
    /// # Errors
    /// [`Error::Damaged`](crate::Error::Damaged) if a blob that is needed for this is missing; other variants if building fails.
    pub fn root(&self, image: &Image, progress: &Arc<dyn Progress>) -> Result<ContainerFs> {
        self.touch(image.record());
        let root = self.open_root(&image.layers(), progress);
        root.map_err(|error| error.of_image(image.record()))
    }

    /// Ensures that all files of an image exist: the index and contents of each layer, and the root.
    ///
    /// # Errors
    /// The same as for [`Self::root`].
    pub fn make_complete(&self, image: &Image, progress: &Arc<dyn Progress>) -> Result<()> {
        self.touch(image.record());
        let completed = self.complete(&image.layers(), progress);
        completed.map_err(|error| error.of_image(image.record()))
    }
}
