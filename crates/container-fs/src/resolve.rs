//! Resolving paths as in a process with this root directory (path_resolution(7)).

use bstr::BString;
use vmroot_layer_index::{InodeId, InodeKind};
use vmroot_model::PathWalk;

use crate::{ContainerFs, Error, Result};

/// A resolved path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The absolute path, without symbolic links, `.` and `..`.
    pub path: Vec<u8>,
    /// The inode at the path.
    pub ino: InodeId,
}

impl ContainerFs {
    /// Resolves a path, and follows all symbolic links.
    ///
    /// Absolute targets start at the root of the image, and `..` in the root stays in the root, so no path leaves the
    /// image. A relative path starts at the root as well.
    ///
    /// # Errors
    /// Each error has the path.
    /// - [`Error::NotFound`] when a name does not exist.
    /// - [`Error::NotADirectory`] when the path continues after an inode that is not a directory.
    /// - [`Error::TooManyLinks`] for more than 40 symbolic links.
    pub fn resolve_path(&self, path: &[u8]) -> Result<Resolved> {
        self.resolve(path, true)
    }

    /// Resolves a path like [`Self::resolve_path`], but does not follow a symbolic link at the end of the path, unless
    /// a slash follows it.
    ///
    /// # Errors
    /// The errors of [`Self::resolve_path`].
    pub fn resolve_link(&self, path: &[u8]) -> Result<Resolved> {
        self.resolve(path, path.ends_with(b"/"))
    }

    fn resolve(&self, path: &[u8], follow_last: bool) -> Result<Resolved> {
        let whole = || BString::from(path);
        let mut resolved: Vec<u8> = Vec::new();
        // Each directory has the length of its path.
        let mut walk = PathWalk::new((InodeId::ROOT, 0), path);
        while let Some(step) = walk.next() {
            let (directory, length) = *step.directory;
            let ino = self.lookup(directory, step.name).map_err(|_| Error::NotFound(whole()))?;
            let inode = self.inode(ino);
            match inode.kind() {
                InodeKind::Directory => {}
                InodeKind::Symlink if follow_last || !step.is_last() => {
                    walk.follow(inode.link_target()).map_err(|_| Error::TooManyLinks(whole()))?;
                    continue;
                }
                // `file/`, `file/.` and `file/..` are errors just like `file/name`.
                _ if !step.is_last() => return Err(Error::NotADirectory(whole())),
                _ => {}
            }
            resolved.truncate(length);
            resolved.push(b'/');
            resolved.extend_from_slice(step.name);
            walk.enter((ino, resolved.len()));
        }
        let (ino, length) = *walk.current();
        resolved.truncate(length);
        if resolved.is_empty() {
            resolved.push(b'/');
        }
        Ok(Resolved { path: resolved, ino })
    }
}
