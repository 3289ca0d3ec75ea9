//! The options of mounts, and the replies of a root in the terms of the FUSE protocol.
//!
//! [`MountOptions`] are the options of a mount, by FUSE or by the kernel. [`FuseRoot`] is a root in the terms of the FUSE
//! protocol, which the kernel speaks over `/dev/fuse` and over virtio-fs: numbers of inodes, attributes, directories,
//! xattrs, and the errors of system calls. It has no types of a FUSE library, so each adapter to one is thin.

mod fuse_root;
mod options;
mod reply;

pub use fuse_root::{FuseRoot, TTL};
pub use options::MountOptions;
pub use reply::{Attributes, DirectoryEntry, FileSystemSize, XattrReply, inode_number};
