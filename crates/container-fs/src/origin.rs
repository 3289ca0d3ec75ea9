//! The layers that a path of a root comes from, from the indexes of the layers.

use vmroot_layer_index::{Index, InodeId, InodeKind, Target};
use vmroot_model::PathWalk;

use crate::{ChangeKind, ContainerFs, Error, Field, Result};

/// The layers that a path comes from, and those that hide it. Layers are numbered from 0, the lowest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// The versions of the path that the root shows, lowest first: none if the root has no such path, several for a
    /// directory whose entries come from several layers, else one.
    pub versions: Vec<Version>,
    /// The layer whose attributes the root shows. For a directory, it may be lower than all of [`Self::versions`]: an
    /// opaque marker hides the entries of lower layers, and not the attributes.
    pub attributes: Option<usize>,
    /// The versions that the root does not show, in the order in which layers hid them.
    pub hidden: Vec<Hidden>,
}

/// The inode that a layer has at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// The number of the layer.
    pub layer: usize,
    /// The inode, in the layer's index.
    pub ino: InodeId,
    /// The type. A hard link to a path of lower layers is an [`InodeKind::Link`], whose target the layer's index has.
    pub kind: InodeKind,
    /// Whether the layer has no entry for this directory, and only uses it in the paths of other entries.
    pub is_implicit: bool,
}

/// A version that a higher layer hides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// The version.
    pub version: Version,
    /// The layer that hides it, and the reason.
    pub by: Hiding,
}

/// The reason why a layer hides versions of a path in the layers below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hiding {
    /// The number of the layer.
    pub layer: usize,
    /// The entry of the layer that hides the path.
    pub cause: HidingCause,
    /// The path of that entry with a leading slash: the path itself or a directory that it is in.
    pub path: Vec<u8>,
}

/// The kinds of entries that hide a path of lower layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HidingCause {
    /// A whiteout deletes the path, or a directory that it is in.
    Whiteout,
    /// A directory is opaque: it hides the entries that it has in lower layers.
    Opaque,
    /// Another inode takes the place of the path, or of a directory that it is in.
    Replaced,
}

/// A path of a root after its symbolic links are resolved. The root need not have the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The absolute path, without symbolic links in its directories, `.` and `..`.
    pub path: Vec<u8>,
    /// The symbolic links on the way, with their targets.
    pub links: Vec<FollowedLink>,
    /// The inode at the path, or `None` if the root has no such path.
    pub ino: Option<InodeId>,
}

/// A symbolic link that a path leads through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowedLink {
    /// The absolute path of the link.
    pub path: Vec<u8>,
    /// The target of the link.
    pub target: Vec<u8>,
}

impl Origin {
    /// Returns the origin of an absolute path that contains no symbolic links, `.` or `..`, such as
    /// [`Located::path`].
    ///
    /// `layers` are the indexes of all layers of a root, lowest first. This takes a few lookups in each of them.
    pub fn of(layers: &[Index], path: &[u8]) -> Self {
        let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        let mut tracing = Tracing::default();
        for (layer, index) in layers.iter().enumerate() {
            tracing.add_layer(index, layer, &names);
        }
        tracing.origin
    }

    /// Returns the layer that brought the path: for a directory the lowest one whose entries the root shows.
    pub fn layer(&self) -> Option<usize> {
        self.versions.first().map(|version| version.layer)
    }

    /// Returns the layer of a root that brought a change of the path from another root to it: the layer that has or
    /// deletes the path. Returns `None` for a removed path that no layer ever had.
    pub fn layer_of_change(&self, kind: &ChangeKind) -> Option<usize> {
        match kind {
            ChangeKind::Added(_) => self.layer(),
            ChangeKind::Removed(_) => self.deleted_by().map(|by| by.layer),
            // A directory over another kind of file is a new one, whose attributes may come from a later layer.
            ChangeKind::Changed { fields, .. } if fields.contains(Field::Type) => self.layer(),
            ChangeKind::Changed { .. } => self.attributes,
        }
    }

    /// Returns the layer that deleted the path, for a path that a layer has and the root does not have.
    pub fn deleted_by(&self) -> Option<&Hiding> {
        if self.versions.is_empty() { self.hidden.last().map(|hidden| &hidden.by) } else { None }
    }
}

/// The origin of a path in the lowest layers, to which layers are added.
#[derive(Default)]
struct Tracing {
    origin: Origin,
    /// Whether [`Origin::attributes`] is a layer with an entry of its own for the path.
    has_own_attributes: bool,
}

