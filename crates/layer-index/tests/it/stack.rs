//! Building, merging and reading layers in tests.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Cursor;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vmroot_layer_index::{
    BuildOptions, Error, Index, InodeId, InodeKind, Result, Target, build, merge, verify_contents,
};
use vmroot_model::Digest;
use vmroot_output::Cancel;
use vmroot_testkit::listing::{Listing, Row};

/// Returns the chain id of test roots.
pub(crate) fn chain_id() -> Digest {
    Digest::of(b"a chain")
}

/// Built layers in a temporary directory.
pub(crate) struct Stack {
    directory: TempDir,
    pub(crate) layers: Vec<Index>,
}

impl Stack {
    /// Builds, publishes and opens the index of each tar, lowest first.
    pub(crate) fn build<T: AsRef<[u8]>>(tars: &[T]) -> Result<Self> {
        let mut stack = Self { directory: tempfile::tempdir().unwrap(), layers: Vec::new() };
        for tar in tars {
            let built = build(tar.as_ref(), stack.path(), &BuildOptions::default())?;
            let index = Index::open(&built.publish()?)?;
            verify_contents(&index, &stack.contents_path(&index.contents()[0].diff_id), &Cancel::new()).unwrap();
            stack.layers.push(index);
        }
        Ok(stack)
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    fn contents_path(&self, diff_id: &Digest) -> PathBuf {
        self.path().join(format!("{}.contents", diff_id.hex()))
    }

    /// Merges all layers at once, and returns the bytes of the root.
    pub(crate) fn merge(&self) -> Result<Vec<u8>> {
        merged(None, &self.layers.iter().collect::<Vec<_>>())
    }

    /// Merges all layers at once, and opens the root.
    pub(crate) fn root(&self) -> Result<Index> {
        Ok(Index::from_bytes(self.merge()?).expect("open() accepts the output of merge()"))
    }

    /// Lists a root. File contents are read through extents.
    pub(crate) fn listing(&self, root: &Index) -> Listing {
        let mut rows = BTreeMap::new();
        let mut groups: BTreeMap<InodeId, Vec<Vec<u8>>> = BTreeMap::new();
        let files: Vec<_> =
            root.contents().iter().map(|file| File::open(self.contents_path(&file.diff_id)).unwrap()).collect();
        for (path, id) in paths(root) {
            rows.insert(path.clone(), row(root, id, &files));
            groups.entry(id).or_default().push(path);
        }
        for (id, group) in groups {
            if root.inode(id).kind() != InodeKind::Directory {
                assert_eq!(root.inode(id).nlink() as usize, group.len(), "link count of inode {}", id.0);
            }
            for path in group.iter().filter(|_| group.len() > 1) {
                rows.get_mut(path).unwrap().link = Some(group[0].clone());
            }
        }
        Listing { rows }
    }

    /// Reads a file of a root.
    pub(crate) fn read(&self, root: &Index, path: &str) -> Vec<u8> {
        let id = lookup(root, path).unwrap_or_else(|| panic!("no {path}"));
        let files: Vec<_> =
            root.contents().iter().map(|file| File::open(self.contents_path(&file.diff_id)).unwrap()).collect();
        read(root, id, &files)
    }
}

/// Merges layers onto a base, and returns the bytes of the root.
pub(crate) fn merged(base: Option<&Index>, layers: &[&Index]) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    let length = merge(base, layers, &chain_id(), &mut bytes)?;
    assert_eq!(length, bytes.get_ref().len() as u64);
    Ok(bytes.into_inner())
}

/// Finds the inode at a path, without following links.
pub(crate) fn lookup(index: &Index, path: &str) -> Option<InodeId> {
    path.split('/').filter(|name| !name.is_empty()).try_fold(InodeId::ROOT, |directory, name| {
        match index.child(directory, name.as_bytes())?.target {
            Target::Inode(inode) => Some(inode),
            Target::Whiteout => None,
        }
    })
}

/// Returns every path below the root in byte order, without whiteouts.
pub(crate) fn paths(index: &Index) -> BTreeMap<Vec<u8>, InodeId> {
    let mut paths = BTreeMap::new();
    let mut directories = vec![(Vec::new(), InodeId::ROOT)];
    while let Some((path, directory)) = directories.pop() {
        for child in index.children(directory, 0) {
            let Target::Inode(inode) = child.target else { continue };
            let path = if path.is_empty() { child.name.to_vec() } else { [&path, &b"/"[..], child.name].concat() };
            let found = index.child(directory, child.name).expect("a listed name is found");
            assert_eq!(found.target, child.target);
            directories.push((path.clone(), inode));
            assert!(paths.insert(path, inode).is_none(), "a name occurs twice");
        }
    }
    paths
}

fn row(root: &Index, id: InodeId, files: &[File]) -> Row {
    let inode = root.inode(id);
    let kind = inode.kind();
    let is_device = matches!(kind, InodeKind::Character | InodeKind::Block);
    let content = (kind == InodeKind::Regular).then(|| read(root, id, files));
    if let Some(content) = content.as_deref().filter(|content| !content.is_empty()) {
        assert_eq!(inode.content_digest(), Some(blake3::hash(content).as_bytes()));
    }
    Row {
        kind: match kind {
            InodeKind::Regular => 'f',
            InodeKind::Directory => 'd',
            InodeKind::Symlink => 'l',
            InodeKind::Character => 'c',
            InodeKind::Block => 'b',
            InodeKind::Fifo => 'p',
            InodeKind::Socket => 's',
            InodeKind::Link => panic!("a link to a path in a root"),
        },
        mode: inode.mode() & 0o7777,
        uid: inode.uid(),
        gid: inode.gid(),
        mtime: i128::from(inode.mtime().seconds) * 1_000_000_000 + i128::from(inode.mtime().nanoseconds),
        size: (kind == InodeKind::Regular).then(|| inode.size()),
        device: is_device.then(|| (inode.device().major, inode.device().minor)),
        link: None,
        target: (kind == InodeKind::Symlink).then(|| inode.link_target().to_vec()),
        xattrs: inode.xattrs().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
        sha256: content.map(|content| Digest::of(&content).hex()[..32].into()),
    }
}

fn read(root: &Index, id: InodeId, files: &[File]) -> Vec<u8> {
    let inode = root.inode(id);
    let mut bytes = vec![0; inode.size() as usize];
    if let Some(extent) = inode.extent() {
        files[extent.file as usize].read_exact_at(&mut bytes, extent.offset).unwrap();
    }
    bytes
}

/// Builds a layer that must fail, and returns the error.
#[track_caller]
pub(crate) fn build_error(tar: impl AsRef<[u8]>) -> Error {
    let directory = tempfile::tempdir().unwrap();
    let error = build(tar.as_ref(), directory.path(), &BuildOptions::default()).expect_err("the layer is invalid");
    assert_eq!(directory.path().read_dir().unwrap().count(), 0, "a failed build leaves no files");
    error
}
