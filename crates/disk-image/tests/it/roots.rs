//! Roots made of layers.

use std::fs::File;
use std::path::Path;

use tempfile::TempDir;
use vmroot_container_fs::ContainerFs;
use vmroot_layer_index::{BuildOptions, Index, build, merge};
use vmroot_model::{Digest, chain_ids};
use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::model::Tree;
use vmroot_testkit::tar_builder::SparseForm;

/// A root, with its files in a directory of their own.
pub(crate) struct Root {
    pub(crate) fs: ContainerFs,
    layers: Vec<Layer>,
    files: TempDir,
}

impl Root {
    /// The root of these layers, lowest first.
    pub(crate) fn of(layers: &[Layer]) -> Self {
        Self::within(tempfile::tempdir().unwrap(), layers)
    }

    /// The root of one layer.
    pub(crate) fn of_entries(entries: impl IntoIterator<Item = Entry>) -> Self {
        Self::of(&[Layer::new(entries)])
    }

    /// The same on another file system.
    pub(crate) fn beneath(directory: &Path, layers: &[Layer]) -> Self {
        Self::within(tempfile::tempdir_in(directory).unwrap(), layers)
    }

    fn within(files: TempDir, layers: &[Layer]) -> Self {
        let index = |layer: &Layer| {
            // Large holes are not written out on the way.
            let tar = layer.to_tar(&Encoding { sparse: SparseForm::Pax10, ..Encoding::default() });
            let built = build(&tar[..], files.path(), &BuildOptions::default()).unwrap();
            Index::open(&built.publish().unwrap()).unwrap()
        };
        let indexes: Vec<Index> = layers.iter().map(index).collect();
        let diff_ids: Vec<Digest> = indexes.iter().map(|index| *index.identity()).collect();
        let chain_id = chain_ids(&diff_ids).pop().unwrap();
        let root = File::create(files.path().join("root.idx")).unwrap();
        merge(None, &indexes.iter().collect::<Vec<_>>(), &chain_id, root).unwrap();
        Self { fs: open(files.path()), layers: layers.to_vec(), files }
    }

    /// Where `root.idx` and the layers' files are; there is room for more.
    pub(crate) fn files(&self) -> &Path {
        self.files.path()
    }

    /// What the naive model makes of the layers.
    pub(crate) fn expected(&self) -> Listing {
        Listing::of_tree(&Tree::of_layers(&self.layers).unwrap())
    }
}

fn open(files: &Path) -> ContainerFs {
    let contents = |digest: &Digest| files.join(format!("{}.contents", digest.hex()));
    ContainerFs::open(&files.join("root.idx"), &contents).unwrap()
}
