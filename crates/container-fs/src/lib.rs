//! The merged root of an image.
//!
//! [`ContainerFs`] answers what a file system would be asked, straight from a mapped `root.idx` and the `.contents` of
//! the layers. Whoever exposes a root to a guest walks or queries it, and never sees layers, whiteouts or tars.
//! [`LayeredContainerFs`] is the same with more layers on top.

mod error;
mod failures;
mod fs;
mod layered;
mod resolve;
mod stat;
mod users;
mod walk;

pub use error::{Error, Result};
pub use failures::ReadFailures;
pub use fs::{ContainerFs, Contents, DirEntry};
pub use layered::{ExtraLayer, LayeredContainerFs};
pub use resolve::Resolved;
pub use stat::{Stat, StatFs};
pub use users::UserIds;
pub use vmroot_layer_index::{Extent, InodeId, InodeKind, Timestamp};
pub use walk::{Walk, WalkEntry};
