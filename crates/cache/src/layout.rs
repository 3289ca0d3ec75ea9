//! The paths of the files in a cache. No other module builds them.

use std::path::{Path, PathBuf};

use vmroot_model::{Algorithm, Digest};

use crate::LockName;

/// The version of the index format that is part of the paths of layers and roots.
const INDEX_VERSION: &str = "v1";

/// The paths of one cache. The variable parts are the hex digits of parsed digests, so no path leads out of the cache.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Returns the layout of a cache at `root`. The directory need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the directory of the cache.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the directory of the blobs with this digest algorithm.
    pub fn blobs(&self, algorithm: Algorithm) -> PathBuf {
        self.root.join("blobs").join(algorithm.name())
    }

    /// Returns the file of a blob, with the bytes as they were fetched.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs(digest.algorithm()).join(digest.hex())
    }

    /// Returns the file of a blob that is not complete.
    pub fn partial(&self, digest: &Digest) -> PathBuf {
        self.blobs(digest.algorithm()).join(digest.hex() + ".partial")
    }

    /// Returns the directory of the layer indexes and contents.
    pub fn layers(&self) -> PathBuf {
        self.root.join("layers").join(INDEX_VERSION)
    }

    /// Returns the index file of a layer.
    pub fn layer_index(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.hex() + ".idx")
    }

    /// Returns the file with the contents of a layer's regular files.
    pub fn layer_contents(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.hex() + ".contents")
    }

    /// Returns the file with the digests of the blocks of a layer's contents.
    pub fn layer_leaves(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.hex() + ".leaves")
    }

    /// Returns the directory of the merged roots.
    pub fn roots(&self) -> PathBuf {
        self.root.join("roots").join(INDEX_VERSION)
    }

    /// Returns the file of the merged index of the layers with this chain id.
    pub fn root_index(&self, chain_id: &Digest) -> PathBuf {
        self.roots().join(chain_id.hex() + ".idx")
    }

    /// Returns the directory of the image records.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Returns the file of an image record. `key` is the digest of the record's identity, which is not a valid file
    /// name.
    pub fn image_record(&self, key: &Digest) -> PathBuf {
        self.images().join(key.hex() + ".json")
    }

    /// Returns the file with all image records in a form that is read faster. It is made from them, and can be missing.
    pub fn catalogue(&self) -> PathBuf {
        self.root.join("catalogue")
    }

    /// Returns the directory of the lock files.
    pub fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    /// Returns the file that is locked for `name`.
    pub fn lock(&self, name: &LockName) -> PathBuf {
        self.locks().join(match name {
            LockName::Gate => "gate.lock".to_owned(),
            LockName::Cache => "cache.lock".to_owned(),
            LockName::Images => "images.lock".to_owned(),
            LockName::Root(chain_id) => format!("root-{}.lock", chain_id.hex()),
            LockName::Layer(diff_id) => format!("layer-{}.lock", diff_id.hex()),
            LockName::Blob(digest) => format!("blob-{}-{}.lock", digest.algorithm().name(), digest.hex()),
            LockName::Uses => "uses.lock".to_owned(),
        })
    }

    /// Returns the directory of the damaged files that could not be repaired.
    pub fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// Returns every directory that must exist.
    pub(crate) fn directories(&self) -> [PathBuf; 9] {
        [
            self.blobs(Algorithm::Sha256),
            self.blobs(Algorithm::Sha512),
            self.layers(),
            self.roots(),
            self.images(),
            self.locks(),
            self.quarantine(),
            self.uses(),
            self.leases(),
        ]
    }
}
