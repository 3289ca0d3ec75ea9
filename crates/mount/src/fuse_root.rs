//! A root in the terms of the FUSE protocol.

use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use vmroot_container_fs::{ContainerFs, Error, InodeId};

use crate::{Attributes, DirectoryEntry, FileSystemSize, XattrReply};

/// The time for which the kernel may cache names, including missing ones, and attributes: a year. The root never
/// changes.
pub const TTL: Duration = Duration::from_secs(365 * 24 * 3600);

/// The names at the offsets 0 and 1 of a directory. Later offsets are cookies of [`ContainerFs::readdir`], plus two.
const DOTS: [&[u8]; 2] = [b".", b".."];

/// The prefix of the xattrs that hold POSIX access control lists (acl(5)).
const ACL_PREFIX: &[u8] = b"system.posix_acl_";

/// The largest length of a name in bytes.
const MAX_NAME: u32 = 255;

/// A root in the terms of the FUSE protocol. Errors are those of system calls.
#[derive(Debug, Clone)]
pub struct FuseRoot {
    root: Arc<ContainerFs>,
}

impl FuseRoot {
    /// Wraps a root.
    pub fn new(root: Arc<ContainerFs>) -> Self {
        Self { root }
    }

    /// Returns the root.
    pub fn root(&self) -> &ContainerFs {
        &self.root
    }

    /// Returns the inode with a number. The other side may send any number.
    ///
    /// # Errors
    /// `ESTALE` for a number that no inode has.
    pub fn inode(&self, number: u64) -> Result<InodeId, Errno> {
        number.checked_sub(1).and_then(|number| self.root.inode_id(number)).ok_or(Errno::STALE)
    }

    /// Returns whether the other side has to check access control lists.
    ///
    /// This takes time linear in the number of inodes.
    pub fn has_access_lists(&self) -> bool {
        self.root.any_has_xattr(ACL_PREFIX)
    }

    /// Returns the attributes of an inode.
    pub fn attributes(&self, ino: InodeId) -> Attributes {
        self.root.stat(ino).into()
    }

