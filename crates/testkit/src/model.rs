//! The naive merge: layers applied one after another to a tree in memory, slowly and plainly.
//!
//! Each layer first becomes a tree of its own, as if untarred into an empty directory by a tool that keeps markers
//! apart. Then the markers take away from what is there, and the tree is laid over the rest, as overlayfs would. The rules, where the OCI image-spec
//! (layer.md) leaves room:
//!
//! - Names lose empty and `.` components; `..` anywhere is an error. A slash at the end of a name says nothing.
//! - A later entry of the same name wins: a directory over a directory replaces attributes and keeps children,
//!   anything else replaces what is there with all below it.
//! - `.wh.X` hides X of the lower layers only, wherever it stands in the tar. A directory X of the same layer is then
//!   all there is of X. `.wh..wh..opq` hides what lower layers have in its directory, and nothing of the directory's
//!   own attributes. `.wh.` markers may be entries of any type.
//! - A marker in a directory that no layer has makes that directory, as a missing parent. It makes none that another
//!   marker of the layer hides, none where links of the layer lead, and none below something that is no directory in
//!   the layer: there it hides nothing.
//! - Links on the way to a marker are followed as for other entries, as the layer has them at that point of the tar.
//!   A marker that they lead nowhere hides nothing. What comes later at any of these names does not change its path.
//! - Missing parents become implicit directories: 0755, 0:0, mtime 0. One over a lower directory leaves that
//!   directory's attributes; over anything else, or over something whited out, it is a new directory.
//! - A parent that is a symbolic link made earlier in the same layer is followed inside that layer: absolute targets
//!   and `..` stop at the root, at most 40 links, missing directories on the way are made as implicit ones. Any other
//!   non-directory made earlier in the same layer is an error as a parent.
//! - The target of a hard link is looked for in its own layer at that point of the tar (parents are followed, the last
//!   component is not), then in its own layer when that is complete, unless a directory is there, then in the merged lower layers as they were
//!   before this layer. It is one inode from then on. A link that leads back to itself is an error. A link that has
//!   to wait for the end of the layer is until then no way to anything, even if it turns out to be a symbolic link.
//! - Symbolic links have mode 0777, as Linux has them.

mod draft;
mod merge;
mod name;
mod tree;

pub use tree::{Inode, InodeId, Node, Tree};

use crate::Result;
use crate::layer::Layer;

/// Links followed on the way to one file before it counts as a loop.
pub const LINK_LIMIT: usize = 40;
/// Bytes of the longest name a Linux file system holds.
pub const NAME_LIMIT: usize = 255;

impl Tree {
    /// The root that these layers make, from the bottom to the top.
    ///
    /// # Errors
    /// [`crate::Error::Entry`] for the first entry that has no meaning.
    pub fn of_layers<'a>(layers: impl IntoIterator<Item = &'a Layer>) -> Result<Self> {
        let mut tree = Self::new();
        for layer in layers {
            tree.apply(layer)?;
        }
        Ok(tree)
    }

    /// Lays one more layer on top. After an error the tree is of no use.
    ///
    /// # Errors
    /// [`crate::Error::Entry`] for the first entry that has no meaning.
    pub fn apply(&mut self, layer: &Layer) -> Result<()> {
        let (root, markers) = self.draft(layer)?;
        self.lay_over(root, &markers);
        Ok(())
    }
}
