//! Layers and files on top of an image's root.
//!
//! [`layers`] indexes tars and directories. [`additions`] builds a layer of single files, and [`place`] resolves their
//! destinations in the image. The result is an ordinary [`ContainerFs`].

mod additions;
mod layers;
mod place;
mod progress;
mod warning;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vmroot_compress::Limits;
use vmroot_container_fs::{ContainerFs, ExtraLayer, LayerFiles, LayeredContainerFs};
use vmroot_layer_index::{BuildOptions, BuiltLayer, Index};
use vmroot_output::{Cancel, Omissions, TemporaryDirectory};

use crate::Result;

use progress::Counter;
pub use progress::TopProgress;
pub use warning::{Replacement, TopWarning};

/// Layers and files to put on top of an image. The layers come first, lowest first. Of two files with the same path the
/// later one wins.
#[derive(Debug, Clone, Default)]
pub struct Top {
    /// Layers: tars in any compression, or directories.
    ///
    /// The attributes of a directory itself are not used. In a directory, files named `.wh.NAME` and `.wh..wh..opq`
    /// delete as in a tar, and so do the whiteouts and opaque directories of overlayfs. A directory of a layer replaces
    /// a link or a file of the image, with a warning ([`ExtendedRoot::warnings`]).
    pub layers: Vec<PathBuf>,
    /// Files and directories to add.
    pub additions: Vec<Addition>,
    /// Fail if an entry cannot be added, instead of leaving it out. This concerns sockets.
    pub strict: bool,
}

/// The owner of an entry. The default is root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// The id of the user.
    pub uid: u32,
    /// The id of the group.
    pub gid: u32,
}

/// A file or directory to add to an image.
///
/// Destinations are paths in the image. Symbolic links in them are resolved inside the image. Missing parent
/// directories are created with mode 0755 and owner root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addition {
    /// A copy from this machine, with the rules of cp(1).
    ///
    /// If the destination is a directory or ends in a slash, the source keeps its own name in it. Otherwise the
    /// destination is the new path. A source that ends in `/.` stands for its entries. Symbolic links are copied as
    /// links.
    ///
    /// Directories are merged with those of the image, also through a symbolic link, and keep the attributes that they
    /// have there. Files replace files and links. A file for a directory and a directory for a file are errors.
    Copy {
        /// The source: a file, a directory with everything in it, a symbolic link, or another kind that a tar holds.
        source: PathBuf,
        /// The destination in the image.
        destination: Vec<u8>,
        /// The permission bits of the files. Directories get these and the search permission for everyone who may read.
        ///
        /// With `None` each entry keeps its own, without setuid and setgid if the owner changes, as in chown(2).
        mode: Option<u32>,
        /// The owner and group of all entries. `None` is root.
        owner: Option<Owner>,
    },
    /// A file in memory. Its owner is root, and its time is the Unix epoch. It replaces a file, but not a directory.
    File {
        /// The path in the image.
        destination: Vec<u8>,
        /// The permission bits.
        mode: u32,
        /// The contents.
        bytes: Vec<u8>,
    },
}

/// Options of [`Top::put_on`].
#[derive(Debug, Clone)]
pub struct TopOptions {
    /// An existing directory. The files of the layers are stored in a temporary directory below it.
    pub directory: PathBuf,
    /// Limits on the decompression of layers.
    pub limits: Limits,
    /// Limits on the layers, and other options of their indexes.
    pub build: BuildOptions,
    /// Cancels the work.
    pub cancel: Cancel,
}

/// A root with layers and files on top.
#[derive(Debug)]
pub struct ExtendedRoot {
    root: ContainerFs,
    layers: Vec<LayerFiles>,
    omitted: Omissions,
    warnings: Vec<TopWarning>,
    // The last field, because the others hold files in the directory open.
    directory: Option<TemporaryDirectory>,
}

