//! Warnings about layers on top.

use std::fmt;
use std::path::{Path, PathBuf};

use bstr::{BStr, BString};
use vmroot_container_fs::{ContainerFs, InodeId, InodeKind};
use vmroot_layer_index::{DirentKind, Index, InodeId as LayerInode, Target};

/// A probable mistake in a layer. The layer is applied nevertheless.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopWarning {
    /// A directory of a layer replaces a symbolic link or a file, as in `lib/modules` over `/lib -> usr/lib`.
    /// [`Addition::Copy`](crate::Addition::Copy) follows links instead.
    Replaced(Replacement),
    /// A directory has overlayfs whiteouts, and this process cannot read which of its directories are opaque. Files
    /// that were deleted together with a directory reappear.
    UnseenMarks {
        /// The directory.
        layer: PathBuf,
    },
}

/// A directory of a layer that replaces a link or a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// The layer: a directory or a tar.
    pub layer: PathBuf,
    /// The path in the image, without a leading slash.
    pub path: BString,
    /// The target of the replaced link, or `None` for another file.
    pub target: Option<BString>,
    /// The number of names that the link led to and that the new directory lacks.
    pub unreachable: usize,
    /// The first of these names, at most [`Self::NAMED`].
    pub names: Vec<BString>,
}

/// The most warnings for one layer. Further ones are dropped.
const MAX_WARNINGS: usize = 100;

impl Replacement {
    /// The most names that are listed.
    pub const NAMED: usize = 3;
}

/// Returns a warning for each directory of the layer that replaces a link or a file of `below`. `above` is the same
/// root with the layer. Opaque directories are skipped, because they are meant to hide the entries below.
pub(super) fn find_replacements(
    layer: &Path,
    index: &Index,
    below: &ContainerFs,
    above: &ContainerFs,
) -> Vec<TopWarning> {
    let mut warnings = Vec::new();
    let mut open = vec![(LayerInode::ROOT, InodeId::ROOT, Vec::new())];
    while let Some((directory, directory_below, path)) = open.pop() {
        for child in index.children(directory, 0) {
            let (DirentKind::Inode(InodeKind::Directory), Target::Inode(inode)) = (child.kind, child.target) else {
                continue;
            };
            let Ok(ino) = below.lookup(directory_below, child.name) else { continue };
            if index.inode(inode).is_opaque() {
                continue;
            }
            let path = super::place::join(&path, child.name);
            if below.stat(ino).kind == InodeKind::Directory {
                open.push((inode, ino, path));
                continue;
            }
            if warnings.len() == MAX_WARNINGS {
                return warnings;
            }
            warnings.extend(describe(layer, &path, ino, below, above).map(TopWarning::Replaced));
        }
    }
    warnings
}

fn describe(layer: &Path, path: &[u8], ino: InodeId, below: &ContainerFs, above: &ContainerFs) -> Option<Replacement> {
    let now = above.resolve_link(path).ok()?.ino;
    if above.stat(now).kind != InodeKind::Directory {
        return None;
    }
    let target = below.readlink(ino).ok().map(BString::from);
    let led_to = below.resolve_path(path).ok().map(|resolved| resolved.ino);
    let names = led_to.and_then(|ino| below.readdir(ino, 0).ok()).into_iter().flatten().map(|entry| entry.name);
    let lost: Vec<_> = names.filter(|name| above.lookup(now, name).is_err()).collect();
    Some(Replacement {
        layer: layer.to_owned(),
        path: path.into(),
        target,
        unreachable: lost.len(),
        names: lost.into_iter().take(Replacement::NAMED).map(BString::from).collect(),
    })
}

impl fmt::Display for TopWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replaced(replaced) => replaced.fmt(f),
            Self::UnseenMarks { layer } => write!(
                f,
                "{}: has an overlay's whiteouts, but only root can read which of its directories are opaque \
                 (trusted.overlay.*): files that were deleted with a directory come back",
                layer.display()
            ),
        }
    }
}

impl fmt::Display for Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layer = self.layer.display();
        let path = BStr::new(&self.path);
        let Some(target) = &self.target else {
            return write!(f, "{layer}: its directory /{path} replaces the file /{path}");
        };
        write!(f, "{layer}: its directory /{path} replaces the link /{path} -> {target}")?;
        if self.unreachable > 0 {
            let names: Vec<_> = self.names.iter().map(|name| format!("/{path}/{name}")).collect();
            write!(f, ", so {}", names.join(", "))?;
            match self.unreachable - names.len() {
                0 => {}
                more => write!(f, " and {more} more names")?,
            }
            write!(f, " can no longer be reached")?;
        }
        // A tar must be unpacked first.
        let source = if self.layer.is_dir() { layer.to_string() } else { "DIR".to_owned() };
        write!(f, "; --add {source}/.:/ follows links instead")
    }
}
