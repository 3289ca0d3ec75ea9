//! Describes a file system by its superblock.

use std::fs::File;

use crate::format::{compatible, incompatible, state};
use crate::grow::read_shape_of;
use crate::shape::Shape;
use crate::{Result, features};

/// What the superblock of a file system says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The UUID.
    pub uuid: [u8; 16],
    /// The label, without padding. Any bytes.
    pub label: Vec<u8>,
    /// The names of the features, as dumpe2fs(8) prints them.
    pub features: Vec<String>,
    /// Bytes of a block.
    pub block_size: u64,
    /// Bytes of the file system.
    pub size: u64,
    /// Bytes of free blocks. The count of a disk that is not clean can be out of date.
    pub free: u64,
    /// Free bytes that only root can use.
    pub reserved: u64,
    /// Number of inodes.
    pub inodes: u32,
    /// Number of free inodes.
    pub free_inodes: u32,
    /// The journal.
    pub journal: JournalState,
    /// The file system was unmounted, and has no known errors.
    pub is_clean: bool,
    /// The kernel has found errors.
    pub has_errors: bool,
    /// A growth was interrupted. A further growth completes it.
    pub growth_interrupted: bool,
    /// Seconds since 1970 of the last mount for writing. `None` if there was none.
    pub last_mount: Option<u64>,
    /// The last mountpoint, if there was one. Any bytes.
    pub last_mountpoint: Vec<u8>,
    /// Number of mounts for writing since the last check.
    pub mounts: u16,
}

/// The state of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JournalState {
    /// There is no journal.
    None,
    /// All its changes are in their places. The size is in bytes, and `None` if the superblock does not have it.
    Clean(Option<u64>),
    /// It has changes that must be replayed.
    Dirty(Option<u64>),
}

impl Summary {
    /// Reads the superblock of a file.
    ///
    /// # Errors
    /// - [`Error::NotExt4`](crate::Error::NotExt4): there is no ext4 file system, or its superblock is damaged.
    /// - [`Error::Read`](crate::Error::Read): the file cannot be read.
    pub fn read(file: &File) -> Result<Self> {
        Ok(Self::of(&read_shape_of(file)?))
    }

    fn of(shape: &Shape) -> Self {
        let record = &shape.record;
        let sets = [
            ("compat", record.compatible.get()),
            ("incompat", record.incompatible.get()),
            ("ro_compat", record.compatible_read_only.get()),
        ];
        let features = sets.into_iter().flat_map(|(set, bits)| features::names(set, bits)).map(Into::into).collect();
        let needs_replay = record.incompatible & incompatible::RECOVER != 0;
        let has_errors = record.state & state::ERRORS != 0;
        let is_valid = record.state & state::VALID != 0;
        let mounted = u64::from(record.mtime.get()) | u64::from(record.unused_before_growth[1]) << 32;
        Self {
            uuid: record.uuid,
            label: until_zero(&record.label),
            features,
            block_size: shape.block(),
            size: shape.blocks() * shape.block(),
            free: (shape.free_blocks() * shape.block()) << shape.log_cluster(),
            reserved: shape.kept_blocks().saturating_mul(shape.block()),
            inodes: record.inodes_count.get(),
            free_inodes: record.free_inodes_count.get(),
            journal: journal_state(shape, needs_replay),
            is_clean: is_valid && !needs_replay && !has_errors,
            has_errors,
            growth_interrupted: !is_valid && crate::grow::is_interrupted(shape),
            last_mount: (mounted > 0).then_some(mounted),
            last_mountpoint: until_zero(&record.last_mounted),
            mounts: record.mount_count.get(),
        }
    }
}

fn journal_state(shape: &Shape, needs_replay: bool) -> JournalState {
    let record = &shape.record;
    if record.compatible & compatible::HAS_JOURNAL == 0 {
        return JournalState::None;
    }
    let [.., high, low] = &record.journal_backup;
    // The inode is copied to the superblock by all programs but those of ext3's beginnings.
    let size = (record.journal_backup_type == 1).then(|| u64::from(low.get()) | u64::from(high.get()) << 32);
    if needs_replay { JournalState::Dirty(size) } else { JournalState::Clean(size) }
}

fn until_zero(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().take_while(|byte| *byte != 0).collect()
}
