//! Merges layers with the kernel: each layer is a directory, and overlayfs is mounted over all of them.
//!
//! The layers are written to disk by plain system calls, and the kernel resolves names inside the layer (`openat2` with
//! `RESOLVE_IN_ROOT`). [`Overlay::of_tars`] uses GNU tar instead. Rules that overlayfs does not have are applied to the
//! layer's directory:
//!
//! - an implicit directory gets the attributes of the directory below it, because overlayfs shows the topmost ones;
//! - a hard link to a file of a lower layer becomes a copy of the file under all its names that are still visible;
//! - an opaque root ends the list of layers, because overlayfs ignores the marker on the root;
//! - whiteouts that hide nothing are left out, because overlayfs lists them in directories of a single layer.
//!
//! Limitation: overlayfs treats character devices 0:0 and `trusted.overlay.*` attributes in a layer as its own.

mod attributes;
mod extract;
mod link;
mod marker;
mod mount;
mod place;
mod untar;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::layer::Layer;
use crate::listing::Listing;
use mount::Mount;

/// A mounted overlay of layers, which is unmounted and removed when dropped. Needs root.
#[derive(Debug)]
pub struct Overlay {
    // Declared first, so that it is unmounted before its directory is removed.
    mount: Mount,
    stack: Stack,
}

/// The directories of the layers.
#[derive(Debug)]
struct Stack {
    directory: TempDir,
    /// The layers, lowest first, without those that an opaque root hides.
    layers: Vec<PathBuf>,
    count: usize,
}

impl Overlay {
    /// Mounts these layers, lowest first.
    ///
    /// # Errors
    /// - [`Error::Entry`] if an entry is invalid.
    /// - [`Error::Io`] if the kernel rejects an operation.
    pub fn of_layers(layers: &[Layer]) -> Result<Self> {
        Self::stack(layers, |layer, stack, directory| {
            stack.with_lower(|lower| extract::extract(layer, directory, lower, &stack.scratch()))
        })
    }

    /// Mounts these layer tars, lowest first. They may be compressed in any way that GNU tar reads.
    ///
    /// The tars must be trusted and must not have hard links to lower layers. A directory whose entry has the current
    /// time as its mtime is mistaken for an implicit one.
    ///
    /// # Errors
    /// - [`Error::Program`] if GNU tar fails.
    /// - [`Error::Io`] if the kernel rejects an operation.
    pub fn of_tars(tars: &[PathBuf]) -> Result<Self> {
        Self::stack(tars, |tar, _, directory| untar::untar(tar, directory).map(|()| Vec::new()))
    }

    fn stack<L>(layers: &[L], fill: impl Fn(&L, &Stack, &Path) -> Result<Vec<link::LowerLink>>) -> Result<Self> {
        let mut stack = Stack::new()?;
        for layer in layers {
            stack.push(|stack, directory| fill(layer, stack, directory))?;
        }
        let mount = stack.mount("merged", &stack.layers)?;
        Ok(Self { mount, stack })
    }

    /// Returns the mount point.
    pub fn path(&self) -> &Path {
        self.mount.path()
    }

    /// Returns the directories of the layers as overlayfs reads them, lowest first, without those that an opaque root
    /// hides.
    pub fn layers(&self) -> &[PathBuf] {
        &self.stack.layers
    }

    /// Lists the merged root.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read.
    pub fn listing(&self) -> Result<Listing> {
        Listing::of_directory(self.path())
    }
}

impl Stack {
    fn new() -> Result<Self> {
        let directory =
            tempfile::Builder::new().prefix("vmroot-overlay").tempdir().map_err(Error::io("make", "a directory"))?;
        let stack = Self { directory, layers: Vec::new(), count: 0 };
        for name in BOTTOM.into_iter().chain(["merged", "lower", "trial", "scratch"]) {
            make_directory(&stack.directory.path().join(name))?;
        }
        Ok(stack)
    }

    /// Returns a directory on the same file system, for files that are being moved into a layer.
    fn scratch(&self) -> PathBuf {
        self.directory.path().join("scratch")
    }

    /// Adds a layer: `fill` writes its entries and markers to disk, and this method applies the other rules.
    fn push(&mut self, fill: impl FnOnce(&Self, &Path) -> Result<Vec<link::LowerLink>>) -> Result<()> {
        let directory = self.directory.path().join(format!("layer-{}", self.count));
        self.count += 1;
        make_directory(&directory)?;
        let links = fill(self, &directory)?;
        let fresh = self.with_lower(|lower| {
            let fresh = marker::convert(&directory, lower)?;
            if !links.is_empty() {
                let below = if fresh.root_is_opaque { &[] } else { self.layers.as_slice() };
                let aliases = link::aliases(&links, lower, || {
                    self.mount("trial", &[below, std::slice::from_ref(&directory)].concat())
                })?;
                link::copy(&links, &aliases, lower, &directory, &self.scratch())?;
            }
            attributes::settle_directories(&directory, lower, &fresh)?;
            Ok(fresh)
        })?;
        if fresh.root_is_opaque {
            self.layers.clear();
        }
        self.layers.push(directory);
        Ok(())
    }

    /// Calls `take` with the mounted overlay of the layers so far.
    fn with_lower<T>(&self, take: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let mount = self.mount("lower", &self.layers)?;
        take(mount.path())
    }

    /// Mounts these layers, lowest first.
    fn mount(&self, at: &str, layers: &[PathBuf]) -> Result<Mount> {
        let base = self.directory.path();
        let bottom = BOTTOM.map(|name| base.join(name));
        let top_down: Vec<&Path> = layers.iter().rev().chain(&bottom).map(PathBuf::as_path).collect();
        Mount::overlay(&top_down, &base.join(at))
    }
}

/// Two empty directories below all layers: the kernel needs at least two for a read-only overlay.
const BOTTOM: [&str; 2] = ["empty-1", "empty-0"];

fn make_directory(path: &Path) -> Result<()> {
    fs::create_dir(path).map_err(Error::io("make", path))
}
