//! Paths, as a process whose root directory this is would resolve them (path_resolution(7)).

use bstr::BString;
use vmroot_layer_index::{InodeId, InodeKind};

use crate::{ContainerFs, Error, Result};

/// How many symbolic links a path may lead through, as in Linux (`MAXSYMLINKS`).
const MAX_LINKS: u32 = 40;

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The absolute path without links, `.` and `..`: `/` and names.
    pub path: Vec<u8>,
    /// The inode.
    pub ino: InodeId,
}

impl ContainerFs {
    /// Resolves a path, following every symbolic link. Absolute targets start at the image's root, and `..` at the root
    /// stays there: no path leads out of the image.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotADirectory`] and [`Error::TooManyLinks`] after 40 links, with the path.
    pub fn resolve_path(&self, path: &[u8]) -> Result<Resolved> {
        self.walk_path(path, true)
    }

    /// Resolves a path like [`Self::resolve_path`], but a symbolic link at its end stays one, unless a slash follows.
    ///
    /// # Errors
    /// The same.
    pub fn resolve_link(&self, path: &[u8]) -> Result<Resolved> {
        self.walk_path(path, path.ends_with(b"/"))
    }

    fn walk_path(&self, path: &[u8], follow_last: bool) -> Result<Resolved> {
        let whole = || BString::from(path);
        // Each directory from the root to here with the length of its path.
        let mut trail = vec![(InodeId::ROOT, 0)];
        let mut resolved: Vec<u8> = Vec::new();
        let mut ahead: Vec<&[u8]> = path.split(|&byte| byte == b'/').rev().collect();
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            let (here, length) = *trail.last().expect("the root is never left");
            // `file/`, `file/.` and `file/..` need a directory as much as `file/name` does.
            if self.inode(here).kind() != InodeKind::Directory {
                return Err(Error::NotADirectory(whole()));
            }
            match name {
                b"" | b"." => continue,
                b".." => {
                    if trail.len() > 1 {
                        trail.pop();
                        resolved.truncate(trail.last().expect("the root is never left").1);
                    }
                    continue;
                }
                _ => {}
            }
            let ino = self.lookup(here, name).map_err(|_| Error::NotFound(whole()))?;
            let inode = self.inode(ino);
            if inode.kind() == InodeKind::Symlink && (follow_last || !ahead.is_empty()) {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Error::TooManyLinks(whole()));
                }
                let target = inode.link_target();
                if target.starts_with(b"/") {
                    trail.truncate(1);
                }
                resolved.truncate(if trail.len() == 1 { 0 } else { length });
                ahead.extend(target.split(|&byte| byte == b'/').rev());
                continue;
            }
            resolved.push(b'/');
            resolved.extend_from_slice(name);
            trail.push((ino, resolved.len()));
        }
        if resolved.is_empty() {
            resolved.push(b'/');
        }
        let (ino, _) = *trail.last().expect("the root is never left");
        Ok(Resolved { path: resolved, ino })
    }
}
