//! The path of the root that is copied.

use vmroot_container_fs::{ContainerFs, InodeId, InodeKind};

use crate::Result;

/// The inode that is copied, and its name.
pub(super) struct Source {
    pub(super) ino: InodeId,
    pub(super) kind: InodeKind,
    /// The name of a copy in a directory. It is empty for the root of the image.
    pub(super) name: Vec<u8>,
    /// Whether the path asks for the entries of a directory instead of the directory: `DIRECTORY/.`, or the root.
    pub(super) is_entries_only: bool,
    /// The absolute path without symbolic links.
    resolved: Vec<u8>,
}

impl Source {
    /// Resolves a path. A link at its end is followed if `follow_link` is set, or if a slash follows it.
    pub(super) fn find(fs: &ContainerFs, path: &[u8], follow_link: bool) -> Result<Self> {
        let found = if follow_link { fs.resolve_path(path)? } else { fs.resolve_link(path)? };
        let written = last_name(path);
        let name = match written {
            b"" | b"." | b".." => last_name(&found.path),
            name => name,
        };
        Ok(Self {
            ino: found.ino,
            kind: fs.stat(found.ino).kind,
            name: name.to_owned(),
            is_entries_only: written == b"." || found.ino == InodeId::ROOT,
            resolved: found.path,
        })
    }

    /// Returns the last name of the path without symbolic links.
    pub(super) fn name_of_target(&self) -> &[u8] {
        last_name(&self.resolved)
    }

    pub(super) fn is_directory(&self) -> bool {
        self.kind == InodeKind::Directory
    }
}

/// Returns the last name of a path, without slashes at its end.
fn last_name(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    path[..end].rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}
