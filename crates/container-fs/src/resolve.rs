//! Resolving paths as in a process with this root directory (path_resolution(7)).

use bstr::BString;
use vmroot_layer_index::{InodeId, InodeKind};

use crate::{ContainerFs, Error, Result};

/// The largest number of symbolic links in a path, as in Linux (`MAXSYMLINKS`).
const MAX_LINKS: u32 = 40;

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
        // The directories from the root to the current one, each with the length of its path.
        let mut trail = vec![(InodeId::ROOT, 0)];
        let mut resolved: Vec<u8> = Vec::new();
        let mut remaining: Vec<&[u8]> = path.split(|&byte| byte == b'/').rev().collect();
        let mut links = 0;
        while let Some(name) = remaining.pop() {
            let (current, length) = *trail.last().expect("the trail contains the root");
            // `file/`, `file/.` and `file/..` are errors just like `file/name`.
            if self.inode(current).kind() != InodeKind::Directory {
                return Err(Error::NotADirectory(whole()));
            }
            match name {
                b"" | b"." => continue,
                b".." => {
                    if trail.len() > 1 {
                        trail.pop();
                        resolved.truncate(trail.last().expect("the trail contains the root").1);
                    }
                    continue;
                }
                _ => {}
            }
            let ino = self.lookup(current, name).map_err(|_| Error::NotFound(whole()))?;
            let inode = self.inode(ino);
            if inode.kind() == InodeKind::Symlink && (follow_last || !remaining.is_empty()) {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Error::TooManyLinks(whole()));
                }
                let target = inode.link_target();
                if target.starts_with(b"/") {
                    trail.truncate(1);
                }
                resolved.truncate(if trail.len() == 1 { 0 } else { length });
                remaining.extend(target.split(|&byte| byte == b'/').rev());
                continue;
            }
            resolved.push(b'/');
            resolved.extend_from_slice(name);
            trail.push((ino, resolved.len()));
        }
        if resolved.is_empty() {
            resolved.push(b'/');
        }
        let (ino, _) = *trail.last().expect("the trail contains the root");
        Ok(Resolved { path: resolved, ino })
    }
}
