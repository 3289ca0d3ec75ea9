//! Applying the entries of a tar, one after the other, to the tree of the layer (OCI image-spec, layer.md, "Applying
//! Changesets").

use std::io::BufRead;
use std::path::Path;

use bstr::{BStr, ByteSlice};
use vmroot_output::TemporaryFile;

use super::contents::ContentsWriter;
use super::markers::Markers;
use super::sparse::SparseMap;
use super::tar_stream::{Entry, EntryKind, TarStream};
use super::tree::{self, Node, Tree};
use super::{AUFS, AUFS_LINKS, BuildOptions, OPAQUE_MARKER, WHITEOUT, finish, links};
use crate::error::Reason;
use crate::format::{IMPLICIT, MAX_SYMLINK, MAX_XATTR_NAME, MAX_XATTR_VALUE, NO_INODE, mode};
use crate::{Error, Result};

/// The largest value of [`BuildOptions::max_expanded`]. It keeps offsets with padding far from overflow.
const MAX_EXPANDED: u64 = 1 << 62;

/// A layer under construction.
pub(super) struct Applier {
    pub(super) tree: Tree,
    markers: Markers,
    pub(super) contents: ContentsWriter,
    pub(super) contents_file: TemporaryFile,
    /// Hard links whose target was not in the layer when they were read.
    unresolved_links: Vec<u32>,
    entries: u32,
    /// The total size of the files so far in bytes, including holes.
    expanded: u64,
    options: BuildOptions,
}

impl Applier {
    pub(super) fn new(directory: &Path, options: &BuildOptions) -> Result<Self> {
        let contents_file = finish::create_temporary(directory)?;
        let file = contents_file.file().try_clone().map_err(Error::io(contents_file.path()))?;
        let max_expanded = options.max_expanded.min(MAX_EXPANDED);
        let max_entries = options.max_entries.min(NO_INODE >> 1);
        Ok(Self {
            tree: Tree::new(),
            markers: Markers::default(),
            contents: ContentsWriter::new(file, contents_file.path())?,
            contents_file,
            unresolved_links: Vec::new(),
            entries: 0,
            expanded: 0,
            options: BuildOptions { max_expanded, max_entries, ..options.clone() },
        })
    }

    /// Applies one entry. Its data is next in `stream`.
    pub(super) fn apply<R: BufRead>(&mut self, entry: Entry, stream: &mut TarStream<R>) -> Result<()> {
        self.count(&entry)?;
        let invalid = |reason: Reason| Error::entry(&entry.name, reason);
        let path = tree::split_path(&entry.name).map_err(invalid)?;
        let Some((&name, parents)) = path.split_last() else {
            return self.apply_root(&entry);
        };
        if path[0].starts_with(AUFS) && path[0] != OPAQUE_MARKER {
            return self.apply_aufs(&entry, name, parents, stream);
        }
        if parents.iter().any(|parent| parent.starts_with(WHITEOUT)) {
            return Err(Error::entry(&entry.name, "it lies below a whiteout"));
        }
        match name.strip_prefix(WHITEOUT) {
            Some(_) if name == OPAQUE_MARKER => self.markers.add(&self.tree, parents, None).map_err(invalid),
            Some(hidden) => self.markers.add(&self.tree, parents, Some(hidden)).map_err(invalid),
            None => self.apply_named(&entry, name, parents, stream),
        }
    }

    /// Resolves links that precede their targets, and applies the markers. This needs all entries of the layer.
    pub(super) fn complete(&mut self) -> Result<()> {
        links::resolve(&mut self.tree, &self.unresolved_links)?;
        std::mem::take(&mut self.markers).apply(&mut self.tree, self.options.max_entries)
    }

    /// Applies an entry below one of AUFS's own names.
    ///
    /// Keeps files that hard links may refer to, without a name in the index. Ignores all other entries.
    fn apply_aufs<R: BufRead>(
        &mut self,
        entry: &Entry,
        name: &[u8],
        parents: &[&[u8]],
        stream: &mut TarStream<R>,
    ) -> Result<()> {
        match entry.kind {
            EntryKind::File { .. } if parents == [AUFS_LINKS] => self.apply_named(entry, name, parents, stream),
            _ => Ok(()),
        }
    }

    /// Counts an entry, and checks the limits of entries and names. The cost of an entry is small enough to check when
    /// the next one is read.
    fn count(&mut self, entry: &Entry) -> Result<()> {
        self.entries = self.entries.saturating_add(1);
        // Directories that only paths imply cost as much as other directories.
        let inodes = u32::try_from(self.tree.nodes.len()).unwrap_or(u32::MAX) - 1;
        if self.entries.max(inodes) > self.options.max_entries {
            return Err(limit(entry, "max_entries", "entries", u64::from(self.options.max_entries)));
        }
        if self.tree.metadata_size() + self.markers.metadata_size() > self.options.max_names {
            return Err(limit(entry, "max_names", "bytes of names, links and xattrs", self.options.max_names as u64));
        }
        Ok(())
    }

