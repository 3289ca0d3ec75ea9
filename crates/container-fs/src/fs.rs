//! The merged root and the questions that a file system is asked by inode.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::BString;
use vmroot_layer_index::{DirentKind, Extent, Index, Inode, InodeId, InodeKind, Target};
use vmroot_model::Digest;

use crate::stat::{BLOCK, Stat, StatFs};
use crate::{Error, Result};

/// The merged root of an image, read in place.
///
/// ```
/// # use vmroot_layer_index::{BuildOptions, Index, build, merge};
/// # let directory = tempfile::tempdir().unwrap();
/// # let layer = vmroot_testkit::layer::Layer::new([vmroot_testkit::layer::Entry::file("etc/os-release", "ID=demo\n")]);
/// # let tar = layer.to_tar(&Default::default());
/// # let layer = Index::open(&build(&tar[..], directory.path(), &BuildOptions::default())?.publish()?)?;
/// # let root_idx = directory.path().join("root.idx");
/// # merge(None, &[&layer], layer.identity(), std::fs::File::create(&root_idx).unwrap())?;
/// use vmroot_container_fs::ContainerFs;
///
/// let root = ContainerFs::open(&root_idx, &|diff_id| directory.path().join(diff_id.hex() + ".contents"))?;
/// let file = root.resolve_path(b"/etc/../etc/os-release")?;
/// let mut bytes = [0; 100];
/// let count = root.read_at(file.ino, 0, &mut bytes)?;
/// assert_eq!(&bytes[..count], b"ID=demo\n");
/// # Ok::<(), vmroot_container_fs::Error>(())
/// ```
///
/// All methods take `&self` and may be called from any number of threads. An [`InodeId`] is the root's own: one from
/// another root names something else, or panics when there is no such inode; [`ContainerFs::inode_id`] checks.
#[derive(Debug)]
pub struct ContainerFs {
    index: Index,
    contents: Vec<Arc<Contents>>,
}

/// The open `.contents` file of a layer.
#[derive(Debug)]
pub struct Contents {
    /// Where it lies.
    pub path: PathBuf,
    /// Opened for reading.
    pub file: File,
    /// The layer's diff id.
    pub diff_id: Digest,
    /// In bytes.
    pub length: u64,
}

/// One entry of a directory.
#[derive(Debug, Clone, Copy)]
pub struct DirEntry<'a> {
    /// The name's bytes.
    pub name: &'a [u8],
    /// What it names.
    pub ino: InodeId,
    /// What that is.
    pub kind: InodeKind,
    /// Where a listing goes on after this entry.
    pub next: u64,
}

impl ContainerFs {
    /// Opens a root: its index, and the contents file of each layer where `contents_of` says it lies.
    ///
    /// # Errors
    /// [`Error::Index`] for a damaged index, [`Error::Contents`] for a contents file that is missing or has not the
    /// length that the index says.
    pub fn open(root_idx: &Path, contents_of: &dyn Fn(&Digest) -> PathBuf) -> Result<Self> {
        let index = Index::open(root_idx)?;
        let contents = index
            .contents()
            .iter()
            .map(|file| Contents::open(contents_of(&file.diff_id), file.diff_id, file.length).map(Arc::new));
        let contents = contents.collect::<Result<_>>()?;
        Ok(Self { index, contents })
    }

    pub(crate) fn from_parts(index: Index, contents: Vec<Arc<Contents>>) -> Self {
        Self { index, contents }
    }

    /// The merged index, which opens the same root wherever its contents files are.
    pub fn index(&self) -> &Index {
        &self.index
    }

    pub(crate) fn shared_contents(&self) -> &[Arc<Contents>] {
        &self.contents
    }