impl Top {
    /// Returns true if there is nothing to put on top.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty() && self.additions.is_empty()
    }

    /// Puts the layers and files on top of a root. The chain id and the bytes of the result depend only on the root and
    /// on the layers and files, including the names, modes, times and xattrs of the files.
    ///
    /// # Errors
    /// - [`Error::OnTop`](crate::Error::OnTop): a layer or file cannot be read, is invalid, or exceeds a limit.
    /// - [`Error::Incomplete`](crate::Error::Incomplete): an entry was left out, and `strict` is set.
    /// - [`Error::Io`](crate::Error::Io): the working directory cannot be used.
    /// - [`Error::Cancelled`](crate::Error::Cancelled): `cancel` was set.
    pub fn put_on(&self, root: ContainerFs, options: &TopOptions) -> Result<ExtendedRoot> {
        self.put_on_with_progress(root, options, Arc::new(|_| {}))
    }

    /// Puts the layers and files on top of a root as [`Self::put_on`]. Calls `progress` about once for each mebibyte that
    /// is read, from several threads.
    ///
    /// # Errors
    /// As [`Self::put_on`].
    pub fn put_on_with_progress(
        &self,
        root: ContainerFs,
        options: &TopOptions,
        progress: Arc<dyn Fn(TopProgress) + Send + Sync>,
    ) -> Result<ExtendedRoot> {
        let mut top = ExtendedRoot {
            root,
            layers: Vec::new(),
            omitted: Omissions::default(),
            warnings: Vec::new(),
            directory: None,
        };
        if self.is_empty() {
            return Ok(top);
        }
        let directory = TemporaryDirectory::create_in(&options.directory)?;
        let counter = Counter::new(progress, self.total_bytes());
        let builder = LayerBuilder { directory: directory.path(), options, counter: &counter };
        for path in &self.layers {
            let built = builder.build_layer(path, &mut top.omitted, &mut top.warnings)?;
            let index = publish(built, directory.path())?;
            top = top.with_layer(index, Some(path))?;
        }
        if !self.additions.is_empty() {
            let built = builder.build_additions(&self.additions, &top.root, &mut top.omitted)?;
            top = top.with_layer(publish(built, directory.path())?, None)?;
        }
        if self.strict {
            top.omitted.require_complete("a layer")?;
        }
        Ok(ExtendedRoot { directory: Some(directory), ..top })
    }
}

/// Builds layers in a directory.
#[derive(Clone, Copy)]
struct LayerBuilder<'a> {
    directory: &'a Path,
    options: &'a TopOptions,
    counter: &'a Arc<Counter>,
}

/// Publishes a layer's files in its directory.
fn publish(built: BuiltLayer, directory: &Path) -> Result<LayerFiles> {
    let diff_id = built.diff_id;
    let index = built.publish_unsynced()?;
    Ok(LayerFiles { diff_id, index, contents: directory.join(diff_id.hex() + ".contents") })
}

impl ExtendedRoot {
    /// Puts a layer on top. If `path` is given, checks for directories that replace links or files.
    fn with_layer(mut self, layer: LayerFiles, path: Option<&Path>) -> Result<Self> {
        let below = Arc::new(self.root);
        let extra = [ExtraLayer { index: layer.index.clone(), contents: layer.contents.clone() }];
        self.root = LayeredContainerFs::new(Arc::clone(&below), &extra)?.into_root();
        if let Some(path) = path {
            self.warnings.extend(warning::find_replacements(path, &Index::open(&layer.index)?, &below, &self.root));
        }
        self.layers.push(layer);
        Ok(self)
    }

    /// Returns the root with the layers on top.
    pub fn root(&self) -> &ContainerFs {
        &self.root
    }

    /// Returns the root and removes the files of the layers on top. They stay readable, because the root holds them
    /// open.
    pub fn into_root(self) -> ContainerFs {
        self.root
    }

    /// Returns the root, and a guard that keeps the files of the layers on top under the names that
    /// [`ContainerFs::contents`] returns.
    pub fn into_parts(self) -> (ContainerFs, TopFiles) {
        (self.root, TopFiles { _directory: self.directory })
    }

    /// Returns the layers on top, lowest first. The layer of the added files is the last one. The files are removed with
    /// `self`.
    pub fn layers(&self) -> &[LayerFiles] {
        &self.layers
    }

    /// Returns the sockets that were left out, by their paths in the image.
    pub fn omitted(&self) -> &Omissions {
        &self.omitted
    }

    /// Returns warnings about layers, such as a directory that replaces a symbolic link to one.
    pub fn warnings(&self) -> &[TopWarning] {
        &self.warnings
    }

    /// Writes the merged index to a file, which is removed with `self`. Returns `None` if nothing is on top.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io): the file cannot be written.
    pub fn index_file(&self) -> Result<Option<PathBuf>> {
        let Some(directory) = &self.directory else { return Ok(None) };
        let path = directory.path().join("root.idx");
        std::fs::write(&path, self.root.index().bytes()).map_err(vmroot_output::Error::on("write", &path))?;
        Ok(Some(path))
    }
}

/// A guard for the files of layers on top of a root. Dropping it removes them.
#[derive(Debug)]
pub struct TopFiles {
    _directory: Option<TemporaryDirectory>,
}