    fn apply_root(&mut self, entry: &Entry) -> Result<()> {
        match entry.kind {
            EntryKind::Directory => self.set_directory(entry, tree::ROOT),
            _ => Err(Error::entry(&entry.name, "the root is not a directory")),
        }
    }

    fn apply_named<R: BufRead>(
        &mut self,
        entry: &Entry,
        name: &[u8],
        parents: &[&[u8]],
        stream: &mut TarStream<R>,
    ) -> Result<()> {
        let invalid = |reason: Reason| Error::entry(&entry.name, reason);
        // The target is looked up before the tree changes, since this entry may replace it.
        let target = match &entry.kind {
            EntryKind::HardLink { target } => self.resolve_hard_link(entry, target)?,
            _ => NO_INODE,
        };
        let directory = self.tree.create_directory(parents).map_err(invalid)?;
        let existing = self.tree.child(directory, name);
        if matches!(entry.kind, EntryKind::Directory) && self.tree.is_kind(existing, mode::DIRECTORY) {
            return self.set_directory(entry, existing);
        }
        let inode = match &entry.kind {
            EntryKind::File { stored, sparse } => self.add_file(entry, *stored, sparse.as_ref(), stream)?,
            EntryKind::Directory => self.add_plain(entry, mode::DIRECTORY)?,
            EntryKind::Symlink { target } => self.add_symlink(entry, target)?,
            EntryKind::HardLink { .. } => target,
            EntryKind::Character(rdev) => self.add_device(entry, mode::CHARACTER, *rdev)?,
            EntryKind::Block(rdev) => self.add_device(entry, mode::BLOCK, *rdev)?,
            EntryKind::Fifo => self.add_plain(entry, mode::FIFO)?,
        };
        self.tree.set_inode(directory, name, inode).map_err(invalid)
    }

    /// Replaces the attributes of an existing directory. Its children remain.
    fn set_directory(&mut self, entry: &Entry, directory: u32) -> Result<()> {
        let node = self.create_node(entry, mode::DIRECTORY)?;
        let flags = self.tree.nodes[directory as usize].flags & !(IMPLICIT as u8);
        self.tree.nodes[directory as usize] = Node { flags, ..node };
        Ok(())
    }

    fn add_plain(&mut self, entry: &Entry, kind: u32) -> Result<u32> {
        let node = self.create_node(entry, kind)?;
        Ok(self.tree.add_node(node))
    }

    fn add_device(&mut self, entry: &Entry, kind: u32, rdev: u32) -> Result<u32> {
        let node = self.create_node(entry, kind)?;
        Ok(self.tree.add_node(Node { data: rdev.into(), ..node }))
    }

    fn add_symlink(&mut self, entry: &Entry, target: &[u8]) -> Result<u32> {
        if target.is_empty() || target.len() > MAX_SYMLINK || target.contains(&0) {
            let reason = format!("a symbolic link to {} bytes, expected 1 to {MAX_SYMLINK} without NUL", target.len());
            let is_long = target.len() > MAX_SYMLINK;
            let reason = if is_long { Reason::limit("MAX_SYMLINK", reason) } else { reason.into() };
            return Err(Error::entry(&entry.name, reason));
        }
        let mut node = self.create_node(entry, mode::SYMLINK)?;
        // On Linux every symbolic link has this mode, and it cannot be changed.
        node.mode = (mode::SYMLINK | 0o777) as u16;
        self.tree.add_target(target, &mut node);
        Ok(self.tree.add_node(node))
    }

    /// Returns the target of a hard link in this layer, or a new inode with the path of the target.
    ///
    /// The path is resolved when the layer is complete, or in lower layers by the merge.
    fn resolve_hard_link(&mut self, entry: &Entry, target: &[u8]) -> Result<u32> {
        let invalid = |reason: Reason| {
            Error::entry(&entry.name, reason.about(format_args!("hard link to {:?}", BStr::new(target))))
        };
        let path = tree::split_path(target).map_err(invalid)?;
        let found = self.tree.find_inode(&path);
        if self.tree.is_kind(found, mode::DIRECTORY) {
            return Err(invalid("the target is a directory".into()));
        }
        if found != NO_INODE {
            return Ok(found);
        }
        if path.iter().any(|name| name.contains(&0)) {
            return Err(invalid("a name with a NUL in it".into()));
        }
        let mut node = Node { mode: mode::LINK as u16, ..Node::default() };
        self.tree.add_target(&path.join(&b'/'), &mut node);
        let inode = self.tree.add_node(node);
        self.unresolved_links.push(inode);
        Ok(inode)
    }