    pub(crate) fn inode(&self, ino: InodeId) -> Inode<'_> {
        self.index.inode(ino)
    }

    /// The chain id of the layers that the root is made of.
    pub fn chain_id(&self) -> &Digest {
        self.index.identity()
    }

    /// The number of inodes; their ids are the numbers below.
    pub fn inode_count(&self) -> u32 {
        self.index.inode_count()
    }

    /// All inodes, by number.
    pub fn inodes(&self) -> impl Iterator<Item = InodeId> + use<> {
        (0..self.inode_count()).map(InodeId)
    }

    /// The inode with this number, if there is one: for numbers that come from elsewhere.
    pub fn inode_id(&self, number: u64) -> Option<InodeId> {
        self.index.inode_id(number)
    }

    /// The inode that a directory has under a name.
    ///
    /// # Errors
    /// [`Error::NotADirectory`] and [`Error::NotFound`], with the name.
    pub fn lookup(&self, directory: InodeId, name: &[u8]) -> Result<InodeId> {
        match self.index.child(directory, name).map(|dirent| dirent.target) {
            Some(Target::Inode(ino)) => Ok(ino),
            _ if self.inode(directory).kind() != InodeKind::Directory => Err(Error::NotADirectory(name.into())),
            _ => Err(Error::NotFound(name.into())),
        }
    }

    /// The attributes of an inode.
    pub fn stat(&self, ino: InodeId) -> Stat {
        Stat::of(ino, &self.inode(ino))
    }

    /// The size of the root.
    pub fn statfs(&self) -> StatFs {
        let blocks = self.contents.iter().map(|contents| contents.length / BLOCK).sum();
        StatFs { block_size: BLOCK, blocks, inodes: u64::from(self.inode_count()) }
    }

    /// The entries of a directory in byte order, without `.` and `..`, from a cookie on: 0, or what an entry's `next`
    /// said. A cookie stays valid for ever.
    ///
    /// # Errors
    /// [`Error::NotADirectory`], with the inode's number.
    pub fn readdir(&self, directory: InodeId, cookie: u64) -> Result<impl ExactSizeIterator<Item = DirEntry<'_>>> {
        if self.inode(directory).kind() != InodeKind::Directory {
            return Err(Error::NotADirectory(numbered(directory)));
        }
        let start = usize::try_from(cookie).unwrap_or(usize::MAX);
        Ok(self.index.children(directory, start).enumerate().map(move |(position, dirent)| {
            match (dirent.target, dirent.kind) {
                (Target::Inode(ino), DirentKind::Inode(kind)) => {
                    DirEntry { name: dirent.name, ino, kind, next: (start + position + 1) as u64 }
                }
                _ => unreachable!("open() accepts no whiteout in a root"),
            }
        }))
    }

    /// The number of entries of a directory; 0 for other inodes.
    pub fn child_count(&self, directory: InodeId) -> usize {
        self.index.child_count(directory)
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// [`Error::NotALink`], with the inode's number.
    pub fn readlink(&self, ino: InodeId) -> Result<&[u8]> {
        let inode = self.inode(ino);
        match inode.kind() {
            InodeKind::Symlink => Ok(inode.link_target()),
            _ => Err(Error::NotALink(numbered(ino))),
        }
    }

    /// Reads bytes of a regular file into `buffer`; gives how many, fewer than asked for only at the file's end.
    ///
    /// # Errors
    /// [`Error::IsADirectory`]; [`Error::Contents`] when the system cannot read them. Other inodes have no bytes.
    pub fn read_at(&self, ino: InodeId, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let inode = self.inode(ino);
        if inode.kind() == InodeKind::Directory {
            return Err(Error::IsADirectory(numbered(ino)));
        }
        let Some(extent) = inode.extent().filter(|extent| offset < extent.length) else { return Ok(0) };
        let count = usize::try_from(extent.length - offset).unwrap_or(usize::MAX).min(buffer.len());
        let contents = &self.contents[extent.file as usize];
        contents
            .file
            .read_exact_at(&mut buffer[..count], extent.offset + offset)
            .map_err(|source| contents.failed(source))?;
        Ok(count)
    }

    /// The xattrs of an inode, sorted by name.
    pub fn xattrs(&self, ino: InodeId) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.inode(ino).xattrs()
    }

    /// One xattr of an inode.
    pub fn xattr(&self, ino: InodeId, name: &[u8]) -> Option<&[u8]> {
        self.inode(ino).xattrs().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Whether an inode has any xattr.
    pub fn has_xattrs(&self, ino: InodeId) -> bool {
        self.inode(ino).has_xattrs()
    }

    /// Whether any inode of the root has an xattr whose name begins so.
    pub fn any_has_xattr(&self, prefix: &[u8]) -> bool {
        self.inodes().any(|ino| self.xattrs(ino).any(|(name, _)| name.starts_with(prefix)))
    }

    /// Where the bytes of a regular file lie in [`Self::contents`]; nothing for an empty file and for others.
    pub fn extent(&self, ino: InodeId) -> Option<Extent> {
        self.inode(ino).extent()
    }

    /// The BLAKE3 digest of a regular file that is not empty.
    pub fn content_digest(&self, ino: InodeId) -> Option<&[u8; 32]> {
        self.inode(ino).content_digest()
    }

    /// The contents files that extents lie in, lowest layer first.
    pub fn contents(&self) -> impl ExactSizeIterator<Item = &Contents> {
        self.contents.iter().map(|contents| &**contents)
    }

    /// The contents file with this number.
    pub fn contents_file(&self, number: u32) -> &Contents {
        &self.contents[number as usize]
    }
}

impl Contents {
    pub(crate) fn open(path: PathBuf, diff_id: Digest, length: u64) -> Result<Self> {
        let open = || {
            let file = File::open(&path)?;
            let actual = file.metadata()?.len();
            if actual == length {
                return Ok(file);
            }
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("{actual} bytes long, the index says {length}")))
        };
        match open() {
            Ok(file) => Ok(Self { path, file, diff_id, length }),
            Err(source) => Err(Error::Contents { path, source }),
        }
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Contents { path: self.path.clone(), source }
    }
}

fn numbered(ino: InodeId) -> BString {
    format!("inode {}", ino.0).into()
}
