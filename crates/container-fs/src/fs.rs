//! The merged root, and its operations on inodes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::BString;
use vmroot_layer_index::{ContentsFile, DirentKind, Extent, Index, Inode, InodeId, InodeKind, Target};
use vmroot_model::Digest;

use crate::stat::{BLOCK, Stat, StatFs};
use crate::{Error, Result};

/// The merged root of an image.
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
/// let root = ContainerFs::open_files(&root_idx, &|diff_id| directory.path().join(diff_id.hex() + ".contents"))?;
/// assert_eq!(root.read("/etc/os-release")?, b"ID=demo\n");
/// let file = root.resolve_path(b"/etc/../etc/os-release")?;
/// let mut bytes = [0; 100];
/// let count = root.read_at(file.ino, 0, &mut bytes)?;
/// assert_eq!(&bytes[..count], b"ID=demo\n");
/// # Ok::<(), vmroot_container_fs::Error>(())
/// ```
///
/// All methods take `&self` and may be called from several threads.
///
/// # Panics
/// Methods that take an [`InodeId`] panic if the root has no such inode. An id of another root may also refer to
/// another inode. [`ContainerFs::inode_id`] checks a number from another source.
#[derive(Debug)]
pub struct ContainerFs {
    index: Index,
    contents: Vec<Arc<Contents>>,
}

/// The open `.contents` file of a layer.
#[derive(Debug)]
pub struct Contents {
    /// The path of the file.
    pub path: PathBuf,
    /// The file, opened for reading.
    pub file: File,
    /// The diff id of the layer.
    pub diff_id: Digest,
    /// The length of the file in bytes.
    pub length: u64,
    /// The directory of the shared cache that the file is in; `None` for a file of another place. Errors name it.
    pub shared: Option<PathBuf>,
}

/// One entry of a directory.
#[derive(Debug, Clone, Copy)]
pub struct DirEntry<'a> {
    /// The bytes of the name.
    pub name: &'a [u8],
    /// The inode with the name.
    pub ino: InodeId,
    /// The type of the inode.
    pub kind: InodeKind,
    /// The cookie for [`ContainerFs::readdir`] to continue after this entry.
    pub next: u64,
}

impl ContainerFs {
    /// Opens a root: its index, and the contents file of each layer.
    ///
    /// `contents_of` returns the path of the contents file for the diff id of a layer.
    ///
    /// # Errors
    /// - [`Error::Index`] when the index cannot be read or is damaged.
    /// - [`Error::Contents`] when a contents file is missing or does not have the length in the index.
    pub fn open_files(root_idx: &Path, contents_of: &dyn Fn(&Digest) -> PathBuf) -> Result<Self> {
        let open = |file: &ContentsFile| Contents::open(contents_of(&file.diff_id), file.diff_id, file.length);
        Self::from_index(Index::open(root_idx)?, open)
    }

    /// Makes a root of its index. `open_contents` opens the contents file of a layer.
    ///
    /// # Errors
    /// The errors of `open_contents`.
    pub fn from_index(index: Index, open_contents: impl Fn(&ContentsFile) -> Result<Contents>) -> Result<Self> {
        let contents = index.contents().iter().map(|file| open_contents(file).map(Arc::new)).collect::<Result<_>>()?;
        Ok(Self { index, contents })
    }

    pub(crate) fn from_parts(index: Index, contents: Vec<Arc<Contents>>) -> Self {
        Self { index, contents }
    }

    /// Returns the merged index. It does not depend on the paths of the contents files.
    pub fn index(&self) -> &Index {
        &self.index
    }

    pub(crate) fn shared_contents(&self) -> &[Arc<Contents>] {
        &self.contents
    }

