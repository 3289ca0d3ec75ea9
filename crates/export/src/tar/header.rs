//! The headers of an entry: a ustar header, and a PAX header before it for values that do not fit.

use tar::{EntryType, Header};
use vmroot_container_fs::{Device, InodeKind, Stat, Timestamp};

use super::BLOCK;
use super::pax::{self, Records};

/// The sizes in bytes of the name, the link target and the prefix in a ustar header.
const NAME: usize = 100;
const PREFIX: usize = 155;
/// The directory in which programs that do not know sparse files extract them. GNU tar has its process id in place of
/// the 0, which would make the bytes depend on more than the root.
const SPARSE_DIRECTORY: &[u8] = b"GNUSparseFile.0/";
/// The largest owner or group (seven octal digits), and the largest size and time (eleven).
const MAX_ID: u32 = 0o7_777_777;
const MAX_NUMBER: u64 = 0o77_777_777_777;

/// The attributes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// The kind. A socket becomes a regular file, because a tar has no type for it.
    pub kind: InodeKind,
    /// The permission bits with setuid, setgid and sticky. Other bits are ignored.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The modification time.
    pub mtime: Timestamp,
    /// The number of a device. Zeros for other kinds.
    pub device: Device,
}

impl From<&Stat> for Attributes {
    fn from(stat: &Stat) -> Self {
        let Stat { kind, mode, uid, gid, mtime, device, .. } = *stat;
        Self { kind, mode, uid, gid, mtime, device }
    }
}

/// The headers of an entry that is being written.
#[derive(Debug)]
pub struct EntryHeader {
    header: Header,
    /// The path as it is written: a directory ends in a slash.
    path: Vec<u8>,
    /// The records after that of a long path.
    records: Records,
    size: u64,
    /// The target of a symbolic link for a GNU header, or empty.
    gnu_target: Vec<u8>,
}

impl EntryHeader {
    /// Creates the headers of an entry without data and link target.
    pub fn new(path: &[u8], attributes: &Attributes) -> Self {
        let mut entry = Self {
            header: Header::new_ustar(),
            path: tar_path(path, attributes.kind == InodeKind::Directory),
            records: Records::default(),
            size: 0,
            gnu_target: Vec::new(),
        };
        entry.header.set_mode(attributes.mode & 0o7777);
        entry.set_owner(attributes);
        entry.set_time(attributes);
        entry.header.set_entry_type(match attributes.kind {
            InodeKind::Directory => EntryType::Directory,
            InodeKind::Symlink => EntryType::Symlink,
            InodeKind::Character => EntryType::Char,
            InodeKind::Block => EntryType::Block,
            InodeKind::Fifo => EntryType::Fifo,
            InodeKind::Regular | InodeKind::Socket | InodeKind::Link => EntryType::Regular,
        });
        let ustar = entry.header.as_ustar_mut().expect("the header is ustar");
        // They are at most 4095 and 1,048,575, as in an index and in the kernel.
        ustar.set_device_major(attributes.device.major);
        ustar.set_device_minor(attributes.device.minor);
        entry
    }

    /// Stores the path in the header or in a record. Returns all records.
    fn place_path(&mut self) -> Vec<u8> {
        let mut records = Records::default();
        let (prefix, name) = split(&self.path).unwrap_or_else(|| {
            records.add(b"path", &self.path);
            // For messages, and for programs from before 2001.
            (&b""[..], &self.path[..NAME])
        });
        let ustar = self.header.as_ustar_mut().expect("the header is ustar");
        ustar.prefix[..prefix.len()].copy_from_slice(prefix);
        ustar.name[..name.len()].copy_from_slice(name);
        // Python's tarfile takes the last record that names the entry, so `GNU.sparse.name` must follow `path`.
        [records.as_bytes(), self.records.as_bytes()].concat()
    }

    fn set_owner(&mut self, attributes: &Attributes) {
        for (key, id) in [(&b"uid"[..], attributes.uid), (b"gid", attributes.gid)] {
            if id > MAX_ID {
                self.records.add_number(key, id.into());
            }
        }
        let short = |id: u32| if id > MAX_ID { 0 } else { id.into() };
        self.header.set_uid(short(attributes.uid));
        self.header.set_gid(short(attributes.gid));
    }

    fn set_time(&mut self, attributes: &Attributes) {
        let seconds = u64::try_from(attributes.mtime.seconds).ok().filter(|seconds| *seconds <= MAX_NUMBER);
        if seconds.is_none() || attributes.mtime.nanoseconds > 0 {
            self.records.add(b"mtime", pax::decimal_time(attributes.mtime).as_bytes());
        }
        self.header.set_mtime(seconds.unwrap_or(0));
    }

    /// Sets the target of a symbolic link.
    pub fn set_symlink(&mut self, target: &[u8]) {
        let short = &target[..target.len().min(NAME)];
        if target.len() > NAME {
            self.records.add(b"linkpath", target);
        }
        self.header.as_old_mut().linkname[..short.len()].copy_from_slice(short);
    }

    /// Sets the target of a symbolic link. A target that is too long goes into a GNU header for long targets, because
    /// `sqfstar` removes leading dots and slashes from a target in a PAX record.
    pub(super) fn set_gnu_symlink(&mut self, target: &[u8]) {
        self.set_symlink(&target[..target.len().min(NAME)]);
        if target.len() > NAME {
            self.gnu_target = target.to_vec();
        }
    }

