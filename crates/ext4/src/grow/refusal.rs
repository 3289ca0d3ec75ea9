//! Why a file system is not grown.

use vmroot_errors::ErrorKind;

use crate::format::{compatible, compatible_read_only, incompatible, state};
use crate::shape::{MAX_BLOCKS, Shape};

/// Why a file system is not grown. It is unchanged then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrowthRefusal {
    /// The journal has changes that are not in their places yet (`needs_recovery`).
    #[error("its journal has changes that must be replayed first")]
    Dirty,
    /// It was not unmounted, and has no journal; or e2fsck has not repaired it yet.
    #[error("it was not unmounted cleanly")]
    Unclean,
    /// The kernel has found errors.
    #[error("the kernel has found errors in it")]
    Errors,
    /// Files that were deleted while they were open still have blocks.
    #[error("it has files that were deleted while they were open")]
    Orphans,
    /// It was mounted after a growth was interrupted.
    #[error("an earlier growth was interrupted, and it was mounted since")]
    MountedMeanwhile,
    /// It has features that growth does not know or does not support.
    #[error("it has features that are not supported here: {0}")]
    Features(String),
    /// It is larger than the requested size.
    #[error("it has {current} bytes already, and {size} are fewer")]
    Smaller {
        /// The size in bytes.
        current: u64,
        /// The requested size in bytes.
        size: u64,
    },
    /// Its inode or block numbers do not reach so far.
    #[error("it can have at most {most} bytes, because {reason}")]
    Limit {
        /// The largest size in bytes.
        most: u64,
        /// The number that is exhausted.
        reason: String,
    },
    /// The device cannot be extended, and is too small.
    #[error("the device has only {size} bytes")]
    Device {
        /// Bytes of the device.
        size: u64,
    },
    /// A hash tree of dm-verity follows the file system.
    #[error("a hash tree of dm-verity follows it")]
    HashTree,
    /// A part that growth changes contradicts another one.
    #[error("{0}")]
    Damaged(String),
}

impl GrowthRefusal {
    /// Returns the meaning of the refusal to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Smaller { .. } => ErrorKind::Usage,
            Self::Limit { .. } => ErrorKind::Limit,
            Self::Damaged(_) | Self::Errors => ErrorKind::Integrity,
            _ => ErrorKind::Other,
        }
    }
}

/// The features that growth leaves as they are, or changes.
const COMPATIBLE: u32 = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x200 | 0x400 | 0x800 | 0x1000;
const INCOMPATIBLE: u32 =
    0x2 | 0x4 | 0x10 | 0x40 | 0x80 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000 | 0x1_0000 | 0x2_0000;
const COMPATIBLE_READ_ONLY: u32 =
    0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x100 | 0x400 | 0x2000 | 0x8000 | 0x1_0000;
/// `orphan_present`.
const ORPHAN_PRESENT: u32 = 0x1_0000;

/// Returns why the file system cannot be grown to any size. `interrupted` is true if a growth of it was
/// interrupted, which leaves the state unclean.
pub(in crate::grow) fn refusal(shape: &Shape, interrupted: bool) -> Option<GrowthRefusal> {
    let record = &shape.record;
    let unknown = [
        ("compat", record.compatible.get() & !COMPATIBLE),
        ("incompat", record.incompatible.get() & !INCOMPATIBLE),
        ("ro_compat", record.compatible_read_only.get() & !COMPATIBLE_READ_ONLY),
    ];
    let names: Vec<String> =
        unknown.into_iter().flat_map(|(set, bits)| crate::features::names(set, bits)).map(Into::into).collect();
    if !names.is_empty() {
        return Some(GrowthRefusal::Features(names.join(", ")));
    }
    if record.compatible_read_only & compatible_read_only::SPARSE_SUPER == 0
        && record.compatible & compatible::SPARSE_SUPER_2 == 0
    {
        return Some(GrowthRefusal::Features("a copy of the superblock in each group".to_owned()));
    }
    if shape.has_meta_groups() && shape.has_resize_inode() || !shape.has_resize_inode() && shape.reserved_blocks() > 0 {
        return Some(GrowthRefusal::Damaged("its features contradict one another".to_owned()));
    }
    if record.compatible_read_only & compatible_read_only::METADATA_CSUM == 0
        && record.incompatible & incompatible::CSUM_SEED != 0
    {
        return Some(GrowthRefusal::Features("metadata_csum_seed without metadata_csum".to_owned()));
    }
    if record.incompatible & incompatible::RECOVER != 0 {
        return Some(GrowthRefusal::Dirty);
    }
    if record.state & state::ERRORS != 0 {
        return Some(GrowthRefusal::Errors);
    }
    if record.last_orphan != 0 || record.compatible_read_only & ORPHAN_PRESENT != 0 {
        return Some(GrowthRefusal::Orphans);
    }
    (record.state & state::VALID == 0 && !interrupted).then_some(GrowthRefusal::Unclean)
}

/// Returns why the file system cannot have this many blocks.
pub(in crate::grow) fn size_refusal(shape: &Shape, blocks: u64) -> Option<GrowthRefusal> {
    let (block, size) = (shape.block(), blocks.saturating_mul(shape.block()));
    if blocks < shape.blocks() {
        return Some(GrowthRefusal::Smaller { current: shape.blocks() * block, size });
    }
    let limit = |most: u64, reason: String| Some(GrowthRefusal::Limit { most: most * block, reason });
    if !shape.is_64_bit() && blocks > u64::from(u32::MAX) {
        return limit(u32::MAX.into(), "its block numbers have 32 bits".to_owned());
    }
    if blocks >= MAX_BLOCKS {
        return limit(MAX_BLOCKS - 1, "block numbers have 48 bits".to_owned());
    }
    let per_group = shape.inodes_per_group();
    let groups = u64::from(u32::MAX / per_group);
    if shape.groups_of(blocks) > groups {
        let reason = format!(
            "each group of {} bytes has {per_group} inodes, and there are fewer than 2^32",
            shape.group_blocks() * block
        );
        return limit(shape.group_start(groups), reason);
    }
    None
}
