//! A layer described entry by entry, to be written as a tar or given to the model.
//!
//! Names are what the tar will say: `./a`, `/a` and `a/` stay as they are. Whiteouts are entries with `.wh.` names.

mod content;
mod encode;

use std::collections::BTreeMap;
use std::fmt;

pub use content::Content;
pub use encode::{Dialect, Encoding, XattrForm};

/// Prefix of a whiteout's last component.
pub const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// Last component of an opaque marker.
pub const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";

/// Modification time: seconds since 1970, which may be negative, and nanoseconds after that second (0..1e9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Mtime {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// Nanoseconds since then.
    pub nanoseconds: u32,
}

impl Mtime {
    /// Nanoseconds since 1970.
    pub fn total_nanoseconds(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds)
    }
}

/// What an entry says besides its name and kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits with setuid, setgid and sticky (0..=0o7777).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Mtime,
    /// Extended attributes, full names.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Attributes {
    /// Mode `mode`, owner 0:0, mtime 0, no xattrs; with 0755, what a missing parent gets.
    pub fn with_mode(mode: u32) -> Self {
        Self { mode, uid: 0, gid: 0, mtime: Mtime::default(), xattrs: BTreeMap::new() }
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Regular file, also where the entry's name ends in a slash.
    File(Content),
    /// Directory.
    Directory,
    /// Symbolic link with this target.
    Symlink(Vec<u8>),
    /// Hard link to this name.
    HardLink(Vec<u8>),
    /// Character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// Block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// Named pipe.
    Fifo,
}

/// One entry of a layer; `Debug` shows what differs from a plain entry, in one line.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name as the tar has it.
    pub name: Vec<u8>,
    /// Mode, owner, time, xattrs. A hard link's own are ignored: they belong to its target.
    pub attributes: Attributes,
    /// What it is.
    pub kind: Kind,
}

impl Entry {
    /// An entry of any kind, with mode 0644.
    pub fn new(name: impl AsRef<[u8]>, kind: Kind) -> Self {
        Self { name: name.as_ref().to_vec(), attributes: Attributes::with_mode(0o644), kind }
    }

    /// A regular file of mode 0644.
    pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        Self::new(name, Kind::File(Content::from_bytes(content.as_ref())))
    }

    /// A regular file with holes: `size` bytes, zeros but for these runs (ascending, apart).
    pub fn sparse_file(name: impl AsRef<[u8]>, size: u64, runs: Vec<(u64, Vec<u8>)>) -> Self {
        Self::new(name, Kind::File(Content::sparse(size, runs)))
    }

    /// A directory of mode 0755.
    pub fn directory(name: impl AsRef<[u8]>) -> Self {
        Self::new(name, Kind::Directory).mode(0o755)
    }

    /// A symbolic link of mode 0777.
    pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self::new(name, Kind::Symlink(target.as_ref().to_vec())).mode(0o777)
    }

    /// A hard link.
    pub fn hard_link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self::new(name, Kind::HardLink(target.as_ref().to_vec()))
    }

    /// A character device.
    pub fn char_device(name: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        Self::new(name, Kind::CharDevice { major, minor })
    }

    /// A block device.
    pub fn block_device(name: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        Self::new(name, Kind::BlockDevice { major, minor })
    }

    /// A named pipe.
    pub fn fifo(name: impl AsRef<[u8]>) -> Self {
        Self::new(name, Kind::Fifo)
    }

    /// A whiteout that hides `path` of the lower layers.
    pub fn whiteout(path: impl AsRef<[u8]>) -> Self {
        let path = path.as_ref();
        let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        Self::file([&path[..start], WHITEOUT_PREFIX, &path[start..]].concat(), "")
    }

    /// A marker that hides all that lower layers have in `directory`; "" or "." is the root.
    pub fn opaque(directory: impl AsRef<[u8]>) -> Self {
        let directory = directory.as_ref();
        let name =
            if directory.is_empty() { OPAQUE_MARKER.to_vec() } else { [directory, b"/", OPAQUE_MARKER].concat() };
        Self::file(name, "")
    }

    /// The same with other permission bits.
    pub fn mode(mut self, mode: u32) -> Self {
        self.attributes.mode = mode;
        self
    }

    /// The same with another owner and group.
    pub fn owner(mut self, uid: u32, gid: u32) -> Self {
        (self.attributes.uid, self.attributes.gid) = (uid, gid);
        self
    }

    /// The same with another modification time.
    pub fn mtime(mut self, seconds: i64, nanoseconds: u32) -> Self {
        self.attributes.mtime = Mtime { seconds, nanoseconds };
        self
    }

    /// The same with one more extended attribute.
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

/// The entries of a layer in the order of its tar.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layer {
    /// In tar order.
    pub entries: Vec<Entry>,
}

impl Layer {
    /// A layer of these entries.
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        Self { entries: entries.into_iter().collect() }
    }
}