impl Tracing {
    fn add_layer(&mut self, index: &Index, layer: usize, names: &[&[u8]]) {
        let view = View::of(index, layer, names);
        if let Some((cause, depth)) = view.hiding {
            self.replace(layer, cause, &names[..depth]);
        }
        let Some(version) = view.version else { return };
        let inode = index.inode(version.ino);
        let is_directory = |version: &Version| version.kind == InodeKind::Directory;
        if is_directory(&version) && self.origin.versions.last().is_some_and(is_directory) {
            if inode.is_opaque() {
                self.hide(layer, HidingCause::Opaque, names);
            }
        } else if inode.is_passive() {
            // It exists only for markers, which change directories of lower layers.
            return;
        } else {
            self.replace(layer, HidingCause::Replaced, names);
        }
        // If no layer has an entry for the directory, the highest one counts, as in a merge.
        if !version.is_implicit || !self.has_own_attributes {
            self.origin.attributes = Some(layer);
            self.has_own_attributes = !version.is_implicit;
        }
        self.origin.versions.push(version);
    }

    /// Hides all versions and their attributes.
    fn replace(&mut self, layer: usize, cause: HidingCause, names: &[&[u8]]) {
        self.hide(layer, cause, names);
        self.origin.attributes = None;
        self.has_own_attributes = false;
    }

    /// Moves all versions to the hidden ones.
    fn hide(&mut self, layer: usize, cause: HidingCause, names: &[&[u8]]) {
        if self.origin.versions.is_empty() {
            return;
        }
        let path = [b"/", &names.join(&b'/')[..]].concat();
        let by = Hiding { layer, cause, path };
        let hidden = self.origin.versions.drain(..).map(|version| Hidden { version, by: by.clone() });
        self.origin.hidden.extend(hidden);
    }
}

/// The entries of one layer for a path.
struct View {
    /// The outermost entry that hides the path in lower layers, except the path's own inode: its cause, and the number
    /// of names of its path.
    hiding: Option<(HidingCause, usize)>,
    /// The inode at the path.
    version: Option<Version>,
}

impl View {
    fn of(index: &Index, layer: usize, names: &[&[u8]]) -> Self {
        let mut view = Self { hiding: None, version: None };
        let mut ino = InodeId::ROOT;
        for (depth, name) in names.iter().enumerate() {
            let inode = index.inode(ino);
            if inode.kind() != InodeKind::Directory {
                view.hiding.get_or_insert((HidingCause::Replaced, depth));
                return view;
            }
            if inode.is_opaque() {
                view.hiding.get_or_insert((HidingCause::Opaque, depth));
            }
            match index.child(ino, name).map(|dirent| dirent.target) {
                None => return view,
                Some(Target::Whiteout) => {
                    view.hiding.get_or_insert((HidingCause::Whiteout, depth + 1));
                    return view;
                }
                Some(Target::Inode(child)) => ino = child,
            }
        }
        let inode = index.inode(ino);
        let (kind, is_implicit) = (inode.kind(), inode.is_implicit());
        view.version = Some(Version { layer, ino, kind, is_implicit });
        view
    }
}

impl ContainerFs {
    /// Resolves the symbolic links of a path, which need not exist. A link at the end is not followed, unless a slash
    /// follows it.
    ///
    /// # Errors
    /// [`Error::TooManyLinks`], with the path, for more than 40 symbolic links.
    pub fn locate(&self, path: &[u8]) -> Result<Located> {
        let mut resolved: Vec<u8> = Vec::new();
        let mut links = Vec::new();
        // Each directory has the length of its path, and no inode if the root does not have it.
        let mut walk = PathWalk::new((Some(InodeId::ROOT), 0), path);
        let follows_last = path.ends_with(b"/");
        while let Some(step) = walk.next() {
            let (directory, length) = *step.directory;
            resolved.truncate(length);
            resolved.push(b'/');
            resolved.extend_from_slice(step.name);
            let ino = directory.and_then(|directory| self.lookup(directory, step.name).ok());
            let link = ino.map(|ino| self.inode(ino)).filter(|inode| inode.kind() == InodeKind::Symlink);
            match link {
                Some(link) if follows_last || !step.is_last() => {
                    links.push(FollowedLink { path: resolved.clone(), target: link.link_target().to_vec() });
                    walk.follow(link.link_target()).map_err(|_| Error::TooManyLinks(path.into()))?;
                }
                _ => walk.enter((ino, resolved.len())),
            }
        }
        let (ino, length) = *walk.current();
        resolved.truncate(length);
        if resolved.is_empty() {
            resolved.push(b'/');
        }
        Ok(Located { path: resolved, links, ino })
    }
}
