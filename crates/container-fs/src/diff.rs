//! Differences between two roots, from their indexes alone.

use std::collections::HashMap;
use std::fmt;

use vmroot_layer_index::{InodeId, InodeKind};

use crate::{ContainerFs, DirEntry};

/// The bits of `st_mode` that are permissions, with setuid, setgid and sticky.
const PERMISSIONS: u32 = 0o7777;

/// The attributes that [`ContainerFs::diff`] compares besides type, content, mode, owner, target, device and xattrs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiffOptions {
    /// Compare modification times. Builds set new times for unchanged files, so they are not compared by default.
    pub times: bool,
    /// Compare which paths are hard links to one inode. Two names of one file and two equal files read the same, so
    /// they are equal by default.
    pub hard_links: bool,
}

/// One path at which two roots differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path without a leading slash; empty for the root directory.
    pub path: Vec<u8>,
    /// The kind of the change, and the inodes at the path.
    pub kind: ChangeKind,
}

/// The kind of a [`Change`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// Only the new root has the path, with this inode.
    Added(InodeId),
    /// Only the old root has the path, with this inode.
    Removed(InodeId),
    /// Both roots have the path, with different attributes.
    Changed {
        /// The inode in the old root.
        old: InodeId,
        /// The inode in the new root.
        new: InodeId,
        /// The attributes that differ, at least one.
        fields: Fields,
    },
}

impl ChangeKind {
    /// Returns the inode in the old root, if that has the path.
    pub fn old_inode(&self) -> Option<InodeId> {
        match *self {
            Self::Added(_) => None,
            Self::Removed(old) | Self::Changed { old, .. } => Some(old),
        }
    }

    /// Returns the inode in the new root, if that has the path.
    pub fn new_inode(&self) -> Option<InodeId> {
        match *self {
            Self::Removed(_) => None,
            Self::Added(new) | Self::Changed { new, .. } => Some(new),
        }
    }

    /// Returns the attributes that differ: none for a path that only one root has.
    pub fn fields(&self) -> Fields {
        match *self {
            Self::Changed { fields, .. } => fields,
            Self::Added(_) | Self::Removed(_) => Fields::default(),
        }
    }
}

/// An attribute that can differ between two inodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The type of the file. Content, target and device are only compared between inodes of one type.
    Type,
    /// The bytes of a regular file.
    Content,
    /// The target of a symbolic link.
    Target,
    /// The number of a device.
    Device,
    /// The permissions, with setuid, setgid and sticky.
    Mode,
    /// The user or group id of the owner.
    Owner,
    /// The names or values of the xattrs.
    Xattrs,
    /// The modification time, with [`DiffOptions::times`].
    Mtime,
    /// The link count, or the first path of the inode, with [`DiffOptions::hard_links`].
    HardLinks,
}

impl Field {
    /// All attributes, in the order of [`Fields::iter`].
    pub const ALL: [Self; 9] = [
        Self::Type,
        Self::Content,
        Self::Target,
        Self::Device,
        Self::Mode,
        Self::Owner,
        Self::Xattrs,
        Self::Mtime,
        Self::HardLinks,
    ];

    /// Returns the name of the attribute in output: one word in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Content => "content",
            Self::Target => "target",
            Self::Device => "device",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Xattrs => "xattrs",
            Self::Mtime => "mtime",
            Self::HardLinks => "links",
        }
    }
}

/// A set of [`Field`]s.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Fields(u16);

impl Fields {
    /// Returns whether the set has no fields.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns whether the set has a field.
    pub fn contains(self, field: Field) -> bool {
        self.0 & 1 << field as u16 != 0
    }

