//! Merged roots of images, stored under their chain ids.

use std::path::PathBuf;
use std::sync::Arc;

use vmroot_cache::{LockName, PUBLISHED_MODE};
use vmroot_container_fs::{ContainerFs, LayerFiles};
use vmroot_layer_index::{Index, merge};
use vmroot_model::{Digest, chain_ids};
use vmroot_output::{TemporaryFile, directory_of};

use crate::layer::Layer;
use crate::progress::BlobReporter;
use crate::{Error, Image, Progress, Result, Store};

/// Returns the chain id of the layers, which names their root.
///
/// An image without layers has an empty root under the digest of no bytes, which no layer can have.
pub(crate) fn chain_id(diff_ids: &[Digest]) -> Digest {
    chain_ids(diff_ids).last().copied().unwrap_or_else(|| Digest::of(b""))
}

impl Store {
    /// Ensures that the root of these layers is in the cache.
    pub(crate) fn ensure_root(&self, layers: &[Index], progress: &dyn Progress) -> Result<()> {
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| *layer.identity()).collect();
        let target = chain_id(&diff_ids);
        if self.open_root_index(&diff_ids).is_some() {
            return Ok(());
        }
        let _lock = self.lock(&LockName::Root(target), progress)?;
        if self.open_root_index(&diff_ids).is_some() {
            return Ok(());
        }
        // The longest chain of lower layers whose root is in the cache. The full chain is not.
        let longest =
            (1..layers.len()).rev().find_map(|count| Some((count, self.open_root_index(&diff_ids[..count])?)));
        let (count, base) = longest.map_or((0, None), |(count, base)| (count, Some(base)));
        let path = self.cache.layout().root_index(&target);
        let file = TemporaryFile::create_in(directory_of(&path), 0o600)?;
        merge(base.as_ref(), &layers[count..].iter().collect::<Vec<_>>(), &target, file.file())?;
        file.publish(&path, Some(PUBLISHED_MODE))?;
        Ok(())
    }

    /// Returns the index of the root of these layers if a cache has it and it is valid.
    fn open_root_index(&self, diff_ids: &[Digest]) -> Option<Index> {
        self.find_root(&chain_id(diff_ids), diff_ids).map(|(index, _)| index)
    }

    /// Opens a root. Missing or damaged parts are first built again from blobs in the cache.
    pub(crate) fn open_root(&self, layers: &[Layer], progress: &Arc<dyn Progress>) -> Result<ContainerFs> {
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
        // The layers' own indexes are not needed here: usually only the root's index is read and checked.
        if let Some(root) = self.open_merged(&diff_ids) {
            return Ok(root);
        }
        self.complete(layers, progress)?;
        let root = self.open_merged(&diff_ids);
        root.ok_or_else(|| {
            let chain = chain_id(&diff_ids);
            Error::damaged(self.cache.layout().root_index(&chain), chain)
        })
    }

    /// Builds missing or damaged layers and the root again, from blobs in the cache.
    pub(crate) fn complete(&self, layers: &[Layer], progress: &Arc<dyn Progress>) -> Result<()> {
        let reporter = |layer: &Layer| BlobReporter::of(progress, &layer.descriptor);
        let indexes = layers.iter().map(|layer| self.ensure_layer(None, layer, &reporter(layer)));
        self.ensure_root(&indexes.collect::<Result<Vec<_>>>()?, &**progress)
    }

    /// Opens the root of these layers if its index and the contents of all layers have the right shape.
    fn open_merged(&self, diff_ids: &[Digest]) -> Option<ContainerFs> {
        let (index, _) = self.find_root(&chain_id(diff_ids), diff_ids)?;
        ContainerFs::from_index(index, |file| self.open_contents(file)).ok()
    }

    /// Returns the path of an image's root index. In the own cache, the file need not exist.
    pub fn root_index(&self, image: &Image) -> PathBuf {
        let diff_ids = image.config().diff_ids();
        let chain_id = chain_id(diff_ids);
        let cache = self.find_root(&chain_id, diff_ids).map_or(&self.cache, |(_, cache)| cache);
        cache.layout().root_index(&chain_id)
    }

    /// Returns the paths of a layer's files. In the own cache, the files need not exist.
    pub fn layer_files(&self, diff_id: &Digest) -> LayerFiles {
        let layout = self.find_layer(diff_id).map_or(&self.cache, |(_, cache)| cache).layout();
        let (index, contents) = (layout.layer_index(diff_id), layout.layer_contents(diff_id));
        LayerFiles { diff_id: *diff_id, index, contents }
    }
}
