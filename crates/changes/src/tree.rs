//! A tree of files that becomes a layer: a directory of this machine, or one of a disk.

use std::io;
use std::path::PathBuf;

use vmroot_export::Attributes;
use vmroot_output::SparseRead;

use crate::Result;

/// A walk over a tree. The start comes first, directories come before their entries, and siblings are in byte order.
pub trait Tree: Iterator<Item = Result<TreeEntry<Self::File>>> {
    /// The regular files of the tree.
    type File: TreeFile;

    /// Skips the entries of the directory that was returned last.
    fn skip_directory(&mut self);
}

/// An entry of a [`Tree`].
#[derive(Debug)]
pub struct TreeEntry<F> {
    /// The path relative to the start, without a leading slash. Empty for the start.
    pub path: Vec<u8>,
    /// The path for messages: on this machine, or `DISK:/PATH`.
    pub shown_path: PathBuf,
    /// Kind, mode, owner, time and device number.
    pub attributes: Attributes,
    /// The xattrs, sorted by name: `user.*`, `trusted.*`, `security.*` and access control lists, without the labels and
    /// signatures of a machine's security modules.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The contents of a regular file.
    pub file: Option<F>,
    /// The target of a symbolic link. Empty for other kinds.
    pub target: Vec<u8>,
    /// The inode, if it has more than one name, inside or outside the tree.
    pub shared: Option<SharedInode>,
}

/// The contents of a regular file of a [`Tree`].
pub trait TreeFile {
    /// Returns the length in bytes.
    fn length(&self) -> u64;

    /// Opens the file for reading.
    ///
    /// # Errors
    /// The error of the file.
    fn open(&self) -> io::Result<Box<dyn SparseRead + '_>>;
}

/// The identity of an inode with several names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SharedInode {
    /// The number of its file system, `st_dev` of stat(2). 0 on a disk.
    pub device: u64,
    /// Its number there, `st_ino`.
    pub inode: u64,
}

impl<F> TreeEntry<F> {
    /// Returns the last name of the path. Empty for the start.
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
    }

    /// Returns the path of the directory with the entry. Empty for the start and its entries.
    pub fn parent(&self) -> &[u8] {
        self.path.iter().rposition(|&byte| byte == b'/').map_or(&b""[..], |slash| &self.path[..slash])
    }
}

/// Returns true for xattrs that are copied to another machine.
///
/// The others belong to file systems (`btrfs.*`, `system.nfs4_acl`) or are labels of one machine's security modules.
pub(crate) fn is_portable(name: &[u8]) -> bool {
    const NOT_PORTABLE: [&[u8]; 3] = [b"security.selinux", b"security.SMACK64", b"security.evm"];
    let prefixes = [&b"user."[..], b"trusted.", b"security.", b"system.posix_acl_"];
    prefixes.iter().any(|prefix| name.starts_with(prefix)) && !NOT_PORTABLE.iter().any(|other| name.starts_with(other))
}
