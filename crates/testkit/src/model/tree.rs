//! The tree of the model: inodes, and directories that refer to them.

use std::collections::BTreeMap;

use super::{LINK_LIMIT, name};
use crate::error::Reason;
use crate::layer::{Attributes, Content, Kind};

/// The number of an inode. Two names with the same number are hard links.
pub type InodeId = usize;

/// A directory's children.
#[derive(Debug, Clone, Default)]
pub(super) struct Directory {
    pub(super) children: BTreeMap<Vec<u8>, InodeId>,
    /// Whether the directory exists only because of an entry below it.
    pub(super) implicit: bool,
}

#[derive(Debug, Clone)]
pub(super) enum State {
    Directory(Directory),
    /// Any other kind. `Directory` and `HardLink` do not occur.
    Leaf(Kind),
    /// A hard link whose target did not exist yet: the entry's number and the target.
    Pending(usize, Vec<Vec<u8>>),
}

#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) attributes: Attributes,
    pub(super) state: State,
}

/// A merged root.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Inodes are never removed, only unlinked. Those of a layer come after those of lower layers.
    pub(super) inodes: Vec<Record>,
}

/// An inode.
#[derive(Debug, Clone, Copy)]
pub struct Inode<'a> {
    /// The mode, owner, time and xattrs.
    pub attributes: &'a Attributes,
    /// The kind and content.
    pub node: Node<'a>,
}

/// The kind and content of an inode.
#[derive(Debug, Clone, Copy)]
pub enum Node<'a> {
    /// A directory: its children by name, in the order of bytes.
    Directory(&'a BTreeMap<Vec<u8>, InodeId>),
    /// A regular file.
    File(&'a Content),
    /// A symbolic link with this target.
    Symlink(&'a [u8]),
    /// A character device: major and minor number.
    CharDevice(u32, u32),
    /// A block device: major and minor number.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}

/// The inode of the merged root.
pub(super) const ROOT: InodeId = 0;

impl Tree {
    /// Returns an empty root with mode 0755 and owner 0:0.
    pub fn new() -> Self {
        let mut tree = Self { inodes: Vec::new() };
        tree.add_implicit();
        tree
    }

    /// Returns the inode number of the root directory.
    pub fn root(&self) -> InodeId {
        ROOT
    }

    /// Returns the inode with this number.
    pub fn inode(&self, id: InodeId) -> Inode<'_> {
        let record = &self.inodes[id];
        let node = match &record.state {
            State::Directory(directory) => Node::Directory(&directory.children),
            State::Leaf(Kind::File(content)) => Node::File(content),
            State::Leaf(Kind::Symlink(target)) => Node::Symlink(target),
            State::Leaf(Kind::CharDevice { major, minor }) => Node::CharDevice(*major, *minor),
            State::Leaf(Kind::BlockDevice { major, minor }) => Node::BlockDevice(*major, *minor),
            State::Leaf(Kind::Fifo) => Node::Fifo,
            State::Leaf(Kind::Directory | Kind::HardLink(_)) | State::Pending(..) => {
                unreachable!("directories have their own state and every link is resolved when its layer is complete")
            }
        };
        Inode { attributes: &record.attributes, node }
    }

    /// Returns the inode number at a path. A link in the last component is not followed.
    pub fn lookup(&self, path: impl AsRef<[u8]>) -> Option<InodeId> {
        self.find(ROOT, &name::split(path.as_ref()))
    }

    /// Returns every path with its inode number, in the order of bytes. The root is the empty path.
    pub fn paths(&self) -> BTreeMap<Vec<u8>, InodeId> {
        let mut paths = BTreeMap::from([(Vec::new(), ROOT)]);
        let mut directories = vec![(Vec::new(), ROOT)];
        while let Some((path, id)) = directories.pop() {
            let Node::Directory(children) = self.inode(id).node else { continue };
            for (name, child) in children {
                let path = if path.is_empty() { name.clone() } else { [&path, &b"/"[..], name].concat() };
                directories.push((path.clone(), *child));
                paths.insert(path, *child);
            }
        }
        paths
    }

    pub(super) fn add(&mut self, attributes: Attributes, state: State) -> InodeId {
        self.inodes.push(Record { attributes, state });
        self.inodes.len() - 1
    }

    pub(super) fn add_implicit(&mut self) -> InodeId {
        let directory = Directory { implicit: true, ..Directory::default() };
        self.add(Attributes::with_mode(0o755), State::Directory(directory))
    }

    pub(super) fn directory(&self, id: InodeId) -> Option<&Directory> {
        match &self.inodes[id].state {
            State::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    pub(super) fn directory_mut(&mut self, id: InodeId) -> &mut Directory {
        match &mut self.inodes[id].state {
            State::Directory(directory) => directory,
            _ => unreachable!("asked only for inodes that are directories"),
        }
    }

    /// Returns the inode of `path` below `root`. Links are followed, except in the last component.
    pub(super) fn find(&self, root: InodeId, path: &[Vec<u8>]) -> Option<InodeId> {
        let Some((last, parents)) = path.split_last() else { return Some(root) };
        let parent = self.walk(root, parents).ok()?;
        self.directory(parent)?.children.get(last).copied()
    }

    /// Returns the directory at `path`, or the reason why the path does not lead to one.
    pub(super) fn walk(&self, root: InodeId, path: &[Vec<u8>]) -> Result<InodeId, WalkError> {
        let mut trail = vec![root];
        let mut ahead: Vec<Vec<u8>> = path.iter().rev().cloned().collect();
        let mut links = 0;
        while let Some(component) = ahead.pop() {
            let here = trail[trail.len() - 1];
            if component == b".." {
                if trail.len() > 1 {
                    trail.pop();
                }
                continue;
            }
            let directory = self.directory(here).expect("only directories enter the trail");
            let Some(child) = directory.children.get(&component) else {
                return Err(WalkError::Missing(here, component));
            };
            match &self.inodes[*child].state {
                State::Directory(_) => trail.push(*child),
                State::Leaf(Kind::Symlink(target)) => {
                    links += 1;
                    if links > LINK_LIMIT {
                        return Err(WalkError::Refused(Reason::TooManyLinks));
                    }
                    if target.starts_with(b"/") {
                        trail.truncate(1);
                    }
                    ahead.extend(name::split(target).into_iter().rev());
                }
                _ => return Err(WalkError::Refused(Reason::ParentNotADirectory)),
            }
        }
        Ok(trail[trail.len() - 1])
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

/// The reason why a path does not lead to a directory.
#[derive(Debug)]
pub(super) enum WalkError {
    /// This directory has no child of this name.
    Missing(InodeId, Vec<u8>),
    /// A component is not a directory, or there are too many links.
    Refused(Reason),
}
