//! The kernel as the judge: each layer in a directory of its own, overlayfs over all of them.
//!
//! The layers are put on the disk by plain system calls, with the kernel resolving names inside the layer
//! (`openat2`, `RESOLVE_IN_ROOT`); [`Overlay::of_tars`] lets GNU tar do it. What overlayfs cannot be told is written
//! into the layer's directory instead:
//!
//! - an implicit directory gets the attributes of the directory below it, for overlayfs shows the topmost ones;
//! - a hard link to a file of a lower layer becomes a copy of the file under all its names that still show;
//! - an opaque root ends the list of layers, for overlayfs does not look for the marker at the root;
//! - whiteouts that hide nothing are left out, for overlayfs lists them in directories of one layer.
//!
//! Character devices 0:0 and `trusted.overlay.*` attributes in a layer would be taken for overlayfs's own.

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

/// A mounted overlay of layers, unmounted and removed when dropped. Needs root.
#[derive(Debug)]
pub struct Overlay {
    // Unmounted before its directory goes.
    mount: Mount,
    stack: Stack,
}

/// The layers' directories.
#[derive(Debug)]
struct Stack {
    directory: TempDir,
    /// From the bottom to the top, without what an opaque root hides.
    layers: Vec<PathBuf>,
    count: usize,
}

impl Overlay {
    /// Mounts these layers, from the bottom to the top.
    ///
    /// # Errors
    /// [`Error::Entry`] for an entry with no meaning, [`Error::Io`] for what the kernel refuses.
    pub fn of_layers(layers: &[Layer]) -> Result<Self> {
        Self::stack(layers, |layer, stack, directory| {
            stack.with_lower(|lower| extract::extract(layer, directory, lower, &stack.scratch()))
        })
    }

    /// Mounts these layer tars, from the bottom to the top, plain or compressed as GNU tar reads them.
    ///
    /// For trusted tars with no hard links to lower layers. A directory whose entry says that it was changed
    /// right now is taken for an implicit one.
    ///
    /// # Errors
    /// [`Error::Program`] if GNU tar fails, [`Error::Io`] for what the kernel refuses.
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

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.mount.path()
    }

    /// The layers' directories, from the bottom to the top, as overlayfs reads them; without those that an opaque root
    /// hides.
    pub fn layers(&self) -> &[PathBuf] {
        &self.stack.layers
    }

    /// What is there.
    ///
    /// # Errors
    /// [`Error::Io`] for what cannot be read.
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

    /// A directory on the same file system for things on their way into a layer.
    fn scratch(&self) -> PathBuf {
        self.directory.path().join("scratch")
    }

    /// Adds a layer: `fill` puts its entries and markers on the disk, the rest of the rules is applied here.
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

    /// Calls `take` with the merged layers so far, mounted.
    fn with_lower<T>(&self, take: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let mount = self.mount("lower", &self.layers)?;
        take(mount.path())
    }

    /// Mounts these layers, from the bottom to the top.
    fn mount(&self, at: &str, layers: &[PathBuf]) -> Result<Mount> {
        let base = self.directory.path();
        let bottom = BOTTOM.map(|name| base.join(name));
        let top_down: Vec<&Path> = layers.iter().rev().chain(&bottom).map(PathBuf::as_path).collect();
        Mount::overlay(&top_down, &base.join(at))
    }
}

/// Two empty directories under all layers: the kernel makes no read-only overlay of fewer than two.
const BOTTOM: [&str; 2] = ["empty-1", "empty-0"];

fn make_directory(path: &Path) -> Result<()> {
    fs::create_dir(path).map_err(Error::io("make", path))
}
