//! What the reader of a tar understands, where that is less than a tar can say.

use vmroot_container_fs::{Timestamp, WalkEntry};

use crate::Omissions;

/// Who will read a tar.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum TarReader {
    /// Whatever reads tars.
    #[default]
    Any,
    /// sqfstar of squashfs-tools. It stops at an entry for the root directory, at a time before 1970 or after February
    /// 2106, and at an xattr of another namespace than `user`, `trusted` and `security`: the first is left out, the
    /// second becomes the nearest between, and the third is left out. Parts of seconds are cut off, as it would do.
    /// Nothing is sparse: of a map it reads past the end where the size of the file is no multiple of 512, and it looks
    /// for zeros itself.
    Sqfstar,
}

/// What a reader would not have understood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TarLacks {
    /// Paths that lost xattrs, the root directory's too.
    pub without_xattrs: Omissions,
    /// Paths with another time.
    pub clamped_times: Omissions,
    /// Paths whose time is cut to whole seconds.
    pub without_nanoseconds: Omissions,
}

impl TarReader {
    /// Whether the reader takes this entry.
    pub(super) fn takes(self, entry: &WalkEntry) -> bool {
        self == Self::Any || !entry.path.is_empty()
    }

    /// Whether it takes an xattr of this name.
    pub(super) fn takes_xattr(self, name: &[u8]) -> bool {
        let prefixes: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
        self == Self::Any || prefixes.iter().any(|prefix| name.len() > prefix.len() && name.starts_with(prefix))
    }

    /// The time as the reader is told it.
    pub(super) fn time(self, entry: &WalkEntry, time: Timestamp, lacks: &mut TarLacks) -> Timestamp {
        if self == Self::Any {
            return time;
        }
        let seconds = time.seconds.clamp(0, u32::MAX.into());
        // Other names of an inode have been heard of.
        if entry.link_to.is_none() && seconds != time.seconds {
            lacks.clamped_times.add(&entry.path);
        } else if entry.link_to.is_none() && time.nanoseconds != 0 {
            lacks.without_nanoseconds.add(&entry.path);
        }
        Timestamp { seconds, nanoseconds: 0 }
    }
}
