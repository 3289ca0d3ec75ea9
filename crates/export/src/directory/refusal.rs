//! What the system does not let this user, or this file system, have.

use std::fmt;
use std::path::PathBuf;

use bstr::BString;
use rustix::io::Errno;

/// Refusals that are listed; further ones are counted.
pub const LISTED: usize = 1000;

/// Something that could not be made as the image has it. The rest of the entry was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Below the target; empty for the target itself.
    pub path: PathBuf,
    /// What is missing.
    pub what: Refused,
    /// What the system said: `EPERM` for most, `ENOTSUP` for xattrs that the file system does not have.
    pub errno: Errno,
}

/// What could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The owner and group; the exporting user has the entry.
    Owner {
        /// The owner that the image names.
        uid: u32,
        /// The group that the image names.
        gid: u32,
    },
    /// The mode. With another owner, the setuid and setgid bits of a file are left out: they would mean something else.
    Mode(u32),
    /// The modification time.
    Time,
    /// An xattr of this name.
    Xattr(BString),
    /// A device; nothing has its name.
    Device,
    /// A hard link; a copy has its name.
    HardLink,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.what {
            Refused::Owner { uid, gid } => write!(f, "owner {uid}:{gid}"),
            Refused::Mode(mode) => write!(f, "mode {mode:04o}"),
            Refused::Time => f.write_str("modification time"),
            Refused::Xattr(name) => write!(f, "xattr {name:?}"),
            Refused::Device => f.write_str("device"),
            Refused::HardLink => f.write_str("hard link, copied instead"),
        }?;
        write!(f, " ({})", std::io::Error::from(self.errno))
    }
}

/// The refusals of an export.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusals {
    /// How many there were.
    pub total: u64,
    /// The first [`LISTED`] of them, by path. Which are the first, when there are more, depends on the threads.
    pub listed: Vec<Refusal>,
}

impl Refusals {
    /// Counts one; `path` is asked for only if it is listed.
    pub(super) fn add(&mut self, path: impl FnOnce() -> PathBuf, what: Refused, errno: Errno) {
        self.total += 1;
        if self.listed.len() < LISTED {
            self.listed.push(Refusal { path: path(), what, errno });
        }
    }

    pub(super) fn sorted(mut self) -> Self {
        self.listed.sort_by(|a, b| a.path.cmp(&b.path));
        self
    }
}
