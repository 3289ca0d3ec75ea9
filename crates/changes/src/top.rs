//! Layers and files on top of an image's root, for one use of it.
//!
//! [`layers`] indexes tars and directories, [`additions`] makes one more layer of single files, with [`place`] to find where
//! in the image they belong. What comes out is a plain [`ContainerFs`], so whatever takes a root takes it.

mod additions;
mod layers;
mod place;
mod warning;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vmroot_compress::Limits;
use vmroot_container_fs::{ContainerFs, ExtraLayer, LayeredContainerFs};
use vmroot_layer_index::{BuildOptions, BuiltLayer, Index};
use vmroot_model::Digest;
use vmroot_output::{Cancel, Omissions, TemporaryDirectory};

use crate::{Error, Result};

pub use warning::{Replaced, TopWarning};

/// What goes on top of an image: layers, lowest first, and above them files, of which a later one wins.
#[derive(Debug, Clone, Default)]
pub struct Top {
    /// Each a layer's tar in any compression, or a directory that is taken for one.
    ///
    /// A directory brings what is in it; its own attributes are not those of the root directory. Files `.wh.NAME` and
    /// `.wh..wh..opq` in it delete, as in a tar, and so do overlayfs's whiteouts and opaque directories. A directory of a
    /// layer takes the place of a link or a file of the image, which is among [`OnTop::warnings`].
    pub layers: Vec<PathBuf>,
    /// Files and directories, by where they go.
    pub additions: Vec<Addition>,
    /// Fail where something cannot be put on top, instead of leaving it out: sockets.
    pub strict: bool,
}

/// A file or directory that is put into an image.
///
/// A destination is a path in the image: links in it are the image's, and lead nowhere else. Directories that are missing
/// on the way belong to root and have mode 0755.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addition {
    /// A copy of something on this machine.
    ///
    /// As cp(1) has it: a destination that is a directory, or ends in a slash, gets the source under its own name; any
    /// other is the name itself. A source that ends in `/.` stands for what is in it. A symbolic link is copied as one.
    /// Directories merge with those of the image, which keep their attributes, also where a link leads to them; files
    /// replace files and links. A file does not replace a directory, nor a directory a file: that is an error.
    Copy {
        /// A file, a directory with all that is in it, a symbolic link, or anything else that a tar holds.
        source: PathBuf,
        /// Where to.
        destination: Vec<u8>,
        /// The permission bits of the files; directories may be searched besides where these may be read. Without
        /// this all keep theirs, but for setuid and setgid, which go with an owner that changes, as in chown(2).
        mode: Option<u32>,
        /// Owner and group of everything; root without this.
        owner: Option<(u32, u32)>,
    },
    /// A file that is at hand: root's, from 1970. It replaces what is there, unless that is a directory.
    File {
        /// Its path.
        destination: Vec<u8>,
        /// Its permission bits.
        mode: u32,
        /// Its bytes.
        bytes: Vec<u8>,
    },
}

/// Where and how [`Top::put_on`] works.
#[derive(Debug, Clone)]
pub struct TopOptions {
    /// A directory to work in, which must be there: files of the layers are in a temporary one below it.
    pub directory: PathBuf,
    /// How far the compression of a layer may go.
    pub limits: Limits,
    /// How far a layer may go.
    pub build: BuildOptions,
    /// Ends the work early.
    pub cancel: Cancel,
}

/// A root with something on top.
#[derive(Debug)]
pub struct OnTop {
    root: ContainerFs,
    layers: Vec<TopLayer>,
    omitted: Omissions,
    warnings: Vec<TopWarning>,
    // The last field: what is in it is open until the others are gone.
    directory: Option<TemporaryDirectory>,
}

/// A layer on top, in files that are gone with its [`OnTop`].
#[derive(Debug, Clone)]
pub struct TopLayer {
    /// The digest of its tar.
    pub diff_id: Digest,
    /// Its `.idx`.
    pub index: PathBuf,
    /// Its `.contents`.
    pub contents: PathBuf,
}