    /// Returns the fields, in the order of [`Field::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Field> {
        Field::ALL.into_iter().filter(move |field| self.contains(*field))
    }

    fn insert_if(&mut self, differs: bool, field: Field) {
        self.0 |= u16::from(differs) << field as u16;
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl ContainerFs {
    /// Returns the paths at which `new` differs from this root, as a comparison of two directories would find them.
    ///
    /// A removed or added directory comes with everything below it. Directories come before their entries, siblings in
    /// byte order. Contents are compared by their digests, and not read.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use vmroot_layer_index::{BuildOptions, build};
    /// # use vmroot_testkit::layer::{Entry, Layer};
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let built = |layer: Layer| {
    /// #     let tar = layer.to_tar(&Default::default());
    /// #     let index = build(&tar[..], directory.path(), &BuildOptions::default()).unwrap().publish().unwrap();
    /// #     vmroot_container_fs::ExtraLayer { contents: index.with_extension("contents"), index }
    /// # };
    /// # let id = vmroot_model::Digest::of(b"");
    /// # let base = built(Layer::new([Entry::file("motd", "old"), Entry::file("gone", "")]));
    /// # let upper = built(Layer::new([Entry::file("motd", "new"), Entry::whiteout("gone"), Entry::directory("opt")]));
    /// # let old = vmroot_container_fs::ContainerFs::of_layers(&[base.clone()], &id)?;
    /// # let new = vmroot_container_fs::ContainerFs::of_layers(&[base, upper], &id)?;
    /// use vmroot_container_fs::{ChangeKind, DiffOptions, Field};
    ///
    /// let changes: Vec<_> = old.diff(&new, &DiffOptions::default()).collect();
    /// let paths: Vec<_> = changes.iter().map(|change| &change.path[..]).collect();
    /// assert_eq!(paths, [&b"gone"[..], b"motd", b"opt"]);
    /// assert!(matches!(changes[0].kind, ChangeKind::Removed(_)));
    /// assert!(changes[1].kind.fields().contains(Field::Content));
    /// assert!(matches!(changes[2].kind, ChangeKind::Added(_)));
    /// # Ok::<(), vmroot_container_fs::Error>(())
    /// ```
    pub fn diff<'a>(&'a self, new: &'a ContainerFs, options: &DiffOptions) -> Diff<'a> {
        let first_paths = |root: &ContainerFs| if options.hard_links { first_paths(root) } else { HashMap::new() };
        Diff {
            old: self,
            new,
            options: *options,
            first_paths: (first_paths(self), first_paths(new)),
            open: Vec::new(),
            path: Vec::new(),
            started: false,
        }
    }
}

/// Returns the first path of each inode with several names.
fn first_paths(root: &ContainerFs) -> HashMap<InodeId, Vec<u8>> {
    let links = root.walk().filter(|entry| entry.kind != InodeKind::Directory && root.inode(entry.ino).nlink() > 1);
    links.filter(|entry| entry.link_to.is_none()).map(|entry| (entry.ino, entry.path)).collect()
}

/// An iterator over the changes between two roots, from [`ContainerFs::diff`].
pub struct Diff<'a> {
    old: &'a ContainerFs,
    new: &'a ContainerFs,
    options: DiffOptions,
    /// The first path of each inode with several names, in the old and in the new root. Empty unless they are compared.
    first_paths: (HashMap<InodeId, Vec<u8>>, HashMap<InodeId, Vec<u8>>),
    /// The directories with remaining entries, the innermost last.
    open: Vec<Pair<'a>>,
    path: Vec<u8>,
    started: bool,
}

impl fmt::Debug for Diff<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Diff").field("path", &String::from_utf8_lossy(&self.path)).finish_non_exhaustive()
    }
}

/// The directories that the two roots have at one path.
struct Pair<'a> {
    old: Cursor<'a>,
    new: Cursor<'a>,
    /// The length of the path.
    length: usize,
}

/// The remaining entries of a directory of one root. A root without the directory has no entries.
struct Cursor<'a> {
    entry: Option<DirEntry<'a>>,
    rest: Option<Box<dyn Iterator<Item = DirEntry<'a>> + 'a>>,
}

impl<'a> Cursor<'a> {
    fn new(root: &'a ContainerFs, directory: Option<InodeId>) -> Self {
        let entries = directory.and_then(|directory| root.readdir(directory, 0).ok());
        let mut rest = entries.map(|entries| Box::new(entries) as Box<dyn Iterator<Item = DirEntry<'a>> + 'a>);
        Self { entry: rest.as_mut().and_then(Iterator::next), rest }
    }