    fn add_file<R: BufRead>(
        &mut self,
        entry: &Entry,
        stored: u64,
        sparse: Option<&SparseMap>,
        stream: &mut TarStream<R>,
    ) -> Result<u32> {
        let mut node = self.create_node(entry, mode::REGULAR)?;
        let size = sparse.map_or(stored, |sparse| sparse.size);
        self.expanded = self.expanded.saturating_add(size);
        if self.expanded > self.options.max_expanded {
            return Err(limit(entry, "max_expanded", "bytes of files", self.options.max_expanded));
        }
        if size > 0 {
            node.size = size;
            node.data = self.contents.position();
            let digest = match sparse {
                None => self.write_data(entry, stored, stream)?,
                Some(sparse) => self.write_sparse(entry, sparse, stream)?,
            };
            self.contents.end_file()?;
            self.check_stored(entry)?;
            self.tree.digests.push(digest);
            node.digest = self.tree.digests.len() as u32;
        }
        Ok(self.tree.add_node(node))
    }

    fn write_data<R: BufRead>(&mut self, entry: &Entry, length: u64, stream: &mut TarStream<R>) -> Result<[u8; 32]> {
        let mut hasher = blake3::Hasher::new();
        self.write_run(entry, length, stream, &mut hasher)?;
        Ok(*hasher.finalize().as_bytes())
    }

    fn write_sparse<R: BufRead>(
        &mut self,
        entry: &Entry,
        sparse: &SparseMap,
        stream: &mut TarStream<R>,
    ) -> Result<[u8; 32]> {
        let mut hasher = blake3::Hasher::new();
        let mut position = 0;
        for run in &sparse.runs {
            self.write_hole(run.offset - position, &mut hasher)?;
            self.write_run(entry, run.length, stream, &mut hasher)?;
            position = run.offset + run.length;
        }
        self.write_hole(sparse.size - position, &mut hasher)?;
        Ok(*hasher.finalize().as_bytes())
    }

    /// Writes and hashes the next `length` bytes of the tar.
    fn write_run<R: BufRead>(
        &mut self,
        entry: &Entry,
        length: u64,
        stream: &mut TarStream<R>,
        hasher: &mut blake3::Hasher,
    ) -> Result<()> {
        stream.read_data(length, |data| {
            hasher.update(data);
            self.contents.append(data)?;
            self.check_stored(entry)
        })
    }

    fn check_stored(&mut self, entry: &Entry) -> Result<()> {
        let max = self.options.max_contents;
        if self.contents.stores_more_than(max)? {
            return Err(limit(entry, "max_contents", "bytes of file contents without blocks of zeros", max));
        }
        Ok(())
    }

    /// Hashes `length` zeros, and leaves a hole for them.
    fn write_hole(&mut self, length: u64, hasher: &mut blake3::Hasher) -> Result<()> {
        static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
        let mut left = length;
        while left > 0 {
            let count = left.min(ZEROS.len() as u64);
            hasher.update(&ZEROS[..count as usize]);
            left -= count;
        }
        self.contents.skip(length)
    }

    /// Creates a node with the attributes of an entry. Adds the xattrs to the tree.
    fn create_node(&mut self, entry: &Entry, kind: u32) -> Result<Node> {
        let mut xattrs: Vec<_> = entry.xattrs.iter().rev().map(|(name, value)| (&name[..], &value[..])).collect();
        // The sort is stable, so the last of equal names comes first and is kept.
        xattrs.sort_by_key(|(name, _)| *name);
        xattrs.dedup_by_key(|(name, _)| *name);
        for (name, value) in &xattrs {
            let limit = match (name.len() > MAX_XATTR_NAME, value.len() > MAX_XATTR_VALUE) {
                (true, _) => Some("MAX_XATTR_NAME"),
                (_, true) => Some("MAX_XATTR_VALUE"),
                _ => None,
            };
            if limit.is_some() || name.is_empty() || name.contains(&0) {
                let reason = format!("invalid xattr {:?} of {} bytes", BStr::new(name), value.len());
                let reason = match limit {
                    Some(limit) => Reason::limit(limit, reason),
                    None => reason.into(),
                };
                return Err(Error::entry(&entry.name, reason));
            }
        }
        let xattrs = self.tree.xattrs.add(xattrs.into_iter());
        let xattrs = xattrs.ok_or_else(|| Error::entry(&entry.name, "more xattrs than an index can hold"))?;
        Ok(Node {
            mode: (kind | entry.mode) as u16,
            uid: entry.uid,
            gid: entry.gid,
            mtime_nanoseconds: entry.mtime.nanoseconds,
            mtime_seconds: entry.mtime.seconds,
            xattrs,
            ..Node::default()
        })
    }
}

/// Returns the error for an entry that exceeds the limit `name`.
fn limit(entry: &Entry, name: &'static str, what: &'static str, limit: u64) -> Error {
    Error::Limit { entry: entry.name.as_bstr().to_owned(), name, what, limit }
}
