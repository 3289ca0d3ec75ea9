//! One layer tar becomes `.idx` and `.contents`; several indexes become one.
//!
//! [`build`] reads a layer's tar once and writes its index and its file contents. [`Index::open`] maps an index and
//! checks its whole shape; after that every access is total. [`merge`] applies layers to each other and gives the index
//! of an image's root. The format is specified in `docs/formats/idx.md` and `docs/formats/contents.md`.

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
pub use inode::{DirentKind, Extent, Inode, InodeKind, Timestamp, pack_device};
pub use merge::merge;
pub use open::{ContentsFile, Index, InodeId};
pub use verify::{verify_contents, verify_contents_while};
