//! Roots made of layers, as tests need them.

use vmroot_container_fs::{ContainerFs, ExtraLayer};
use vmroot_layer_index::{BuildOptions, build};
use vmroot_model::{Digest, chain_ids};
use vmroot_testkit::layer::{Encoding, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::model::Tree;
use vmroot_testkit::tar_builder::SparseForm;

/// A root, with its files in a directory of their own.
pub(crate) struct Root {
    pub(crate) fs: ContainerFs,
    _files: tempfile::TempDir,
}

impl Root {
    /// The root of these layers, lowest first, in memory if possible.
    pub(crate) fn of(layers: &[Layer]) -> Self {
        let files = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let mut diff_ids: Vec<Digest> = Vec::new();
        let mut extra = Vec::new();
        for layer in layers {
            let tar = layer.to_tar(&Encoding { sparse: SparseForm::Pax10, ..Encoding::default() });
            let index = build(&tar[..], files.path(), &BuildOptions::default()).unwrap().publish().unwrap();
            diff_ids.push(Digest::of(&tar));
            extra.push(ExtraLayer { contents: index.with_extension("contents"), index });
        }
        let fs = ContainerFs::of_layers(&extra, chain_ids(&diff_ids).last().unwrap()).unwrap();
        Self { fs, _files: files }
    }
}

/// What the model says that the layers make.
pub(crate) fn expected(layers: &[Layer]) -> Listing {
    Listing::of_tree(&Tree::of_layers(layers).unwrap())
}
