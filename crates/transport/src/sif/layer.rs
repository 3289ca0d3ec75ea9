//! The layer of an image: the tar of its squashfs.
//!
//! Entries have the order of the squashfs, which is sorted, and a parent comes before its children. So equal files have
//! equal layers. Long names, xattrs and large numbers are PAX records (POSIX.1-2017, pax).

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use tar::{EntryType, Header};
use vmroot_compress::Limits;
use vmroot_model::{Algorithm, Digest, Hasher};

use super::definition::RUNSCRIPT;
use super::squashfs::{Attributes, Entries, FileReader, Inode, Kind, Piece, Squashfs};
use crate::section::Section;
use crate::spool::write_sparse;
use crate::{ArchiveOptions, Error, Result};

/// The size in bytes of a tar's blocks.
const BLOCK: u64 = 512;
/// The longest name or link target in a header, in bytes.
const HEADER_NAME: usize = 100;
/// The largest owner in a header.
const HEADER_ID: u32 = 0o7777777;
/// The largest size in a header.
const HEADER_SIZE: u64 = 0o77777777777;
/// The maximum number of entries of a layer.
const ENTRIES_LIMIT: u64 = 1 << 22;
/// The maximum length of a path in bytes, the kernel's `PATH_MAX`.
const PATH_LIMIT: usize = 4096;
/// The start of names that have a meaning in layers, and so cannot be names of files.
const WHITEOUT: &[u8] = b".wh.";
/// The directory of the script.
const SCRIPT_DIRECTORY: &[u8] = b"./podman";
/// The start of all names, as GNU tar writes them for `.`.
const ROOT: &[u8] = b".";

/// A written layer.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) file: File,
    pub(super) size: u64,
    pub(super) digest: Digest,
    /// The number of sockets, which a tar cannot have.
    pub(super) sockets: u64,
}

/// Writes the tar of a squashfs to an unnamed file, with a script if there is one.
pub(super) fn write(
    path: &Path,
    root: Section,
    script: Option<String>,
    modified: u64,
    options: &ArchiveOptions,
) -> Result<Layer> {
    let mut squashfs = Squashfs::open(path, root)?;
    let file = tempfile::tempfile_in(&options.spool).map_err(Error::io("make a temporary file in", &options.spool))?;
    let mut tar = TarFile {
        path: path.to_owned(),
        spool: options.spool.clone(),
        limits: options.limits,
        file,
        hasher: Hasher::new(Algorithm::Sha256),
        size: 0,
        data: 0,
    };
    let mut walk =
        Walk { entries: 0, sockets: 0, first_names: HashMap::new(), directories: HashSet::new(), has_podman: false };
    walk.run(&mut squashfs, &mut tar)?;
    if let Some(script) = script {
        let attributes = |mode| Attributes {
            mode,
            uid: 0,
            gid: 0,
            modified: u32::try_from(modified).unwrap_or(u32::MAX),
            number: 0,
            links: 1,
            xattrs: Vec::new(),
        };
        if !walk.has_podman {
            tar.entry(SCRIPT_DIRECTORY, EntryType::Directory, &attributes(0o755), 0, b"", (0, 0))?;
        }
        let name = format!("./{RUNSCRIPT}");
        tar.entry(name.as_bytes(), EntryType::Regular, &attributes(0o755), script.len() as u64, b"", (0, 0))?;
        tar.bytes(script.as_bytes())?;
        tar.pad()?;
    }
    tar.zeros(2 * BLOCK as usize)?;
    tar.finish(walk.sockets)
}

/// The walk over a squashfs.
struct Walk {
    entries: u64,
    sockets: u64,
    /// The first names of inodes with several names.
    first_names: HashMap<u32, Vec<u8>>,
    /// The references of all directories, so that one that contains itself is noticed.
    directories: HashSet<u64>,
    /// Whether the directory of the script exists.
    has_podman: bool,
}