    pub(crate) fn inode(&self, ino: InodeId) -> Inode<'_> {
        self.index.inode(ino)
    }

    /// Returns the chain id of the root's layers.
    pub fn chain_id(&self) -> &Digest {
        self.index.identity()
    }

    /// Returns the number of inodes. Their ids are the numbers from 0 to one less than it.
    pub fn inode_count(&self) -> u32 {
        self.index.inode_count()
    }

    /// Returns all inodes, by number.
    pub fn inodes(&self) -> impl Iterator<Item = InodeId> + use<> {
        (0..self.inode_count()).map(InodeId)
    }

    /// Returns the inode with this number, or `None` if the root has no such inode.
    pub fn inode_id(&self, number: u64) -> Option<InodeId> {
        self.index.inode_id(number)
    }

    /// Looks up a name in a directory.
    ///
    /// # Errors
    /// Each error has the name.
    /// - [`Error::NotADirectory`] when `directory` is not a directory.
    /// - [`Error::NotFound`] when the directory has no such entry.
    pub fn lookup(&self, directory: InodeId, name: &[u8]) -> Result<InodeId> {
        match self.index.child(directory, name).map(|dirent| dirent.target) {
            Some(Target::Inode(ino)) => Ok(ino),
            _ if self.inode(directory).kind() != InodeKind::Directory => Err(Error::NotADirectory(name.into())),
            _ => Err(Error::NotFound(name.into())),
        }
    }

    /// Returns the attributes of an inode.
    pub fn stat(&self, ino: InodeId) -> Stat {
        Stat::of(ino, &self.inode(ino))
    }

    /// Returns the size of the root.
    pub fn statfs(&self) -> StatFs {
        let blocks = self.contents.iter().map(|contents| contents.length / BLOCK).sum();
        StatFs { block_size: BLOCK, blocks, inodes: u64::from(self.inode_count()) }
    }

    /// Returns the entries of a directory from `cookie` on, in byte order and without `.` and `..`.
    ///
    /// The cookie is 0, or [`DirEntry::next`] of an entry. Cookies never expire: they only depend on the root.
    ///
    /// # Errors
    /// [`Error::NotADirectory`], without a path, when `directory` is not a directory.
    pub fn readdir(&self, directory: InodeId, cookie: u64) -> Result<impl ExactSizeIterator<Item = DirEntry<'_>>> {
        if self.inode(directory).kind() != InodeKind::Directory {
            return Err(Error::NotADirectory(BString::default()));
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

    /// Returns the number of entries of a directory, or 0 for other inodes.
    pub fn child_count(&self, directory: InodeId) -> usize {
        self.index.child_count(directory)
    }

    /// Returns the target of a symbolic link.
    ///
    /// # Errors
    /// [`Error::NotALink`], without a path, for other inodes.
    pub fn readlink(&self, ino: InodeId) -> Result<&[u8]> {
        let inode = self.inode(ino);
        match inode.kind() {
            InodeKind::Symlink => Ok(inode.link_target()),
            _ => Err(Error::NotALink(BString::default())),
        }
    }

    /// Reads bytes of a regular file from `offset` on into `buffer`, and returns their number.
    ///
    /// The number is less than the size of `buffer` only at the end of the file. Inodes other than regular files and
    /// directories read as empty.
    ///
    /// # Errors
    /// - [`Error::IsADirectory`], without a path, for a directory.
    /// - [`Error::Contents`] when the contents file cannot be read.
    pub fn read_at(&self, ino: InodeId, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let inode = self.inode(ino);
        if inode.kind() == InodeKind::Directory {
            return Err(Error::IsADirectory(BString::default()));
        }
        let Some(extent) = inode.extent().filter(|extent| offset < extent.length) else { return Ok(0) };
        let count = usize::try_from(extent.length - offset).unwrap_or(usize::MAX).min(buffer.len());
        let contents = &self.contents[extent.file as usize];
        contents
            .file
            .read_exact_at(&mut buffer[..count], extent.offset + offset)
            .map_err(|source| contents.read_error(source))?;
        Ok(count)
    }

    /// Returns the xattrs of an inode, sorted by name.
    pub fn xattrs(&self, ino: InodeId) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.inode(ino).xattrs()
    }

    /// Returns the value of an xattr of an inode.
    pub fn xattr(&self, ino: InodeId, name: &[u8]) -> Option<&[u8]> {
        self.inode(ino).xattrs().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Returns whether an inode has any xattr.
    pub fn has_xattrs(&self, ino: InodeId) -> bool {
        self.inode(ino).has_xattrs()
    }

    /// Returns whether any inode of the root has an xattr whose name begins with `prefix`.
    ///
    /// This takes time linear in the number of inodes.
    pub fn any_has_xattr(&self, prefix: &[u8]) -> bool {
        self.inodes().any(|ino| self.xattrs(ino).any(|(name, _)| name.starts_with(prefix)))
    }

    /// Returns the place of a regular file's bytes in [`Self::contents`], or `None` for an empty file and for other
    /// inodes.
    pub fn extent(&self, ino: InodeId) -> Option<Extent> {
        self.inode(ino).extent()
    }

    /// Returns the BLAKE3 digest of a regular file, or `None` for an empty file and for other inodes.
    pub fn content_digest(&self, ino: InodeId) -> Option<&[u8; 32]> {
        self.inode(ino).content_digest()
    }

    /// Returns the contents files that extents lie in, the lowest layer first.
    pub fn contents(&self) -> impl ExactSizeIterator<Item = &Contents> {
        self.contents.iter().map(|contents| &**contents)
    }

    /// Returns the contents file with this number, which is [`Extent::file`].
    ///
    /// # Panics
    /// If the root has no such contents file.
    pub fn contents_file(&self, number: u32) -> &Contents {
        &self.contents[number as usize]
    }

    /// Returns the error for the contents file with this number, which the system cannot read at `offset`. It names a file
    /// of the root whose bytes are there.
    ///
    /// # Panics
    /// If the root has no such contents file.
    pub fn unreadable(&self, number: u32, offset: u64, source: io::Error) -> Error {
        let error = self.contents_file(number).read_error(source);
        let has_bytes = |ino: InodeId| {
            self.extent(ino).is_some_and(|it| it.file == number && (it.offset..it.offset + it.length).contains(&offset))
        };
        match self.walk().find(|entry| has_bytes(entry.ino)) {
            Some(entry) => error.of_file([b"/", &entry.path[..]].concat().into()),
            None => error,
        }
    }
}

impl Contents {
    /// Opens a contents file, and checks its length in bytes.
    ///
    /// # Errors
    /// [`Error::Contents`] when the file is missing or has another length.
    pub fn open(path: PathBuf, diff_id: Digest, length: u64) -> Result<Self> {
        let open = || {
            let file = File::open(&path)?;
            let actual = file.metadata()?.len();
            if actual == length {
                return Ok(file);
            }
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("{actual} bytes long, expected {length}")))
        };
        match open() {
            Ok(file) => Ok(Self { path, file, diff_id, length, shared: None }),
            Err(source) => Err(Error::Contents { path, shared: None, source }),
        }
    }

    pub(crate) fn read_error(&self, source: io::Error) -> Error {
        Error::Contents { path: self.path.clone(), shared: self.shared.clone(), source }
    }
}
