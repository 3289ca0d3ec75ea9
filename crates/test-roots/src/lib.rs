//! Roots on disk, built from layers, for the tests of crates that read or expose roots.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use vmroot_container_fs::{ContainerFs, InodeKind, Stat, WalkEntry};
use vmroot_layer_index::{BuildOptions, Index, build, merge};
use vmroot_model::{Digest, chain_ids};
use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::model::Tree;
use vmroot_testkit::tar_builder::SparseForm;

/// A root whose files are in a directory of its own.
#[derive(Debug)]
pub struct Root {
    /// The opened root.
    pub fs: ContainerFs,
    /// The diff ids of its layers, lowest first.
    pub layers: Vec<Digest>,
    source: Vec<Layer>,
    files: TempDir,
}

impl Root {
    /// Builds the root of these layers, lowest first, in the directory for temporary files.
    pub fn of(layers: &[Layer]) -> Self {
        Self { source: layers.to_vec(), ..Self::in_directory(tempfile::tempdir().unwrap(), &tars(layers)) }
    }

    /// Builds the root of one layer.
    pub fn of_entries(entries: impl IntoIterator<Item = Entry>) -> Self {
        Self::of(&[Layer::new(entries)])
    }

    /// Builds the root of these layers below another directory.
    pub fn beneath(directory: &Path, layers: &[Layer]) -> Self {
        let files = tempfile::tempdir_in(directory).unwrap();
        Self { source: layers.to_vec(), ..Self::in_directory(files, &tars(layers)) }
    }

    /// Builds the root of these layers in memory if possible. That is faster: published indexes are synced, and a
    /// property test builds a thousand.
    pub fn in_memory(layers: &[Layer]) -> Self {
        Self { source: layers.to_vec(), ..Self::of_tars(&tars(layers)) }
    }

    /// Builds the root of these tars, lowest first, in memory if possible.
    pub fn of_tars(tars: &[Vec<u8>]) -> Self {
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
        let fs = ContainerFs::open_files(&files.path().join("root.idx"), &contents).unwrap();
        Self { fs, layers, source: Vec::new(), files }
    }

    /// Returns the listing of the root in the naive model. A root of tars has an empty one.
    pub fn expected(&self) -> Listing {
        expected(&self.source)
    }

    /// Returns the directory of `root.idx` and the layers' files. Tests may add files.
    pub fn files(&self) -> &Path {
        self.files.path()
    }

    /// Returns the path of a layer's index.
    pub fn index_of(&self, layer: usize) -> PathBuf {
        self.files().join(format!("{}.idx", self.layers[layer].hex()))
    }

    /// Returns the path of a layer's contents file.
    pub fn contents_of(&self, layer: usize) -> PathBuf {
        self.files().join(format!("{}.contents", self.layers[layer].hex()))
    }
}

/// Serialises the layers. Large holes are written as sparse maps.
fn tars(layers: &[Layer]) -> Vec<Vec<u8>> {
    let encoding = Encoding { sparse: SparseForm::Pax10, ..Encoding::default() };
    layers.iter().map(|layer| layer.to_tar(&encoding)).collect()
}

/// Returns the listing of these layers in the naive model.
pub fn expected(layers: &[Layer]) -> Listing {
    Listing::of_tree(&Tree::of_layers(layers).unwrap())
}

/// The attributes, xattrs, link target or content digest of every path, and the first path of its inode.
pub type Description = BTreeMap<Vec<u8>, String>;

/// Describes a root by everything that equal roots share, independent of the positions of their bytes.
pub fn describe(fs: &ContainerFs) -> Description {
    let row = |entry: WalkEntry| {
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

/// Returns the metadata of a path, without following a symlink.
pub fn look_at(path: &Path) -> fs::Metadata {
    fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Removes a tree of any depth. The standard library would keep a file descriptor open for each level.
pub fn remove(target: &Path) {
    for program in [["chmod", "-R", "u+rwx"].as_slice(), &["rm", "-rf"]] {
        assert!(Command::new(program[0]).args(&program[1..]).arg(target).status().unwrap().success());
    }
}
