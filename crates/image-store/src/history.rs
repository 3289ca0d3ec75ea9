//! The history of an image, and the bytes of its layers.

use std::sync::Arc;

use vmroot_layer_index::{Index, InodeKind};
use vmroot_model::History;

use crate::layer::Layer;
use crate::progress::BlobReporter;
use crate::{Image, Progress, Result, Store};

/// A step of building an image: an entry of its history, its layer, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryStep {
    /// The entry; `None` for a layer that the history lacks.
    pub entry: Option<History>,
    /// The number of the layer, from 0, the lowest. `None` for an entry that changed no files, and for one whose layer
    /// the image lacks.
    pub layer: Option<usize>,
}

impl HistoryStep {
    /// Returns whether the entry should have a layer, but the image has no layer for it.
    pub fn lacks_layer(&self) -> bool {
        self.layer.is_none() && self.entry.as_ref().is_some_and(|entry| !entry.empty_layer)
    }
}

/// The bytes of a layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LayerSize {
    /// The size of the files and the targets of symbolic links in bytes, as `docker history` prints it. A file with
    /// several names counts once.
    pub files: u64,
    /// The part of the regular files in bytes that the image's root shows. Files that higher layers replace or delete do
    /// not count.
    pub visible: u64,
}

impl Image {
    /// Returns the steps of building the image, the first step first.
    ///
    /// Layers belong to the entries in order, without those that changed no files. The numbers need not agree, because
    /// tools write any history: layers without an entry come last.
    pub fn steps(&self) -> Vec<HistoryStep> {
        steps(self.config().history(), self.record().layers.len())
    }
}

fn steps(entries: &[History], layers: usize) -> Vec<HistoryStep> {
    let mut remaining = 0..layers;
    let step = |entry: &History| HistoryStep {
        entry: Some(entry.clone()),
        layer: if entry.empty_layer { None } else { remaining.next() },
    };
    let mut steps: Vec<_> = entries.iter().map(step).collect();
    steps.extend(remaining.map(|layer| HistoryStep { entry: None, layer: Some(layer) }));
    steps
}

impl Store {
    /// Opens the indexes of an image's layers, lowest first. Missing or damaged ones are first built again from the
    /// blobs in the cache.
    ///
    /// # Errors
    /// The same as for [`Self::root`].
    pub fn layer_indexes(&self, image: &Image, progress: &Arc<dyn Progress>) -> Result<Vec<Index>> {
        self.touch(image.record());
        let layers = image.layers();
        let reporter = |layer: &Layer| BlobReporter::of(progress, &layer.descriptor);
        let indexes: Result<_> = layers.iter().map(|layer| self.ensure_layer(None, layer, &reporter(layer))).collect();
        indexes.map_err(|error| error.of_image(image.record()))
    }

    /// Returns the bytes of each layer of an image, lowest first, from the indexes.
    ///
    /// # Errors
    /// The same as for [`Self::root`].
    pub fn layer_sizes(&self, image: &Image, progress: &Arc<dyn Progress>) -> Result<Vec<LayerSize>> {
        let indexes = self.layer_indexes(image, progress)?;
        let mut sizes: Vec<_> =
            indexes.iter().map(|index| LayerSize { files: file_bytes(index), visible: 0 }).collect();
        let root = self.root(image, progress)?;
        for extent in root.inodes().filter_map(|ino| root.extent(ino)) {
            // A root has one contents file for each layer.
            if let Some(size) = sizes.get_mut(extent.file as usize) {
                size.visible += extent.length;
            }
        }
        Ok(sizes)
    }
}

/// Returns the size of the files and of the targets of symbolic links of a layer in bytes.
pub(crate) fn file_bytes(index: &Index) -> u64 {
    let inodes = (0..u64::from(index.inode_count())).filter_map(|number| index.inode_id(number));
    let sized = inodes.map(|ino| index.inode(ino));
    let sized = sized.filter(|inode| matches!(inode.kind(), InodeKind::Regular | InodeKind::Symlink));
    // A layer can claim files of any size, since their holes take no space.
    sized.map(|inode| inode.size()).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(created_by: &str, empty_layer: bool) -> History {
        History { created_by: Some(created_by.to_owned()), empty_layer, ..History::default() }
    }

    fn summary(entries: &[History], layers: usize) -> Vec<(String, Option<usize>, bool)> {
        let name = |step: &HistoryStep| step.entry.as_ref().and_then(|entry| entry.created_by.clone());
        let steps = steps(entries, layers);
        steps.iter().map(|step| (name(step).unwrap_or_default(), step.layer, step.lacks_layer())).collect()
    }

    #[test]
    fn layers_belong_to_entries_in_order() {
        let entries = [entry("a", false), entry("b", true), entry("c", false)];
        let row = |name: &str, layer, lacks| (name.to_owned(), layer, lacks);
        let (a, b) = (row("a", Some(0), false), row("b", None, false));
        assert_eq!(summary(&entries, 2), [a.clone(), b.clone(), row("c", Some(1), false)]);
        assert_eq!(summary(&entries, 1), [a.clone(), b.clone(), row("c", None, true)]);
        let more = [a, b, row("c", Some(1), false), row("", Some(2), false), row("", Some(3), false)];
        assert_eq!(summary(&entries, 4), more);
        assert_eq!(summary(&[], 1), [row("", Some(0), false)]);
        assert!(summary(&[], 0).is_empty());
    }
}
