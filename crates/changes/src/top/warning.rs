//! What a layer does that its maker may not have meant.

use std::fmt;
use std::path::{Path, PathBuf};

use bstr::{BStr, BString};
use vmroot_container_fs::{ContainerFs, InodeId, InodeKind};
use vmroot_layer_index::{DirentKind, Index, InodeId as LayerInode, Target};

/// What a layer does that its maker may not have meant. The layer is on top all the same, with its own meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopWarning {
    /// A directory of a layer takes the place of a symbolic link, as in `lib/modules` over `/lib -> usr/lib`, or of
    /// another file. [`Addition::Copy`](crate::Addition::Copy) follows links instead.
    Replaced(Replaced),
    /// A directory has an overlay's whiteouts, and this process does not see which of its directories are opaque: what
    /// was deleted with a directory comes back.
    UnseenMarks {
        /// The directory.
        layer: PathBuf,
    },
}

/// A directory of a layer in the place of something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The layer: a directory or a tar.
    pub layer: PathBuf,
    /// The path in the image, without a slash in front.
    pub path: BString,
    /// The target of the link that was there; nothing if it was another file.
    pub target: Option<BString>,
    /// How many names the link led to that are not in the new directory.
    pub unreachable: usize,
    /// The first of these names, up to [`Self::NAMED`].
    pub names: Vec<BString>,
}

/// Warnings of one layer; there are no further ones.
const MAX_WARNINGS: usize = 100;

impl Replaced {
    /// Names that are listed.
    pub const NAMED: usize = 3;
}

/// What the directories of a layer replace that is no directory `below`; `above` is the same root with the layer. A
/// directory that the layer makes opaque is meant to hide what was there.
pub(super) fn replaced(layer: &Path, index: &Index, below: &ContainerFs, above: &ContainerFs) -> Vec<TopWarning> {
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
            warnings.extend(replacement(layer, &path, ino, below, above).map(TopWarning::Replaced));
        }
    }
    warnings
}

fn replacement(layer: &Path, path: &[u8], ino: InodeId, below: &ContainerFs, above: &ContainerFs) -> Option<Replaced> {
    let now = above.resolve_link(path).ok()?.ino;
    if above.stat(now).kind != InodeKind::Directory {
        return None;
    }
    let target = below.readlink(ino).ok().map(BString::from);
    let led_to = below.resolve_path(path).ok().map(|resolved| resolved.ino);
    let names = led_to.and_then(|ino| below.readdir(ino, 0).ok()).into_iter().flatten().map(|entry| entry.name);
    let lost: Vec<_> = names.filter(|name| above.lookup(now, name).is_err()).collect();
    Some(Replaced {
        layer: layer.to_owned(),
        path: path.into(),
        target,
        unreachable: lost.len(),
        names: lost.into_iter().take(Replaced::NAMED).map(BString::from).collect(),
    })
}

impl fmt::Display for TopWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replaced(replaced) => replaced.fmt(f),
            Self::UnseenMarks { layer } => write!(
                f,
                "{}: has an overlay's whiteouts, but only root sees which of its directories are opaque \
                 (trusted.overlay.*): files that were deleted with a directory come back",
                layer.display()
            ),
        }
    }
}

impl fmt::Display for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layer = self.layer.display();
        let path = BStr::new(&self.path);
        let Some(target) = &self.target else {
            return write!(f, "{layer}: its directory /{path} takes the place of the file /{path}");
        };
        write!(f, "{layer}: its directory /{path} takes the place of the link /{path} -> {target}")?;
        if self.unreachable > 0 {
            let names: Vec<_> = self.names.iter().map(|name| format!("/{path}/{name}")).collect();
            write!(f, ", so {}", names.join(", "))?;
            match self.unreachable - names.len() {
                0 => {}
                more => write!(f, " and {more} more names")?,
            }
            write!(f, " can no longer be reached")?;
        }
        // A tar has to be unpacked for it.
        let source = if self.layer.is_dir() { layer.to_string() } else { "DIR".to_owned() };
        write!(f, "; --add {source}/.:/ follows links instead")
    }
}
