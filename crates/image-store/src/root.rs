//! The merged root of an image, kept under its chain id.

use std::path::PathBuf;
use std::sync::Arc;

use vmroot_cache::{LockName, PUBLISHED_MODE};
use vmroot_container_fs::ContainerFs;
use vmroot_layer_index::{Index, merge};
use vmroot_model::{Digest, chain_ids};
use vmroot_output::{TemporaryFile, directory_of};
use vmroot_transport::ImageSource;

use crate::layer::Layer;
use crate::progress::Report;
use crate::{Error, Image, Progress, Result, Store};

/// The chain id of an image without layers: its root is an empty directory. No layer has this digest, that of no bytes.
pub(crate) fn chain_id(diff_ids: &[Digest]) -> Digest {
    chain_ids(diff_ids).last().copied().unwrap_or_else(|| Digest::of(b""))
}

impl Store {
    /// Makes sure that the root of these layers is here. Layers that are missing or damaged are made again.
    pub(crate) fn ensure_root(
        &self,
        source: Option<&dyn ImageSource>,
        layers: &[Layer],
        report: &Report,
    ) -> Result<()> {
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
        let target = chain_id(&diff_ids);
        if self.open_root_index(&diff_ids).is_some() {
            return Ok(());
        }
        let _lock = self.lock(&LockName::Root(target), &*report.progress)?;
        if self.open_root_index(&diff_ids).is_some() {
            return Ok(());
        }
        // The longest chain of layers whose root is here already; the full one is not.
        let known = (1..layers.len()).rev().find_map(|count| Some((count, self.open_root_index(&diff_ids[..count])?)));
        let (count, base) = known.map_or((0, None), |(count, base)| (count, Some(base)));
        let rest = layers[count..].iter().map(|layer| self.ensure_layer(source, layer, report));
        let rest = rest.collect::<Result<Vec<Index>>>()?;
        let path = self.cache.layout().root_index(&target);
        let file = TemporaryFile::create_in(directory_of(&path), 0o600)?;
        merge(base.as_ref(), &rest.iter().collect::<Vec<_>>(), &target, file.file())?;
        file.publish(&path, Some(PUBLISHED_MODE))?;
        Ok(())
    }

    /// The index of the root of these layers, if it is there and whole.
    fn open_root_index(&self, diff_ids: &[Digest]) -> Option<Index> {
        let chain_id = chain_id(diff_ids);
        let index = Index::open(&self.cache.layout().root_index(&chain_id)).ok()?;
        let is_it = index.is_current()
            && index.is_root()
            && *index.identity() == chain_id
            // One that was merged from other layers than its name says would show other files.
            && index.contents().iter().map(|contents| &contents.diff_id).eq(diff_ids);
        is_it.then_some(index)
    }

    /// Opens a root; what is missing or damaged is made again first, from blobs in the cache.
    pub(crate) fn open_root(&self, layers: &[Layer], progress: &Arc<dyn Progress>) -> Result<ContainerFs> {
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
        // The layers' own indexes are not needed for this: mostly one file is read and checked, and no more.
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

    /// Makes every layer and the root that are missing or damaged again, from blobs in the cache.
    pub(crate) fn complete(&self, layers: &[Layer], progress: &Arc<dyn Progress>) -> Result<()> {
        let report = Report::without_blob(progress);
        for layer in layers {
            self.ensure_layer(None, layer, &report)?;
        }
        self.ensure_root(None, layers, &report)
    }

    /// The root of these layers, if its index and the contents of all of them are of the right shape.
    fn open_merged(&self, diff_ids: &[Digest]) -> Option<ContainerFs> {
        let layout = self.cache.layout();
        let path = layout.root_index(&chain_id(diff_ids));
        let root = ContainerFs::open(&path, &|diff_id| layout.layer_contents(diff_id)).ok()?;
        // One that was merged from other layers than its name says would show other files.
        let is_it =
            root.index().is_current() && root.contents().map(|contents| contents.diff_id).eq(diff_ids.iter().copied());
        is_it.then_some(root)
    }

    /// The file of an image's root index.
    pub fn root_index(&self, image: &Image) -> PathBuf {
        self.cache.layout().root_index(&chain_id(image.config().diff_ids()))
    }

    /// The files of a layer: its index and its contents.
    pub fn layer_files(&self, diff_id: &Digest) -> (PathBuf, PathBuf) {
        (self.cache.layout().layer_index(diff_id), self.cache.layout().layer_contents(diff_id))
    }
}