    /// Returns the attributes of the inode with a name, or `None` if there is none.
    ///
    /// # Errors
    /// - `ESTALE` for a number that no inode has.
    /// - `ENOTDIR` if `directory` is not a directory.
    pub fn lookup(&self, directory: u64, name: &[u8]) -> Result<Option<Attributes>, Errno> {
        match self.root.lookup(self.inode(directory)?, name) {
            Ok(ino) => Ok(Some(self.attributes(ino))),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error.errno()),
        }
    }

    /// Returns the target of a symbolic link.
    ///
    /// # Errors
    /// - `ESTALE` for a number that no inode has.
    /// - `EINVAL` for other inodes.
    pub fn readlink(&self, link: u64) -> Result<&[u8], Errno> {
        self.root.readlink(self.inode(link)?).map_err(|error| error.errno())
    }

    /// Returns the entries of a directory from `offset` on: `.`, `..`, then the names in byte order.
    ///
    /// `.` and `..` both have the inode of the directory. The kernel ignores it.
    ///
    /// # Errors
    /// - `ESTALE` for a number that no inode has.
    /// - `ENOTDIR` if `directory` is not a directory.
    pub fn entries(&self, directory: u64, offset: u64) -> Result<impl Iterator<Item = DirectoryEntry<'_>>, Errno> {
        let directory = self.inode(directory)?;
        let dots = DOTS.len() as u64;
        let entries = self.root.readdir(directory, offset.saturating_sub(dots)).map_err(|error| error.errno())?;
        let entries = entries.map(move |entry| DirectoryEntry {
            name: entry.name,
            ino: entry.ino,
            kind: entry.kind,
            next: entry.next + dots,
        });
        let kind = self.root.stat(directory).kind;
        let dotted = (1..=dots).zip(DOTS).skip(offset.min(dots) as usize);
        Ok(dotted.map(move |(next, name)| DirectoryEntry { name, ino: directory, kind, next }).chain(entries))
    }

    /// Returns the value of an xattr, for a caller with a buffer of `size` bytes.
    ///
    /// # Errors
    /// - `ESTALE` for a number that no inode has.
    /// - `ENODATA` if the inode has no such xattr.
    /// - `ERANGE` if the value is larger than a `size` other than 0.
    pub fn xattr(&self, number: u64, name: &[u8], size: u32) -> Result<XattrReply<&[u8]>, Errno> {
        let value = self.root.xattr(self.inode(number)?, name).ok_or(Errno::NODATA)?;
        XattrReply::new(value, size)
    }

    /// Returns the names of all xattrs, each with a NUL byte, for a caller with a buffer of `size` bytes.
    ///
    /// # Errors
    /// - `ESTALE` for a number that no inode has.
    /// - `ERANGE` if the names are longer than a `size` other than 0.
    pub fn xattr_names(&self, number: u64, size: u32) -> Result<XattrReply<Vec<u8>>, Errno> {
        let xattrs = self.root.xattrs(self.inode(number)?);
        let names = xattrs.flat_map(|(name, _)| [name, b"\0"]).collect::<Vec<_>>().concat();
        XattrReply::new(names, size)
    }

    /// Returns the size of the root.
    pub fn size(&self) -> FileSystemSize {
        let size = self.root.statfs();
        FileSystemSize {
            block_size: size.block_size as u32,
            blocks: size.blocks,
            inodes: size.inodes,
            max_name: MAX_NAME,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use vmroot_container_fs::InodeKind;
    use vmroot_layer_index::{BuildOptions, Index, build, merge};
    use vmroot_testkit::layer::{Encoding, Entry, Layer};

    use super::*;

    fn root(entries: impl IntoIterator<Item = Entry>) -> FuseRoot {
        let directory = tempfile::tempdir().unwrap();
        let tar = Layer::new(entries).to_tar(&Encoding::default());
        let built = build(tar.as_slice(), directory.path(), &BuildOptions::default()).unwrap();
        let layer = Index::open(&built.publish().unwrap()).unwrap();
        let root = directory.path().join("root.idx");
        merge(None, &[&layer], layer.identity(), File::create(&root).unwrap()).unwrap();
        let contents = |diff_id: &_| directory.path().join(format!("{diff_id}.contents").replace("sha256:", ""));
        FuseRoot::new(Arc::new(ContainerFs::open_files(&root, &contents).unwrap()))
    }

    #[test]
    fn unknown_numbers_are_stale() {
        let root = root([Entry::file("file", "")]);
        assert_eq!(root.inode(1), Ok(InodeId::ROOT));
        assert_eq!(root.inode(2), Ok(InodeId(1)));
        for unknown in [0, 3, 1 << 32, (1 << 32) + 1, u64::MAX] {
            assert_eq!(root.inode(unknown), Err(Errno::STALE));
            assert_eq!(root.lookup(unknown, b"file"), Err(Errno::STALE));
            assert_eq!(root.readlink(unknown), Err(Errno::STALE));
            assert_eq!(root.entries(unknown, 0).err(), Some(Errno::STALE));
            assert_eq!(root.xattr(unknown, b"user.a", 0), Err(Errno::STALE));
            assert_eq!(root.xattr_names(unknown, 0), Err(Errno::STALE));
        }
    }

    #[test]
    fn errors_are_those_of_system_calls() {
        let root = root([Entry::file("file", "")]);
        assert_eq!(root.lookup(2, b"x"), Err(Errno::NOTDIR));
        assert_eq!(root.entries(2, 0).err(), Some(Errno::NOTDIR));
        assert_eq!(root.readlink(2), Err(Errno::INVAL));
        assert_eq!(root.xattr(2, b"user.a", 0), Err(Errno::NODATA));
        assert_eq!(root.lookup(1, b"x"), Ok(None));
        assert_eq!(root.lookup(1, b"file").unwrap().unwrap().number, 2);
    }

    #[test]
    fn a_directory_is_listed_from_every_offset() {
        let root = root([Entry::file("file", "")]);
        let listed: Vec<_> = root.entries(1, 0).unwrap().map(|entry| (entry.name, entry.next)).collect();
        assert_eq!(listed, [(&b"."[..], 1), (b"..", 2), (b"file", 3)]);
        for (offset, count) in [(0, 3), (1, 2), (2, 1), (3, 0), (u64::MAX, 0)] {
            assert_eq!(root.entries(1, offset).unwrap().count(), count, "from {offset}");
        }
    }

    #[test]
    fn types_of_entries_are_those_of_their_modes() {
        let root = root([
            Entry::file("file", ""),
            Entry::directory("directory"),
            Entry::symlink("link", "file"),
            Entry::char_device("character", 1, 3),
            Entry::block_device("block", 8, 1),
            Entry::fifo("fifo"),
        ]);
        for entry in root.entries(1, 0).unwrap() {
            assert_eq!(entry.dirent_type(), root.attributes(entry.ino).mode >> 12, "{entry:?}");
        }
        assert!(root.entries(1, 2).unwrap().any(|entry| entry.kind == InodeKind::Symlink));
        assert!(!root.has_access_lists());
    }
}
