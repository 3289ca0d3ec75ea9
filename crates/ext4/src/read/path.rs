//! Looking up paths.

use super::{DirectoryEntry, Ext4Reader, Inode, ReadAt, ReadError, ReadResult};
use crate::format::ROOT_INODE;

/// The most symbolic links on a path, as in the kernel.
const DISK_LINKS_LIMIT: usize = 40;
/// The longest path in bytes, with the targets of its links.
const DISK_PATH_LIMIT: usize = 64 << 10;

impl<R: ReadAt> Ext4Reader<R> {
    /// Returns the inode of a name in a directory.
    ///
    /// # Errors
    /// The errors of [`Self::read_directory`] and [`Self::inode`].
    pub fn lookup(&self, directory: &Inode, name: &[u8]) -> ReadResult<Option<Inode>> {
        let entries = self.read_directory(directory)?;
        let found = entries.binary_search_by(|entry: &DirectoryEntry| entry.name.as_slice().cmp(name)).ok();
        found.map(|index| self.inode(entries[index].inode)).transpose()
    }

    /// Returns the inode at a path from the root of the disk. Symbolic links are followed within the disk, the last one
    /// only if `follow` is true.
    ///
    /// # Errors
    /// - [`ReadError::NotFound`]: there is no such entry.
    /// - [`ReadError::WrongKind`]: an entry on the path is not a directory, or there are too many links.
    /// - The errors of [`Self::read_directory`], [`Self::inode`] and [`Self::link_target`].
    pub fn resolve(&self, path: &[u8], follow: bool) -> ReadResult<Inode> {
        let mut parents = vec![self.inode(ROOT_INODE)?];
        // The names still to visit, in reverse order.
        let mut names: Vec<Vec<u8>> = names_of(path).collect();
        let (mut links, mut length) = (0, path.len());
        while let Some(name) = names.pop() {
            if name == b".." {
                // The root is its own parent.
                if parents.len() > 1 {
                    parents.pop();
                }
                continue;
            }
            let here = parents.last().expect("the root stays");
            if !here.is_directory() {
                return Err(ReadError::WrongKind { path: path.into(), what: "a name before the last is no directory" });
            }
            let found = self.lookup(here, &name)?.ok_or_else(|| ReadError::NotFound(path.into()))?;
            if found.kind() != vmroot_container_fs::InodeKind::Symlink || names.is_empty() && !follow {
                parents.push(found);
                continue;
            }
            let target = self.link_target(&found)?;
            links += 1;
            length += target.len();
            if links > DISK_LINKS_LIMIT || length > DISK_PATH_LIMIT {
                return Err(ReadError::WrongKind { path: path.into(), what: "too many symbolic links" });
            }
            if target.starts_with(b"/") {
                parents.truncate(1);
            }
            names.extend(names_of(&target));
        }
        Ok(parents.pop().expect("the root stays"))
    }
}

/// Returns the names of a path, last one first, without empty ones and `.`.
fn names_of(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    names.rev().map(<[u8]>::to_vec)
}
