//! Writing a layer's tar entry by entry.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::PathBuf;

use vmroot_container_fs::{Device, InodeKind, Timestamp};
use vmroot_export::{Archive, Attributes, EntryHeader};
use vmroot_output::{Counter, Meter, display_path};

use crate::{Error, Result, SharedInode, TreeEntry, TreeFile};

/// The prefix of the names of whiteouts (OCI image-spec, layer.md, "Whiteouts").
pub(super) const WHITEOUT: &[u8] = b".wh.";
/// The name of the entry that makes its directory opaque.
pub(super) const OPAQUE: &[u8] = b".wh..wh..opq";

/// The most bytes of paths of files with several names. They are in memory, because further names refer to them.
pub(crate) const SHARED_PATHS_LIMIT: usize = 256 << 20;

/// Writes a layer's tar from entries of a [`Tree`](crate::Tree) and from files in memory.
///
/// Paths have no leading slash. The empty path is the root directory. Entries are written in the order of the calls,
/// and a later entry replaces an earlier one with the same path.
#[derive(Debug)]
pub struct LayerWriter<'m> {
    archive: Archive<'m>,
    counter: Counter<'m>,
    /// The first path of each inode with several names.
    first_paths: HashMap<SharedInode, Vec<u8>>,
    /// The bytes of these paths.
    first_paths_length: usize,
}

impl<'m> LayerWriter<'m> {
    /// Creates a writer. `meter` counts the bytes of files and may cancel.
    pub fn new(writer: &'m mut dyn Write, meter: &'m Meter<'m>) -> Self {
        Self {
            archive: Archive::new(writer),
            counter: Counter::new(meter),
            first_paths: HashMap::new(),
            first_paths_length: 0,
        }
    }

    /// Sets whether large holes are left out, as [`TarOptions::sparse`](vmroot_export::TarOptions::sparse).
    #[must_use]
    pub fn sparse(self, sparse: bool) -> Self {
        Self { archive: self.archive.sparse(sparse), ..self }
    }

    /// Adds an entry of a walk at `path` in the layer. Further names of an inode become hard links to the first.
    /// Returns `false` for a socket, which is left out because a tar cannot hold it.
    ///
    /// # Errors
    /// - [`Error::Export`]: the writer failed.
    /// - [`Error::Io`]: the file cannot be read, or it got shorter.
    /// - [`Error::ReservedName`]: a name in `path` begins with `.wh.`.
    /// - [`Error::Limit`]: there are too many files with several names.
    /// - [`Error::Cancelled`]: the meter cancelled.
    pub fn add<F: TreeFile>(&mut self, path: &[u8], entry: &TreeEntry<F>) -> Result<bool> {
        reject_whiteout_name(path, || entry.shown_path.clone())?;
        let kind = entry.attributes.kind;
        if kind == InodeKind::Socket {
            return Ok(false);
        }
        let mut header = EntryHeader::new(path, &entry.attributes);
        if let Some(inode) = entry.shared {
            if let Some(first) = self.first_paths.get(&inode) {
                header.set_hard_link(first);
                self.archive.add_entry(header)?;
                return Ok(true);
            }
            self.first_paths_length += path.len();
            if self.first_paths_length > SHARED_PATHS_LIMIT {
                return Err(Error::shared_paths());
            }
            self.first_paths.insert(inode, path.to_vec());
        }
        for (name, value) in &entry.xattrs {
            header.set_xattr(name, value);
        }
        match &entry.file {
            Some(file) if file.length() > 0 => {
                let length = file.length();
                let unreadable = |error| -> Error {
                    let error = explain_early_end(error, length);
                    vmroot_output::Error::on("read", &entry.shown_path)(error).into()
                };
                let mut source = file.open().map_err(unreadable)?;
                self.archive.add_file(header, &mut *source, 0..length, &mut self.counter, unreadable)?;
            }
            _ => {
                if kind == InodeKind::Symlink {
                    header.set_symlink(&entry.target);
                }
                self.archive.add_entry(header)?;
            }
        }
        Ok(true)
    }

    /// Clears the list of inodes added so far, so that entries of the next walk do not become hard links to them.
    pub fn clear_links(&mut self) {
        self.first_paths.clear();
        self.first_paths_length = 0;
    }

    /// Adds a regular file with the permission bits `mode`. Its owner is root, and its time is the Unix epoch.
    ///
    /// # Errors
    /// - [`Error::Export`]: the writer failed.
    /// - [`Error::ReservedName`]: a name in `path` begins with `.wh.`.
    pub fn add_file(&mut self, path: &[u8], mode: u32, bytes: &[u8]) -> Result<()> {
        reject_whiteout_name(path, || display_path(path))?;
        Ok(self.archive.add_bytes(EntryHeader::new(path, &root_owned(mode)), bytes)?)
    }

    /// Adds a whiteout, which hides `path` of lower layers.
    ///
    /// # Errors
    /// [`Error::Export`]: the writer failed.
    pub fn add_whiteout(&mut self, path: &[u8]) -> Result<()> {
        let name = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        self.add_mark(&[&path[..name], WHITEOUT, &path[name..]].concat())
    }

    /// Makes a directory opaque, which hides its entries in lower layers.
    ///
    /// # Errors
    /// [`Error::Export`]: the writer failed.
    pub fn add_opaque_mark(&mut self, directory: &[u8]) -> Result<()> {
        let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
        self.add_mark(&[directory, slash, OPAQUE].concat())
    }

    fn add_mark(&mut self, path: &[u8]) -> Result<()> {
        Ok(self.archive.add_entry(EntryHeader::new(path, &root_owned(0)))?)
    }

    /// Ends the tar, and flushes the writer.
    ///
    /// # Errors
    /// - [`Error::Export`]: the writer failed.
    /// - [`Error::Cancelled`]: the meter cancelled.
    pub fn finish(mut self) -> Result<()> {
        self.counter.report()?;
        Ok(self.archive.finish()?)
    }
}

/// Rejects names that mean a whiteout in a layer.
fn reject_whiteout_name(path: &[u8], host_path: impl FnOnce() -> PathBuf) -> Result<()> {
    match path.split(|&byte| byte == b'/').any(|name| name.starts_with(WHITEOUT)) {
        true => Err(Error::ReservedName(host_path())),
        false => Ok(()),
    }
}

fn root_owned(mode: u32) -> Attributes {
    Attributes {
        kind: InodeKind::Regular,
        mode,
        uid: 0,
        gid: 0,
        mtime: Timestamp::default(),
        device: Device::default(),
    }
}

/// Explains the end of a file that got shorter during the export.
fn explain_early_end(error: io::Error, length: u64) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), format!("it had {length} bytes and got shorter")),
        _ => error,
    }
}
