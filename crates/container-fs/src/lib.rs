//! Read access to the merged root of an image.
//!
//! [`ContainerFs`] has the read operations of a file system. It reads directly from the mapped `root.idx` and the
//! `.contents` files of the layers. Exposures of a root use it, and do not depend on layers, whiteouts or tars.
//! [`LayeredContainerFs`] is a root with more layers on top.

pub mod acl;
mod diff;
mod error;
mod failures;
mod fs;
mod images;
mod layered;
mod open_file;
mod origin;
mod resolve;
mod stat;
mod users;
mod walk;

pub use diff::{Change, ChangeKind, Diff, DiffOptions, Field, Fields};
pub use error::{Error, Result};
pub use failures::ReadFailures;
pub use fs::{ContainerFs, Contents, DirEntry};
pub use layered::{ExtraLayer, LayerFiles, LayeredContainerFs};
pub use open_file::{MAX_READ, OpenFile};
pub use origin::{FollowedLink, Hidden, Hiding, HidingCause, Located, Origin, Version};
pub use resolve::Resolved;
pub use stat::{Stat, StatFs};
pub use users::UserIds;
pub use vmroot_layer_index::{ContentsFile, Device, Extent, InodeId, InodeKind, Timestamp, pack_device};
pub use walk::{Walk, WalkEntry};