impl Walk {
    fn run(&mut self, squashfs: &mut Squashfs, tar: &mut TarFile) -> Result<()> {
        let root = squashfs.root();
        // The directories that are being read, with the lengths of their paths.
        let mut open: Vec<(Entries, usize)> = Vec::new();
        let mut path = ROOT.to_vec();
        if let Some(entries) = self.visit(squashfs, tar, &path, root)? {
            open.push((entries, path.len()));
        } else {
            return Err(tar.broken("has a root that is not a directory".to_owned()));
        }
        while let Some((entries, len)) = open.last_mut() {
            path.truncate(*len);
            let Some((name, reference)) = squashfs.next_entry(entries)? else {
                open.pop();
                continue;
            };
            path.push(b'/');
            path.extend_from_slice(&name);
            let shown = || String::from_utf8_lossy(&path).into_owned();
            if path.len() > PATH_LIMIT {
                return Err(tar.broken(format!("has a path of more than {PATH_LIMIT} bytes")));
            }
            if name.starts_with(WHITEOUT) {
                return Err(tar.broken(format!("has {}, and a layer cannot have a file of this name", shown())));
            }
            if let Some(entries) = self.visit(squashfs, tar, &path, reference)? {
                open.push((entries, path.len()));
            }
        }
        Ok(())
    }

    /// Writes an entry. Returns the entries of a directory.
    fn visit(
        &mut self,
        squashfs: &mut Squashfs,
        tar: &mut TarFile,
        path: &[u8],
        reference: u64,
    ) -> Result<Option<Entries>> {
        self.entries += 1;
        if self.entries > ENTRIES_LIMIT {
            let path = tar.path.clone();
            return Err(Error::ArchiveLimit { path, what: "the number of files", limit: ENTRIES_LIMIT });
        }
        let Inode { attributes, kind } = squashfs.inode(reference)?;
        if let Kind::Directory(listing) = &kind {
            if !self.directories.insert(reference) {
                return Err(tar.broken("has a directory with two names".to_owned()));
            }
            self.has_podman |= path == SCRIPT_DIRECTORY;
            tar.entry(path, EntryType::Directory, &attributes, 0, b"", (0, 0))?;
            return squashfs.entries(listing).map(Some);
        }
        if attributes.links > 1 {
            if let Some(first) = self.first_names.get(&attributes.number) {
                tar.entry(path, EntryType::Link, &attributes, 0, first, (0, 0))?;
                return Ok(None);
            }
            self.first_names.insert(attributes.number, path.to_vec());
        }
        let mut special = |kind, target: &[u8], device| tar.entry(path, kind, &attributes, 0, target, device);
        match kind {
            Kind::File(contents) => {
                tar.entry(path, EntryType::Regular, &attributes, contents.size, b"", (0, 0))?;
                let mut file = FileReader::new(&contents);
                while let Some(piece) = squashfs.next_piece(&mut file)? {
                    match piece {
                        Piece::Bytes(bytes) => tar.bytes(&bytes)?,
                        Piece::Zeros(count) => tar.zeros(count)?,
                    }
                }
                tar.pad()?;
            }
            Kind::Symlink(target) => special(EntryType::Symlink, &target, (0, 0))?,
            Kind::Block(major, minor) => special(EntryType::Block, b"", (major, minor))?,
            Kind::Character(major, minor) => special(EntryType::Char, b"", (major, minor))?,
            Kind::Fifo => special(EntryType::Fifo, b"", (0, 0))?,
            Kind::Socket => self.sockets += 1,
            Kind::Directory(_) => {}
        }
        Ok(None)
    }
}

/// The tar that is written.
struct TarFile {
    /// The SIF file, for messages.
    path: PathBuf,
    /// The directory of the unnamed file, for messages.
    spool: PathBuf,
    limits: Limits,
    file: File,
    hasher: Hasher,
    size: u64,
    /// The bytes that are not holes.
    data: u64,
}

impl TarFile {
    fn broken(&self, reason: String) -> Error {
        Error::member(&self.path, "the root file system", reason)
    }

