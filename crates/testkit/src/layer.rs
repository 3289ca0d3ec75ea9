//! The description of a layer, entry by entry, for writing a tar or for the model.
//!
//! Names are written to the tar unchanged: `./a`, `/a` and `a/` stay as they are. Whiteouts are entries with `.wh.`
//! names.

mod content;
mod encode;

use std::collections::BTreeMap;
use std::fmt;

pub use content::Content;
pub use encode::{Dialect, Encoding, XattrForm};

/// The prefix of a whiteout's last component.
pub const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// The last component of an opaque marker.
pub const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";

/// A modification time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Mtime {
    /// Whole seconds since the Unix epoch, rounded down. May be negative.
    pub seconds: i64,
    /// Nanoseconds after that second, less than 1,000,000,000.
    pub nanoseconds: u32,
}

impl Mtime {
    /// Returns the nanoseconds since the Unix epoch.
    pub fn total_nanoseconds(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds)
    }
}

/// The attributes of an entry besides its name and kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// The permission bits with setuid, setgid and sticky (0..=0o7777).
    pub mode: u32,
    /// The owner's user id.
    pub uid: u32,
    /// The group's id.
    pub gid: u32,
    /// The modification time.
    pub mtime: Mtime,
    /// The extended attributes by their full names.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Attributes {
    /// Returns attributes with this mode, owner 0:0, mtime 0 and no xattrs. With 0755, these are the attributes of a
    /// missing parent.
    pub fn with_mode(mode: u32) -> Self {
        Self { mode, uid: 0, gid: 0, mtime: Mtime::default(), xattrs: BTreeMap::new() }
    }
}

/// The kind of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, even if the entry's name ends with a slash.
    File(Content),
    /// A directory.
    Directory,
    /// A symbolic link with this target.
    Symlink(Vec<u8>),
    /// A hard link to this name.
    HardLink(Vec<u8>),
    /// A character device.
    CharDevice {
        /// The major number.
        major: u32,
        /// The minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// The major number.
        major: u32,
        /// The minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// An entry of a layer. `Debug` shows in one line how it differs from a plain entry.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name as in the tar.
    pub name: Vec<u8>,
    /// The mode, owner, time and xattrs. Those of a hard link are ignored, because its target has its own.
    pub attributes: Attributes,
    /// The kind.
    pub kind: Kind,
}

impl Entry {
    /// Returns an entry of any kind, with mode 0644.
    pub fn new(name: impl AsRef<[u8]>, kind: Kind) -> Self {
        Self { name: name.as_ref().to_vec(), attributes: Attributes::with_mode(0o644), kind }
    }

    /// Returns a regular file with mode 0644.
    pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        Self::new(name, Kind::File(Content::from_bytes(content.as_ref())))
    }

    /// Returns a sparse file of `size` bytes with these runs of data, which are ascending and separate. The rest is
    /// zeros.
    pub fn sparse_file(name: impl AsRef<[u8]>, size: u64, runs: Vec<(u64, Vec<u8>)>) -> Self {
        Self::new(name, Kind::File(Content::sparse(size, runs)))
    }

    /// Returns a directory with mode 0755.
    pub fn directory(name: impl AsRef<[u8]>) -> Self {
        Self::new(name, Kind::Directory).mode(0o755)
    }

    /// Returns a symbolic link with mode 0777.
    pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self::new(name, Kind::Symlink(target.as_ref().to_vec())).mode(0o777)
    }

    /// Returns a hard link.
    pub fn hard_link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self::new(name, Kind::HardLink(target.as_ref().to_vec()))
    }

    /// Returns a character device.
    pub fn char_device(name: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        Self::new(name, Kind::CharDevice { major, minor })
    }

    /// Returns a block device.
    pub fn block_device(name: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        Self::new(name, Kind::BlockDevice { major, minor })
    }

    /// Returns a named pipe.
    pub fn fifo(name: impl AsRef<[u8]>) -> Self {
        Self::new(name, Kind::Fifo)
    }

    /// Returns a whiteout that hides `path` of the lower layers.
    pub fn whiteout(path: impl AsRef<[u8]>) -> Self {
        let path = path.as_ref();
        let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        Self::file([&path[..start], WHITEOUT_PREFIX, &path[start..]].concat(), "")
    }

    /// Returns a marker that hides all children of `directory` in lower layers. "" or "." is the root.
    pub fn opaque(directory: impl AsRef<[u8]>) -> Self {
        let directory = directory.as_ref();
        let name =
            if directory.is_empty() { OPAQUE_MARKER.to_vec() } else { [directory, b"/", OPAQUE_MARKER].concat() };
        Self::file(name, "")
    }

    /// Sets the permission bits.
    pub fn mode(mut self, mode: u32) -> Self {
        self.attributes.mode = mode;
        self
    }

    /// Sets the owner and group.
    pub fn owner(mut self, uid: u32, gid: u32) -> Self {
        (self.attributes.uid, self.attributes.gid) = (uid, gid);
        self
    }

    /// Sets the modification time.
    pub fn mtime(mut self, seconds: i64, nanoseconds: u32) -> Self {
        self.attributes.mtime = Mtime { seconds, nanoseconds };
        self
    }

    /// Adds an extended attribute.
    pub fn xattr(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.attributes.xattrs.insert(name.as_ref().to_vec(), value.as_ref().to_vec());
        self
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" ", self.name.escape_ascii())?;
        match &self.kind {
            Kind::Symlink(target) => write!(f, "-> \"{}\"", target.escape_ascii())?,
            Kind::HardLink(target) => return write!(f, "= \"{}\"", target.escape_ascii()),
            kind => write!(f, "{kind:?}")?,
        }
        let Attributes { mode, uid, gid, mtime, xattrs } = &self.attributes;
        write!(f, " {mode:o} {uid}:{gid} @{}+{}ns", mtime.seconds, mtime.nanoseconds)?;
        xattrs.iter().try_for_each(|(name, value)| write!(f, " {}=\"{}\"", name.escape_ascii(), value.escape_ascii()))
    }
}

/// The entries of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layer {
    /// The entries in the order of the tar.
    pub entries: Vec<Entry>,
}

impl Layer {
    /// Returns a layer with these entries.
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        Self { entries: entries.into_iter().collect() }
    }
}
