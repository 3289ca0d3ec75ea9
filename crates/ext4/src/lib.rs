//! Writes and reads ext4 file systems (kernel documentation, `Documentation/filesystems/ext4`).
//!
//! `content` collects the parts of a root that need blocks. `layout` chooses the size of the file system and places
//! these parts. Then `metadata` writes the inodes and their blocks, `data` moves file contents, and `group` and
//! `superblock` record the used blocks and inodes.
//!
//! Block numbers always have 64 bits. Group descriptors then have room for whole checksums of bitmaps, and a file
//! system can be grown past 16 TiB.
//!
//! There is no `resize_inode`. Since Linux 3.7 a mounted file system grows without one, by putting new descriptors
//! elsewhere (`meta_bg`), and [`grow_ext4`] does so for one that is not mounted.
//!
//! The file system of a root has no `lost+found`, because layers have none. e2fsck creates it when it needs it. An empty
//! file system has one, as that of mke2fs.
//!
//! [`Ext4Reader`] reads file systems that kernels have written, and [`open_replayed`] those that were not unmounted.

mod checksum;
mod content;
mod create;
mod data;
mod directory;
mod entry;
mod error;
mod extents;
mod features;
mod format;
mod geometry;
mod group;
mod grow;
mod hash;
mod holes;
mod htree;
mod identity;
mod inode;
mod journal;
mod journal_replay;
mod layout;
mod metadata;
mod options;
mod output;
mod read;
mod set_uuid;
mod shape;
mod space;
mod summary;
mod superblock;
mod time;
mod write;
mod xattr;

pub use create::{CreateOptions, MAX_BYTES_PER_INODE, MIN_BYTES_PER_INODE, MIN_SIZE_WITH_JOURNAL, create_ext4};
pub use error::{Error, Result};
pub use grow::{Growth, GrowthRefusal, grow_ext4};
pub use journal_replay::{Replay, Replayed, open_replayed, replay};
pub use options::{Ext4Options, MAX_LABEL};
pub use read::{DirectoryEntry, Ext4Reader, FileReader, Inode, ReadAt, ReadError, ReadOptions, ReadResult};
pub use set_uuid::set_uuid;
pub use summary::{JournalState, Summary};
pub use write::{export_ext4, write_ext4};

/// The name of the format in omissions.
const FORM: &str = "ext4";