    /// Writes a header, after a PAX header for everything that does not fit into it.
    fn entry(
        &mut self,
        path: &[u8],
        kind: EntryType,
        attributes: &Attributes,
        size: u64,
        target: &[u8],
        (major, minor): (u32, u32),
    ) -> Result<()> {
        let name = if kind == EntryType::Directory { [path, b"/"].concat() } else { path.to_vec() };
        let mut records = Vec::new();
        for (key, text) in [("path", &name[..]), ("linkpath", target)] {
            if text.len() > HEADER_NAME {
                record(&mut records, key.as_bytes(), text);
            }
        }
        let numbers = [
            ("uid", u64::from(attributes.uid), u64::from(HEADER_ID)),
            ("gid", u64::from(attributes.gid), u64::from(HEADER_ID)),
            ("size", size, HEADER_SIZE),
        ];
        for (key, number, largest) in numbers {
            if number > largest {
                record(&mut records, key.as_bytes(), number.to_string().as_bytes());
            }
        }
        for (xattr, value) in &attributes.xattrs {
            record(&mut records, &[b"SCHILY.xattr.", &xattr[..]].concat(), value);
        }
        if !records.is_empty() {
            let mut header = Header::new_ustar();
            set_names(&mut header, b"PaxHeaders/entry", b"");
            header.set_entry_type(EntryType::XHeader);
            header.set_mode(0o644);
            header.set_size(records.len() as u64);
            header.set_cksum();
            self.bytes(header.as_bytes())?;
            self.bytes(&records)?;
            self.pad()?;
        }
        let mut header = Header::new_ustar();
        set_names(&mut header, &name, target);
        header.set_entry_type(kind);
        header.set_mode(attributes.mode);
        header.set_uid(u64::from(attributes.uid.min(HEADER_ID)));
        header.set_gid(u64::from(attributes.gid.min(HEADER_ID)));
        header.set_mtime(u64::from(attributes.modified));
        header.set_size(size.min(HEADER_SIZE));
        if matches!(kind, EntryType::Block | EntryType::Char) {
            let set = header.set_device_major(major).and_then(|()| header.set_device_minor(minor));
            set.map_err(|error| self.broken(format!("has a device that a tar cannot have: {error}")))?;
        }
        header.set_cksum();
        self.bytes(header.as_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.count(bytes.len() as u64)?;
        self.data += bytes.len() as u64;
        if self.data > self.limits.max_data {
            return Err(self.too_large(self.limits.max_data));
        }
        self.hasher.update(bytes);
        write_sparse(&self.file, bytes, self.size - bytes.len() as u64)
            .map_err(Error::io("write a temporary file in", &self.spool))
    }

    /// Writes zeros, as a hole.
    fn zeros(&mut self, mut count: usize) -> Result<()> {
        const ZEROS: [u8; 4096] = [0; 4096];
        self.count(count as u64)?;
        while count > 0 {
            let part = count.min(ZEROS.len());
            self.hasher.update(&ZEROS[..part]);
            count -= part;
        }
        Ok(())
    }

    /// Counts bytes, and checks the limit.
    fn count(&mut self, bytes: u64) -> Result<()> {
        self.size += bytes;
        if self.size > self.limits.max_output { Err(self.too_large(self.limits.max_output)) } else { Ok(()) }
    }

    fn too_large(&self, limit: u64) -> Error {
        Error::ArchiveLimit { path: self.path.clone(), what: "the length of the layer", limit }
    }

    fn pad(&mut self) -> Result<()> {
        // Less than a block.
        self.zeros((self.size.next_multiple_of(BLOCK) - self.size) as usize)
    }

    fn finish(self, sockets: u64) -> Result<Layer> {
        // Zeros at the end are a hole, so the length is set explicitly.
        self.file.set_len(self.size).map_err(Error::io("write a temporary file in", &self.spool))?;
        Ok(Layer { file: self.file, size: self.size, digest: self.hasher.finish(), sockets })
    }
}

/// Sets the names of a header, cut off at their fields' ends.
fn set_names(header: &mut Header, name: &[u8], target: &[u8]) {
    let fields = header.as_old_mut();
    for (field, text) in [(&mut fields.name, name), (&mut fields.linkname, target)] {
        let len = text.len().min(HEADER_NAME);
        field[..len].copy_from_slice(&text[..len]);
    }
}

/// Appends a PAX record: its length in decimal digits, which counts itself, a key, and a value.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3; // a space, an equals sign and a newline
    let mut len = rest;
    while rest + len.to_string().len() != len {
        len = rest + len.to_string().len();
    }
    records.extend_from_slice(len.to_string().as_bytes());
    records.extend([b" ", key, b"=", value, b"\n"].concat());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_record_counts_itself() {
        for len in 1..1200 {
            let mut records = Vec::new();
            record(&mut records, b"key", &vec![b'v'; len]);
            let digits = records.split(|byte| *byte == b' ').next().unwrap();
            assert_eq!(String::from_utf8_lossy(digits), records.len().to_string());
        }
    }
}
