//! Builds, reads, merges and verifies the indexes of image layers.
//!
//! [`build`] reads a layer's tar once and writes its index (`.idx`) and its file contents (`.contents`).
//! [`Index::open`] maps an index and checks its whole shape; after that, no access can fail. [`merge`] applies layers
//! to each other and writes the index of the image's root. `docs/formats/idx.md` and `docs/formats/contents.md` specify
//! the formats.

mod access;
mod builder;
mod check;
mod dump;
mod error;
pub mod format;
mod inode;
mod merge;
mod open;
mod verify;
mod write;
mod xattr;

pub use access::{Dirent, Target};
pub use builder::{BuildOptions, BuiltLayer, build};
pub use dump::dump;
pub use error::{Error, Result};
pub use inode::{Device, DirentKind, Extent, Inode, InodeKind, Timestamp, pack_device};
pub use merge::merge;
pub use open::{ContentsFile, Index, InodeId};
pub use verify::{verify_contents, verify_contents_with_progress};