    /// Returns the entry if it has this name, and moves to the next one.
    fn take_if(&mut self, name: &[u8]) -> Option<DirEntry<'a>> {
        let entry = self.entry.filter(|entry| entry.name == name)?;
        self.entry = self.rest.as_mut().and_then(Iterator::next);
        Some(entry)
    }
}

impl<'a> Diff<'a> {
    fn enter(&mut self, old: Option<InodeId>, new: Option<InodeId>) {
        let (old, new) = (Cursor::new(self.old, old), Cursor::new(self.new, new));
        self.open.push(Pair { old, new, length: self.path.len() });
    }

    /// Moves to the next path of either root, and returns the entries that the roots have for it.
    fn advance(&mut self) -> Option<(Option<DirEntry<'a>>, Option<DirEntry<'a>>)> {
        let (pair, name) = loop {
            let pair = self.open.last_mut()?;
            let names = [&pair.old, &pair.new].map(|cursor| cursor.entry.map(|entry| entry.name));
            match names.into_iter().flatten().min() {
                // A new borrow, because the borrow checker would extend that of `pair` to the other branch.
                Some(name) => break (self.open.last_mut()?, name),
                None => drop(self.open.pop()),
            }
        };
        self.path.truncate(pair.length);
        if pair.length > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        Some((pair.old.take_if(name), pair.new.take_if(name)))
    }

    fn compare(&self, old: InodeId, new: InodeId) -> Fields {
        let (a, b) = (self.old.inode(old), self.new.inode(new));
        let mut fields = Fields::default();
        fields.insert_if(a.kind() != b.kind(), Field::Type);
        fields.insert_if((a.mode() ^ b.mode()) & PERMISSIONS != 0, Field::Mode);
        fields.insert_if((a.uid(), a.gid()) != (b.uid(), b.gid()), Field::Owner);
        // Each of these is empty or zero for inodes of other types.
        if a.kind() == b.kind() {
            let is_regular = a.kind() == InodeKind::Regular;
            let same_bytes = a.size() == b.size() && a.content_digest() == b.content_digest();
            fields.insert_if(is_regular && !same_bytes, Field::Content);
            fields.insert_if(a.link_target() != b.link_target(), Field::Target);
            fields.insert_if(a.device() != b.device(), Field::Device);
        }
        let any_xattrs = a.has_xattrs() || b.has_xattrs();
        fields.insert_if(any_xattrs && !a.xattrs().eq(b.xattrs()), Field::Xattrs);
        fields.insert_if(self.options.times && a.mtime() != b.mtime(), Field::Mtime);
        if self.options.hard_links && a.kind() != InodeKind::Directory && b.kind() != InodeKind::Directory {
            let differs = a.nlink() != b.nlink() || self.first_paths.0.get(&old) != self.first_paths.1.get(&new);
            fields.insert_if(differs, Field::HardLinks);
        }
        fields
    }

    fn changed(&self, old: InodeId, new: InodeId) -> Option<ChangeKind> {
        let fields = self.compare(old, new);
        (!fields.is_empty()).then_some(ChangeKind::Changed { old, new, fields })
    }
}

impl Iterator for Diff<'_> {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        if !std::mem::replace(&mut self.started, true) {
            self.enter(Some(InodeId::ROOT), Some(InodeId::ROOT));
            if let Some(kind) = self.changed(InodeId::ROOT, InodeId::ROOT) {
                return Some(Change { path: Vec::new(), kind });
            }
        }
        loop {
            let (old, new) = self.advance()?;
            let directory = |entry: Option<DirEntry<'_>>| {
                entry.filter(|entry| entry.kind == InodeKind::Directory).map(|entry| entry.ino)
            };
            if directory(old).or(directory(new)).is_some() {
                self.enter(directory(old), directory(new));
            }
            let kind = match (old, new) {
                (Some(old), Some(new)) => self.changed(old.ino, new.ino),
                (Some(old), None) => Some(ChangeKind::Removed(old.ino)),
                (None, new) => new.map(|new| ChangeKind::Added(new.ino)),
            };
            if let Some(kind) = kind {
                return Some(Change { path: self.path.clone(), kind });
            }
        }
    }
}
