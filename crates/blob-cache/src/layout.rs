//! Where everything in a cache is: the only place that builds its paths.

use std::path::{Path, PathBuf};

use vmroot_model::{Algorithm, Digest};

use crate::LockName;

/// How the name of every temporary file starts. Such files belong to a process that is writing them, or to nobody.
pub const TEMPORARY_PREFIX: &str = ".tmp";

/// The version of the index format that is part of the paths of layers and roots.
const INDEX_VERSION: &str = "v1";

/// The paths of one cache. Only digests that were parsed become parts of paths, so no name can lead out of it.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout of the cache at `root`, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory of the cache.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of the blobs of one digest algorithm.
    pub fn blobs(&self, algorithm: Algorithm) -> PathBuf {
        self.root.join("blobs").join(algorithm.name())
    }

    /// The file of a blob, as fetched.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs(digest.algorithm()).join(digest.hex())
    }

    /// The file in which a blob grows until it is whole.
    pub fn partial(&self, digest: &Digest) -> PathBuf {
        self.blobs(digest.algorithm()).join(digest.hex() + ".partial")
    }

    /// The directory of the layer indexes and their contents.
    pub fn layers(&self) -> PathBuf {
        self.root.join("layers").join(INDEX_VERSION)
    }

    /// The index of a layer.
    pub fn layer_index(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.hex() + ".idx")
    }

    /// The contents of the regular files of a layer.
    pub fn layer_contents(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.hex() + ".contents")
    }

    /// The directory of the merged roots.
    pub fn roots(&self) -> PathBuf {
        self.root.join("roots").join(INDEX_VERSION)
    }

    /// The merged index of the layers with this chain id.
    pub fn root_index(&self, chain_id: &Digest) -> PathBuf {
        self.roots().join(chain_id.hex() + ".idx")
    }

    /// The directory of the image records.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// The record of an image. `key` is a digest over what identifies the record, which a file name could not hold.
    pub fn image_record(&self, key: &Digest) -> PathBuf {
        self.images().join(key.hex() + ".json")
    }

    /// The directory of the lock files.
    pub fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    /// The file whose lock stands for `name`.
    pub fn lock(&self, name: &LockName) -> PathBuf {
        self.locks().join(match name {
            LockName::Gate => "gate.lock".to_owned(),
            LockName::Cache => "cache.lock".to_owned(),
            LockName::Images => "images.lock".to_owned(),
            LockName::Root(chain_id) => format!("root-{}.lock", chain_id.hex()),
            LockName::Layer(diff_id) => format!("layer-{}.lock", diff_id.hex()),
            LockName::Blob(digest) => format!("blob-{}-{}.lock", digest.algorithm().name(), digest.hex()),
        })
    }

    /// Every directory that must exist.
    pub(crate) fn directories(&self) -> [PathBuf; 6] {
        [
            self.blobs(Algorithm::Sha256),
            self.blobs(Algorithm::Sha512),
            self.layers(),
            self.roots(),
            self.images(),
            self.locks(),
        ]
    }
}
