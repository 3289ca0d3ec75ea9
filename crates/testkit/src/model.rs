//! The naive merge: applies layers one after another to a tree in memory, in the simplest way.
//!
//! Each layer first becomes a tree of its own, as if extracted into an empty directory by a tool that keeps markers
//! apart. Then its markers remove entries of the lower layers, and its tree is merged over the rest, as overlayfs would
//! do. Where the OCI image-spec (layer.md) leaves a choice, these rules apply:
//!
//! - Empty and `.` components of names are removed. `..` is an error. A slash at the end of a name has no meaning.
//! - A later entry of the same name wins. A directory over a directory replaces the attributes and keeps the children.
//!   Any other entry replaces the existing one with everything below it.
//! - `.wh.X` hides X of the lower layers only, at any position in the tar. If the same layer has a directory X, this
//!   directory is the only content of X. `.wh..wh..opq` hides the children that its directory has in lower layers, but
//!   not the directory's own attributes. Markers may be entries of any type.
//! - If no layer has the directory of a marker, the directory is created like a missing parent. Exceptions: another
//!   marker of the layer hides it, links of the layer lead to it, or one of its parents is not a directory in the
//!   layer. In the last case the marker hides nothing.
//! - Links in the path of a marker are followed as for other entries, in the state of the layer at that position of the
//!   tar. If they lead nowhere, the marker hides nothing. Later entries with these names do not change the marker's
//!   path.
//! - Missing parents become implicit directories with mode 0755, owner 0:0 and mtime 0. An implicit directory over a
//!   lower directory keeps the lower one's attributes. Over any other entry, or over a hidden one, it is a new
//!   directory.
//! - A parent that is a symbolic link of the same layer, made earlier, is followed within the layer. Absolute targets
//!   and `..` stop at the root, at most 40 links are followed, and missing directories are created as implicit ones.
//!   Any other non-directory of the same layer, made earlier, is an error as a parent.
//! - The target of a hard link is searched first in its own layer at that position of the tar, then in the complete
//!   layer unless it is a directory there, then in the merged lower layers before this layer. Parents are followed as
//!   links; the last component is not. From then on both names are one inode. A link that leads back to itself is an
//!   error. A link that waits for the end of the layer cannot be part of another path, even if it turns out to be a
//!   symbolic link.
//! - Symbolic links have mode 0777, as in Linux.

mod draft;
mod merge;
mod name;
mod tree;

pub use tree::{Inode, InodeId, Node, Tree};

use crate::Result;
use crate::layer::Layer;

/// The maximum number of symbolic links that are followed for one file.
pub const LINK_LIMIT: usize = 40;
/// The maximum length of a name in a Linux file system, in bytes.
pub const NAME_LIMIT: usize = 255;

impl Tree {
    /// Merges layers, lowest first, and returns the root.
    ///
    /// # Errors
    /// [`crate::Error::Entry`] for the first invalid entry.
    pub fn of_layers<'a>(layers: impl IntoIterator<Item = &'a Layer>) -> Result<Self> {
        let mut tree = Self::new();
        for layer in layers {
            tree.apply(layer)?;
        }
        Ok(tree)
    }

    /// Merges one more layer on top. After an error the tree must not be used.
    ///
    /// # Errors
    /// [`crate::Error::Entry`] for the first invalid entry.
    pub fn apply(&mut self, layer: &Layer) -> Result<()> {
        let (root, markers) = self.draft(layer)?;
        self.lay_over(root, &markers);
        Ok(())
    }
}
