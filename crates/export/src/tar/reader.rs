//! The limits of programs that read tars.

use vmroot_container_fs::{ContainerFs, InodeKind, Timestamp, WalkEntry};
use vmroot_output::{OmissionReason, Omissions, Omitted, display_path};

/// The program that reads a tar.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TarReader {
    /// Any program.
    #[default]
    Any,
    /// sqfstar of squashfs-tools.
    ///
    /// It fails at an entry for the root directory, at a time outside 1970 to February 2106, and at an xattr outside
    /// of `user`, `trusted` and `security`. The entry and the xattrs are left out, and times are clamped. Fractions of
    /// seconds are dropped, as sqfstar would do.
    ///
    /// It must not get a sparse tar: it reads past the end of a sparse map if the file size is not a multiple of 512.
    /// It finds zeros itself.
    Sqfstar,
}

impl TarReader {
    /// Returns true if the program accepts this entry.
    pub(super) fn accepts(self, entry: &WalkEntry) -> bool {
        self == Self::Any || !entry.path.is_empty()
    }

    /// Returns true if it accepts an xattr with this name.
    pub(super) fn accepts_xattr(self, name: &[u8]) -> bool {
        let prefixes: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
        self == Self::Any || prefixes.iter().any(|prefix| name.len() > prefix.len() && name.starts_with(prefix))
    }

    /// Returns the nearest time that the program accepts.
    pub(super) fn clamp_time(self, time: Timestamp) -> Timestamp {
        match self {
            Self::Any => time,
            Self::Sqfstar => Timestamp { seconds: time.seconds.clamp(0, u32::MAX.into()), nanoseconds: 0 },
        }
    }

    /// Adds the parts of an entry that the program does not accept.
    pub(super) fn note_omissions(self, fs: &ContainerFs, entry: &WalkEntry, omissions: &mut Omissions) {
        let stat = fs.stat(entry.ino);
        let path = || display_path(&entry.path);
        if stat.kind == InodeKind::Socket {
            return omissions.add(path, Omitted::Socket, OmissionReason::form("a tar has no type for it"));
        }
        // The attributes of a hard link were added with its first name.
        if self == Self::Any || entry.link_to.is_some() {
            return;
        }
        let time = self.clamp_time(stat.mtime);
        if time.seconds != stat.mtime.seconds {
            omissions.add(path, Omitted::Time, OmissionReason::form("squashfs has times from 1970 to 2106"));
        } else if time.nanoseconds != stat.mtime.nanoseconds {
            omissions.cut_times += 1;
        }
        for (name, _) in fs.xattrs(entry.ino) {
            let why = match (self.accepts(entry), self.accepts_xattr(name)) {
                (true, true) => continue,
                (true, false) => "squashfs has only user.*, trusted.* and security.*",
                (false, _) => "sqfstar gives the root directory none",
            };
            omissions.add(path, Omitted::Xattr(name.into()), OmissionReason::form(why));
        }
    }
}
