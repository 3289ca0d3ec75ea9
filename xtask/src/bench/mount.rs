//! Measures a mount with cold caches: no part of the tree is in memory at the start.

use std::{path::Path, time::Instant};

use anyhow::{Result, ensure};

use super::{
    lab::Lab,
    mounted::Mounted,
    race::{Comparison, Race, drop_caches},
    row::{Target, Unit},
};
use crate::walk::{self, Totals};

/// The time of listing all entries with their attributes.
pub const WALK: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: |lab, scratch| cold_walk(&Mounted::vmroot(lab, scratch)?),
    comparisons: &[
        Comparison {
            key: "walk-erofs",
            title: "cold walk with stat of the FUSE mount, against kernel EROFS",
            target: Target::TimesRival(1.5),
            rival: Some(|lab, scratch| cold_walk(&Mounted::erofs(lab, scratch)?)),
        },
        Comparison {
            key: "walk-fuse-overlayfs",
            title: "cold walk with stat of the FUSE mount, against fuse-overlayfs",
            target: Target::TimesFaster(1.5),
            rival: Some(|lab, scratch| cold_walk(&Mounted::fuse_overlayfs(lab, scratch)?)),
        },
    ],
};

/// The time of reading all files.
pub const READ: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: |lab, scratch| cold_read(&Mounted::vmroot(lab, scratch)?),
    comparisons: &[Comparison {
        key: "read-erofs",
        title: "cold read of every byte of the FUSE mount, against kernel EROFS",
        target: Target::TimesFaster(0.8),
        rival: Some(|lab, scratch| cold_read(&Mounted::erofs(lab, scratch)?)),
    }],
};

/// The memory of the process that serves a mount.
pub const MEMORY: Race = Race {
    unit: Unit::Bytes,
    repeat: true,
    keep: false,
    ours: memory_after_walk,
    comparisons: &[Comparison {
        key: "mount-memory",
        title: "memory of a mount after a full walk",
        target: Target::Under(24.0 * 1024.0 * 1024.0),
        rival: None,
    }],
};

/// Returns the seconds of a cold walk that reads the attributes of all entries.
pub fn cold_walk(mounted: &Mounted) -> Result<f64> {
    cold(mounted, walk::stat_all)
}

/// Returns the seconds of a cold read of all files.
pub fn cold_read(mounted: &Mounted) -> Result<f64> {
    cold(mounted, walk::read_all)
}

fn cold(mounted: &Mounted, work: fn(&Path) -> Result<Totals>) -> Result<f64> {
    drop_caches()?;
    let start = Instant::now();
    let seen = work(mounted.directory())?;
    let took = start.elapsed();
    ensure!(seen.refused == 0, "{} paths of the mount are not for this user", seen.refused);
    Ok(took.as_secs_f64())
}

fn memory_after_walk(lab: &Lab, scratch: &Path) -> Result<f64> {
    let mounted = Mounted::vmroot(lab, scratch)?;
    walk::stat_all(mounted.directory())?;
    Ok(mounted.server_memory()? as f64)
}
