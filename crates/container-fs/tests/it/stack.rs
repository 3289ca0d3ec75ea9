//! Building layers and roots in tests.

use std::fs::File;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vmroot_container_fs::{ContainerFs, ExtraLayer};
use vmroot_layer_index::{BuildOptions, Index, build, merge};
use vmroot_model::{Digest, chain_ids};
use vmroot_testkit::layer::{Encoding, Entry, Layer};

/// Layers and their root in a temporary directory.
pub(crate) struct Stack {
    directory: TempDir,
}

impl Stack {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Builds the index of a layer.
    pub(crate) fn layer(&self, layer: &Layer) -> ExtraLayer {
        let tar = layer.to_tar(&Encoding::of(vmroot_testkit::layer::Dialect::Pax));
        let index = build(&tar[..], self.path(), &BuildOptions::default()).unwrap().publish().unwrap();
        ExtraLayer { contents: index.with_extension("contents"), index }
    }

    /// Merges layers and opens the root.
    pub(crate) fn root(&self, layers: &[Layer]) -> ContainerFs {
        let built: Vec<_> = layers.iter().map(|layer| Index::open(&self.layer(layer).index).unwrap()).collect();
        let diff_ids: Vec<Digest> = built.iter().map(|index| *index.identity()).collect();
        let chain_id = chain_ids(&diff_ids).last().copied().unwrap_or_else(|| Digest::of(b""));
        let path = self.path().join("root.idx");
        merge(None, &built.iter().collect::<Vec<_>>(), &chain_id, File::create(&path).unwrap()).unwrap();
        ContainerFs::open_files(&path, &|diff_id| self.contents(diff_id)).unwrap()
    }

    pub(crate) fn contents(&self, diff_id: &Digest) -> PathBuf {
        self.path().join(format!("{}.contents", diff_id.hex()))
    }
}

/// Creates a root of one layer. The stack holds its files.
pub(crate) fn root_of(entries: impl IntoIterator<Item = Entry>) -> (Stack, ContainerFs) {
    let stack = Stack::new();
    let root = stack.root(&[Layer::new(entries)]);
    (stack, root)
}
