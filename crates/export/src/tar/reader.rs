//! What the reader of a tar understands, where that is less than a tar can say.

use vmroot_container_fs::{ContainerFs, InodeKind, Timestamp, WalkEntry};
use vmroot_output::{OmissionReason, Omissions, Omitted, display_path};

/// Who will read a tar.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum TarReader {
    /// Whatever reads tars.
    #[default]
    Any,
    /// sqfstar of squashfs-tools. It stops at an entry for the root directory, at a time before 1970 or after February
    /// 2106, and at an xattr of another namespace than `user`, `trusted` and `security`: the first is left out, the
    /// second becomes the nearest between, and the third is left out. Parts of seconds are cut off, as it would do. It is
    /// to get no sparse tar: of a map it reads past the end where the size of the file is no multiple of 512, and it
    /// looks for zeros itself.
    Sqfstar,
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
    pub(super) fn time(self, time: Timestamp) -> Timestamp {
        match self {
            Self::Any => time,
            Self::Sqfstar => Timestamp { seconds: time.seconds.clamp(0, u32::MAX.into()), nanoseconds: 0 },
        }
    }

    /// Counts what of an entry the reader does not get.
    pub(super) fn note_omissions(self, fs: &ContainerFs, entry: &WalkEntry, omissions: &mut Omissions) {
        let stat = fs.stat(entry.ino);
        let path = || display_path(&entry.path);
        if stat.kind == InodeKind::Socket {
            return omissions.add(path, Omitted::Socket, OmissionReason::form("a tar has no type for it"));
        }
        // The other names of an inode have the same attributes.
        if self == Self::Any || entry.link_to.is_some() {
            return;
        }
        let time = self.time(stat.mtime);
        if time.seconds != stat.mtime.seconds {
            omissions.add(path, Omitted::Time, OmissionReason::form("squashfs has times from 1970 to 2106"));
        } else if time.nanoseconds != stat.mtime.nanoseconds {
            omissions.cut_times += 1;
        }
        for (name, _) in fs.xattrs(entry.ino) {
            let why = match (self.takes(entry), self.takes_xattr(name)) {
                (true, true) => continue,
                (true, false) => "squashfs has only user.*, trusted.* and security.*",
                (false, _) => "sqfstar gives the root directory none",
            };
            omissions.add(path, Omitted::Xattr(name.into()), OmissionReason::form(why));
        }
    }
}
