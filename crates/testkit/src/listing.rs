//! The canonical listing of a tree: one line for each path, the same for equal trees.
//!
//! A line has these fields, separated by spaces, with `-` for those that do not apply: path, kind, mode, owner, group,
//! mtime in nanoseconds, size, device, first path of the hard-link group, target, xattrs, and the first half of the
//! SHA-256. Omitted are the sizes and link counts of directories, and all fields of the root except its kind, because
//! layers need not have them.

mod difference;
mod directory;
mod tree;

use std::collections::BTreeMap;
use std::fmt;

/// The fields of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `d`, `f`, `l`, `c`, `b`, `p` or `s`.
    pub kind: char,
    /// The permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner's user id.
    pub uid: u32,
    /// The group's id.
    pub gid: u32,
    /// The modification time in nanoseconds since the Unix epoch.
    pub mtime: i128,
    /// The size of a regular file in bytes.
    pub size: Option<u64>,
    /// The major and minor number of a device.
    pub device: Option<(u32, u32)>,
    /// The first path of an inode with several paths.
    pub link: Option<Vec<u8>>,
    /// The target of a symbolic link.
    pub target: Option<Vec<u8>>,
    /// The extended attributes, except those of overlayfs itself.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first 32 hex digits of the content's SHA-256.
    pub sha256: Option<String>,
}

/// The listing of all paths below a root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The fields by path, in the order of the paths' bytes.
    pub rows: BTreeMap<Vec<u8>, Row>,
}

impl Listing {
    /// Sets the link field of the paths in each hard-link group. A group holds the paths of one inode, in order.
    fn set_links<'a>(&mut self, groups: impl IntoIterator<Item = &'a Vec<Vec<u8>>>) {
        for paths in groups.into_iter().filter(|paths| paths.len() > 1) {
            for path in paths {
                self.rows.get_mut(path).expect("groups are of listed paths").link = Some(paths[0].clone());
            }
        }
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, ". d")?;
        self.rows.iter().try_for_each(|(path, row)| writeln!(f, "{} {row}", quoted(path)))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let xattrs: Vec<String> = self.xattrs.iter().map(|(name, value)| attribute(name, value)).collect();
        write!(
            f,
            "{} {:o} {} {} {} {} {} {} {} {} {}",
            self.kind,
            self.mode,
            self.uid,
            self.gid,
            self.mtime,
            or_dash(self.size.map(|size| size.to_string())),
            or_dash(self.device.map(|(major, minor)| format!("{major}:{minor}"))),
            or_dash(self.link.as_deref().map(quoted)),
            or_dash(self.target.as_deref().map(quoted)),
            or_dash((!xattrs.is_empty()).then(|| xattrs.join(","))),
            or_dash(self.sha256.clone()),
        )
    }
}

/// Escapes a backslash and all bytes other than graphic ASCII as `\xNN`.
fn quoted(bytes: &[u8]) -> String {
    let show = |byte: &u8| match byte {
        33..127 if *byte != b'\\' => char::from(*byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    bytes.iter().map(show).collect()
}

fn attribute(name: &[u8], value: &[u8]) -> String {
    let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}={hex}", quoted(name))
}