    /// Makes the entry a hard link to an earlier one.
    pub fn set_hard_link(&mut self, first: &[u8]) {
        self.header.set_entry_type(EntryType::Link);
        self.set_symlink(first);
    }

    /// Adds an xattr.
    pub fn set_xattr(&mut self, name: &[u8], value: &[u8]) {
        self.records.add(&pax::xattr_key(name), value);
    }

    /// Sets the number of data bytes.
    pub(super) fn set_size(&mut self, size: u64) {
        if size > MAX_NUMBER {
            self.records.add_number(b"size", size);
        }
        self.size = size;
    }

    /// Makes the entry a file in GNU's sparse format 1.0, with `stored` data bytes.
    ///
    /// The real name is only in a record of that format. Like GNU tar, the header and the record of a long path have
    /// the name with an additional directory. A program that does not know the format, such as busybox, extracts the
    /// file there, and not under its real name.
    pub(super) fn set_sparse(&mut self, size: u64, stored: u64) {
        let name = self.path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let sparse_path = [&self.path[..name], SPARSE_DIRECTORY, &self.path[name..]].concat();
        let path = std::mem::replace(&mut self.path, sparse_path);
        self.records.add(b"GNU.sparse.major", b"1");
        self.records.add(b"GNU.sparse.minor", b"0");
        self.records.add(b"GNU.sparse.name", &path);
        self.records.add_number(b"GNU.sparse.realsize", size);
        self.set_size(stored);
    }

    /// Returns the bytes of all headers, in whole blocks.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        let records = self.place_path();
        let mut bytes = Vec::with_capacity(3 * BLOCK + records.len());
        if !self.gnu_target.is_empty() {
            bytes.extend_from_slice(long_link_header(self.gnu_target.len() as u64 + 1).as_bytes());
            bytes.extend_from_slice(&self.gnu_target);
            bytes.resize((bytes.len() + 1).next_multiple_of(BLOCK), 0);
        }
        if !records.is_empty() {
            bytes.extend_from_slice(pax_header(records.len() as u64).as_bytes());
            bytes.extend_from_slice(&records);
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        }
        self.header.set_size(if self.size > MAX_NUMBER { 0 } else { self.size });
        self.header.set_cksum();
        bytes.extend_from_slice(self.header.as_bytes());
        bytes
    }
}

/// Returns the path in a tar: directories end in a slash, and the root directory is `./`.
fn tar_path(path: &[u8], directory: bool) -> Vec<u8> {
    match path {
        b"" => b"./".to_vec(),
        path if directory => [path, b"/"].concat(),
        path => path.to_vec(),
    }
}

/// Returns the header before the records of the next entry.
fn pax_header(size: u64) -> Header {
    header_for_next_entry(Header::new_ustar(), b"PaxHeaders/entry", EntryType::XHeader, 0o644, size)
}

/// Returns the header before the long target of the next entry, which ends with a NUL.
fn long_link_header(size: u64) -> Header {
    header_for_next_entry(Header::new_gnu(), b"././@LongLink", EntryType::GNULongLink, 0, size)
}

/// Returns a header for `size` bytes that describe the next entry.
fn header_for_next_entry(mut header: Header, name: &[u8], kind: EntryType, mode: u32, size: u64) -> Header {
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    header
}

/// Splits a path into prefix and name, which programs join to `prefix/name`. Returns `None` if they do not fit.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= NAME {
        return Some((b"", path));
    }
    let slash = path.len().checked_sub(NAME + 1)?..path.len() - 1;
    let slash = slash.start + path[slash].iter().position(|&byte| byte == b'/')?;
    (1..=PREFIX).contains(&slash).then(|| (&path[..slash], &path[slash + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_beyond_eleven_octal_digits_is_a_record() {
        let attributes = Attributes {
            kind: InodeKind::Regular,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: Timestamp::default(),
            device: Device::default(),
        };
        let bytes_for = |size| {
            let mut header = EntryHeader::new(b"large", &attributes);
            header.set_size(size);
            header.into_bytes()
        };
        assert_eq!(bytes_for(MAX_NUMBER).len(), BLOCK);
        let bytes = bytes_for(MAX_NUMBER + 1);
        assert_eq!(bytes.len(), 3 * BLOCK);
        assert!(bytes[BLOCK..].starts_with(b"19 size=8589934592\n"));
    }

    #[test]
    fn path_is_split_where_both_parts_fit() {
        let long = |length| vec![b'x'; length];
        assert_eq!(split(b"etc/passwd"), Some((&b""[..], &b"etc/passwd"[..])));
        assert_eq!(split(&long(100)), Some((&b""[..], &long(100)[..])));
        assert_eq!(split(&long(101)), None);
        let path = [long(155), long(100)].join(&b'/');
        assert_eq!(split(&path), Some((&long(155)[..], &long(100)[..])));
        assert_eq!(split(&[long(156), long(100)].join(&b'/')), None);
        assert_eq!(split(&[long(155), long(101)].join(&b'/')), None);
        // A trailing slash cannot split the path, and a leading one leaves an empty prefix.
        assert_eq!(split(&[long(100), Vec::new()].join(&b'/')), None);
        let directory = [long(3), long(99), Vec::new()].join(&b'/');
        assert_eq!(split(&directory), Some((&long(3)[..], &directory[4..])));
    }
}
