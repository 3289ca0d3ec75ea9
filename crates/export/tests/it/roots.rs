//! Roots made of layers, as tests need them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vmroot_container_fs::{ContainerFs, InodeKind, Stat};
use vmroot_layer_index::{BuildOptions, Index, build, merge};
use vmroot_model::{Digest, chain_ids};
use vmroot_testkit::layer::{Encoding, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::model::Tree;

/// A root, with its files in a directory of their own.
pub(crate) struct Root {
    pub(crate) fs: ContainerFs,
    pub(crate) layers: Vec<Digest>,
    files: TempDir,
}

impl Root {
    /// The root of these layers, lowest first, on the file system that exports go to.
    pub(crate) fn of(layers: &[Layer]) -> Self {
        Self::in_directory(tempfile::tempdir().unwrap(), &tars(layers))
    }

    /// The same on another file system.
    pub(crate) fn beneath(directory: &Path, layers: &[Layer]) -> Self {
        Self::in_directory(tempfile::tempdir_in(directory).unwrap(), &tars(layers))
    }

    /// The same in memory if possible: published indexes are synced, and a property test makes a thousand.
    pub(crate) fn in_memory(layers: &[Layer]) -> Self {
        Self::of_tars(&tars(layers))
    }

    /// The root of these tars, lowest first, in memory if possible.
    pub(crate) fn of_tars(tars: &[Vec<u8>]) -> Self {
        Self::in_directory(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap(), tars)
    }

    fn in_directory(files: TempDir, tars: &[Vec<u8>]) -> Self {
        let index = |tar: &Vec<u8>| {
            let built = build(&tar[..], files.path(), &BuildOptions::default()).unwrap();
            Index::open(&built.publish().unwrap()).unwrap()
        };
        let indexes: Vec<Index> = tars.iter().map(index).collect();
        let layers: Vec<Digest> = indexes.iter().map(|index| *index.identity()).collect();
        let chain_id = chain_ids(&layers).pop().unwrap();
        let root = File::create(files.path().join("root.idx")).unwrap();
        merge(None, &indexes.iter().collect::<Vec<_>>(), &chain_id, root).unwrap();
        let contents = |digest: &Digest| files.path().join(format!("{}.contents", digest.hex()));
        let fs = ContainerFs::open(&files.path().join("root.idx"), &contents).unwrap();
        Self { fs, layers, files }
    }

    /// Where `root.idx` and the layers' files are.
    pub(crate) fn files(&self) -> &Path {
        self.files.path()
    }

    pub(crate) fn index_of(&self, layer: usize) -> PathBuf {
        self.files().join(format!("{}.idx", self.layers[layer].hex()))
    }

    pub(crate) fn contents_of(&self, layer: usize) -> PathBuf {
        self.files().join(format!("{}.contents", self.layers[layer].hex()))
    }
}

fn tars(layers: &[Layer]) -> Vec<Vec<u8>> {
    layers.iter().map(|layer| layer.to_tar(&Encoding::default())).collect()
}

/// What the model says that the layers make.
pub(crate) fn expected(layers: &[Layer]) -> Listing {
    Listing::of_tree(&Tree::of_layers(layers).unwrap())
}

/// Attributes, xattrs, target or digest of every path, and the first path of its inode.
pub(crate) type Description = BTreeMap<Vec<u8>, String>;

/// Everything that two equal roots have in common, wherever their bytes lie.
pub(crate) fn describe(fs: &ContainerFs) -> Description {
    let row = |entry: vmroot_container_fs::WalkEntry| {
        let Stat { mode, uid, gid, nlink, size, mtime, device, kind, .. } = fs.stat(entry.ino);
        let xattrs: Vec<_> = fs.xattrs(entry.ino).collect();
        let content = match kind {
            InodeKind::Symlink => fs.readlink(entry.ino).unwrap().to_vec(),
            _ => fs.content_digest(entry.ino).map_or(Vec::new(), |digest| digest.to_vec()),
        };
        let link = entry.link_to.unwrap_or_default();
        let row = format!(
            "{mode:o} {uid}:{gid} {nlink} {size} {mtime:?} {device:?} {xattrs:?} {content:?} {}",
            link.escape_ascii()
        );
        (entry.path, row)
    };
    fs.walk().map(row).collect()
}

/// The entry's attributes on the disk.
pub(crate) fn look_at(path: &Path) -> fs::Metadata {
    fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