impl Top {
    /// Whether there is nothing to put on top.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty() && self.additions.is_empty()
    }

    /// Puts it all on top of a root. The result's chain id and bytes are a function of the root and of what is put on
    /// top, names, modes, times and xattrs of files included.
    ///
    /// # Errors
    /// [`Error::OnTop`], with the layer or file that cannot be read, makes no sense, or passes a limit; [`Error::Incomplete`]
    /// for what is left out, if that is asked for.
    pub fn put_on(&self, root: ContainerFs, options: &TopOptions) -> Result<OnTop> {
        let mut top =
            OnTop { root, layers: Vec::new(), omitted: Omissions::default(), warnings: Vec::new(), directory: None };
        if self.is_empty() {
            return Ok(top);
        }
        let directory = TemporaryDirectory::create_in(&options.directory)?;
        let work = Work { directory: directory.path(), options };
        for path in &self.layers {
            let built = work.layer(path, &mut top.omitted, &mut top.warnings)?;
            let index = TopLayer::publish(built, directory.path())?;
            top = top.with_layer(index, Some(path))?;
        }
        if !self.additions.is_empty() {
            let built = work.additions(&self.additions, &top.root, &mut top.omitted)?;
            top = top.with_layer(TopLayer::publish(built, directory.path())?, None)?;
        }
        top.omitted.check(self.strict, "a layer")?;
        Ok(OnTop { directory: Some(directory), ..top })
    }
}

/// Where layers are made.
#[derive(Clone, Copy)]
struct Work<'a> {
    directory: &'a Path,
    options: &'a TopOptions,
}

impl TopLayer {
    fn publish(built: BuiltLayer, directory: &Path) -> Result<Self> {
        let diff_id = built.diff_id;
        let index = built.publish_unsynced()?;
        Ok(Self { diff_id, index, contents: directory.join(diff_id.hex() + ".contents") })
    }
}

impl OnTop {
    /// Puts a layer on top, and looks for what its directories replace if it has a name.
    fn with_layer(mut self, layer: TopLayer, path: Option<&Path>) -> Result<Self> {
        let below = Arc::new(self.root);
        let extra = [ExtraLayer { index: layer.index.clone(), contents: layer.contents.clone() }];
        self.root = LayeredContainerFs::new(Arc::clone(&below), &extra)?.into_root();
        if let Some(path) = path {
            self.warnings.extend(warning::replaced(path, &Index::open(&layer.index)?, &below, &self.root));
        }
        self.layers.push(layer);
        Ok(self)
    }

    /// The root with all of it.
    pub fn root(&self) -> &ContainerFs {
        &self.root
    }

    /// The root alone. Its contents files stay open, but have no names any more.
    pub fn into_root(self) -> ContainerFs {
        self.root
    }

    /// The root, and what keeps the files of the layers on top where [`ContainerFs::contents`] says they are.
    pub fn into_parts(self) -> (ContainerFs, TopFiles) {
        (self.root, TopFiles { _directory: self.directory })
    }

    /// The layers on top, lowest first, that of the added files last.
    pub fn layers(&self) -> &[TopLayer] {
        &self.layers
    }

    /// Sockets that were left out, by their paths in the image: a layer has no type for them.
    pub fn omitted(&self) -> &Omissions {
        &self.omitted
    }

    /// What layers do that may not be meant, such as a directory in the place of a link to one.
    pub fn warnings(&self) -> &[TopWarning] {
        &self.warnings
    }

    /// The merged index as a file, which is gone with this; nothing when nothing is on top.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written.
    pub fn index_file(&self) -> Result<Option<PathBuf>> {
        let Some(directory) = &self.directory else { return Ok(None) };
        let path = directory.path().join("root.idx");
        std::fs::write(&path, self.root.index().bytes()).map_err(Error::io("write", &path))?;
        Ok(Some(path))
    }
}

/// The files of layers on top of a root; they are removed with it.
#[derive(Debug)]
pub struct TopFiles {
    _directory: Option<TemporaryDirectory>,
}
