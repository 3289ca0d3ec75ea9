//! A layer's tar entry by entry.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::PathBuf;

use vmroot_container_fs::{InodeKind, Timestamp};
use vmroot_export::{Archive, Attributes, EntryHeader, going_on};
use vmroot_output::{Counter, Holes, Meter, display_path};

use crate::{Error, HostEntry, Result};

/// What the names of whiteouts begin with (OCI image-spec, layer.md, "Whiteouts").
pub(super) const WHITEOUT: &[u8] = b".wh.";
/// The name in a directory that hides what lower layers have in it.
pub(super) const OPAQUE: &[u8] = b".wh..wh..opq";

/// Writes a layer's tar: the entries of a directory of this machine, and files that are at hand.
///
/// Paths have no slash in front; the empty one is the root directory. Entries come in the order of the calls, and a
/// later one takes the place of an earlier one with the same path.
pub struct LayerWriter<'m, W> {
    archive: Archive<W>,
    counter: Counter<'m>,
    /// The first path of each inode that has several names.
    first: HashMap<(u64, u64), Vec<u8>>,
    entries: u64,
}

impl<'m, W: Write> LayerWriter<'m, W> {
    /// Begins a tar, sparse as [`TarOptions::sparse`](vmroot_export::TarOptions::sparse) has it; `meter` hears of the bytes of
    /// files, and stops the writer.
    pub fn new(writer: W, sparse: bool, meter: &'m Meter<'m>) -> Self {
        Self { archive: Archive::new(writer, sparse), counter: Counter::new(meter), first: HashMap::new(), entries: 0 }
    }

    /// Adds an entry of a walk under a path of the layer; further names of an inode become hard links to the first. A
    /// socket, for which a tar has no type, is left out: the result is `false`.
    ///
    /// # Errors
    /// [`Error::Stream`] when the writer fails, [`Error::Io`] when the file cannot be read or gets shorter meanwhile;
    /// [`Error::Cancelled`], [`Error::ReservedName`].
    pub fn add(&mut self, path: &[u8], entry: &HostEntry) -> Result<bool> {
        check_name(path, || entry.place.clone())?;
        let kind = entry.attributes.kind;
        if kind == InodeKind::Socket {
            return Ok(false);
        }
        self.entries += 1;
        let mut header = EntryHeader::new(path, &entry.attributes);
        if let Some(inode) = entry.shared {
            if let Some(first) = self.first.get(&inode) {
                header.set_hard_link(first);
                self.archive.entry(header)?;
                return Ok(true);
            }
            self.first.insert(inode, path.to_vec());
        }
        for (name, value) in &entry.xattrs {
            header.set_xattr(name, value);
        }
        match &entry.file {
            Some((file, length)) if *length > 0 => {
                let mut holes = Holes::new(file);
                let read = self.archive.file(header, &mut holes, 0..*length, &mut self.counter)?;
                read.map_err(|error| shorter(error, *length)).map_err(Error::io("read", &entry.place))?;
            }
            _ => {
                if kind == InodeKind::Symlink {
                    header.set_symlink(&entry.target);
                }
                self.archive.entry(header)?;
            }
        }
        Ok(true)
    }

    /// Forgets which inodes were added: what comes next is of another walk, and linked to nothing before.
    pub fn forget_links(&mut self) {
        self.first.clear();
    }

    /// Adds a regular file of root's, from 1970, with these permission bits.
    ///
    /// # Errors
    /// [`Error::Stream`], [`Error::ReservedName`].
    pub fn file(&mut self, path: &[u8], mode: u32, bytes: &[u8]) -> Result<()> {
        check_name(path, || display_path(path))?;
        self.entries += 1;
        Ok(self.archive.bytes(EntryHeader::new(path, &of_root(mode)), bytes)?)
    }

    /// Hides a path of lower layers.
    ///
    /// # Errors
    /// [`Error::Stream`].
    pub fn whiteout(&mut self, path: &[u8]) -> Result<()> {
        let name = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        self.mark(&[&path[..name], WHITEOUT, &path[name..]].concat())
    }

    /// Hides what lower layers have in a directory.
    ///
    /// # Errors
    /// [`Error::Stream`].
    pub fn opaque(&mut self, directory: &[u8]) -> Result<()> {
        let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
        self.mark(&[directory, slash, OPAQUE].concat())
    }

    fn mark(&mut self, path: &[u8]) -> Result<()> {
        self.entries += 1;
        Ok(self.archive.entry(EntryHeader::new(path, &of_root(0)))?)
    }

    /// Entries so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Ends the tar, and gives the writer back after a flush, with the number of bytes.
    ///
    /// # Errors
    /// [`Error::Stream`], [`Error::Cancelled`].
    pub fn finish(mut self) -> Result<(W, u64)> {
        going_on(self.counter.report())?;
        Ok(self.archive.finish()?)
    }
}

/// A layer cannot have a file whose name is that of a whiteout.
fn check_name(path: &[u8], place: impl FnOnce() -> PathBuf) -> Result<()> {
    match path.split(|&byte| byte == b'/').any(|name| name.starts_with(WHITEOUT)) {
        true => Err(Error::ReservedName(place())),
        false => Ok(()),
    }
}

fn of_root(mode: u32) -> Attributes {
    Attributes { kind: InodeKind::Regular, mode, uid: 0, gid: 0, mtime: Timestamp::default(), device: (0, 0) }
}

/// What has become of a file that ends too early.
fn shorter(error: io::Error, length: u64) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), format!("it had {length} bytes and got shorter")),
        _ => error,
    }
}
