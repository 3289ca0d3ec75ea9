//! Roots with more layers on top.

use std::io::Cursor;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use vmroot_layer_index::{Index, merge};
use vmroot_model::Digest;

use crate::fs::Contents;
use crate::{ContainerFs, Result};

/// The two files of a built layer.
#[derive(Debug, Clone)]
pub struct ExtraLayer {
    /// The path of the index (`.idx`).
    pub index: PathBuf,
    /// The path of the file contents (`.contents`).
    pub contents: PathBuf,
}

/// A built layer and its two files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerFiles {
    /// The digest of the layer's uncompressed tar.
    pub diff_id: Digest,
    /// The path of the index (`.idx`).
    pub index: PathBuf,
    /// The path of the file contents (`.contents`).
    pub contents: PathBuf,
}

/// A root with more layers on top. It dereferences to the merged [`ContainerFs`].
///
/// ```
/// # use std::sync::Arc;
/// # use vmroot_layer_index::{BuildOptions, Index, build, merge};
/// # use vmroot_testkit::layer::{Entry, Layer};
/// # let directory = tempfile::tempdir().unwrap();
/// # let built = |entry| {
/// #     let tar = Layer::new([entry]).to_tar(&Default::default());
/// #     build(&tar[..], directory.path(), &BuildOptions::default())?.publish()
/// # };
/// # let lower = Index::open(&built(Entry::file("motd", "old"))?)?;
/// # let root_idx = directory.path().join("root.idx");
/// # merge(None, &[&lower], lower.identity(), std::fs::File::create(&root_idx).unwrap())?;
/// # let contents_of = |diff_id: &vmroot_model::Digest| directory.path().join(diff_id.hex() + ".contents");
/// use vmroot_container_fs::{ContainerFs, ExtraLayer, LayeredContainerFs};
///
/// let base = Arc::new(ContainerFs::open_files(&root_idx, &contents_of)?);
/// # let index = built(Entry::file("motd", "new"))?;
/// let upper = ExtraLayer { contents: index.with_extension("contents"), index };
/// let root = LayeredContainerFs::new(base, &[upper])?;
/// let mut bytes = [0; 3];
/// root.read_at(root.resolve_path(b"/motd")?.ino, 0, &mut bytes)?;
/// assert_eq!(&bytes, b"new");
/// # Ok::<(), vmroot_container_fs::Error>(())
/// ```
///
/// The index is merged in memory, which takes about the time and memory of reading the index of the root. File contents
/// are not copied.
#[derive(Debug)]
pub struct LayeredContainerFs {
    base: Arc<ContainerFs>,
    merged: ContainerFs,
}

impl LayeredContainerFs {
    /// Merges `layers`, lowest first, onto `base`.
    ///
    /// # Errors
    /// - [`Error::Index`](crate::Error::Index) when an index cannot be read or is damaged, or the layers cannot be
    ///   merged.
    /// - [`Error::Contents`](crate::Error::Contents) when a contents file is missing or does not have the length in the
    ///   index.
    pub fn new(base: Arc<ContainerFs>, layers: &[ExtraLayer]) -> Result<Self> {
        let indexes = open_indexes(layers)?;
        let next = |chain_id: Digest, index: &Index| Digest::of(format!("{chain_id} {}", index.identity()).as_bytes());
        let chain_id = indexes.iter().fold(*base.chain_id(), next);
        let merged = merged(Some(&base), layers, &indexes, &chain_id)?;
        Ok(Self { base, merged })
    }

    /// Returns the merged root.
    pub fn into_root(self) -> ContainerFs {
        self.merged
    }

    /// Returns the root below the extra layers.
    pub fn base(&self) -> &ContainerFs {
        &self.base
    }
}

impl ContainerFs {
    /// Merges `layers`, lowest first, into a root in memory. The layers need no `root.idx`.
    ///
    /// # Errors
    /// - [`Error::Index`](crate::Error::Index) when an index cannot be read or is damaged, or the layers cannot be
    ///   merged.
    /// - [`Error::Contents`](crate::Error::Contents) when a contents file is missing or does not have the length in the
    ///   index.
    pub fn of_layers(layers: &[ExtraLayer], chain_id: &Digest) -> Result<Self> {
        merged(None, layers, &open_indexes(layers)?, chain_id)
    }
}

fn open_indexes(layers: &[ExtraLayer]) -> Result<Vec<Index>> {
    layers.iter().map(|layer| Ok(Index::open(&layer.index)?)).collect()
}

fn merged(
    base: Option<&ContainerFs>,
    layers: &[ExtraLayer],
    indexes: &[Index],
    chain_id: &Digest,
) -> Result<ContainerFs> {
    let mut contents = base.map_or(Vec::new(), |base| base.shared_contents().to_vec());
    for (layer, index) in layers.iter().zip(indexes) {
        let length = index.contents().first().map_or(0, |file| file.length);
        contents.push(Arc::new(Contents::open(layer.contents.clone(), *index.identity(), length)?));
    }
    let mut bytes = Cursor::new(Vec::new());
    merge(base.map(ContainerFs::index), &indexes.iter().collect::<Vec<_>>(), chain_id, &mut bytes)?;
    Ok(ContainerFs::from_parts(Index::from_bytes(bytes.into_inner())?, contents))
}

impl Deref for LayeredContainerFs {
    type Target = ContainerFs;

    fn deref(&self) -> &ContainerFs {
        &self.merged
    }
}
