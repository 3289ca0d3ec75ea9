//! The listing of a directory on disk or of a mount.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use vmroot_model::{Algorithm, Hasher};

use super::{Listing, Row};
use crate::error::{Error, Result};
use crate::xattr;

impl Listing {
    /// Lists a directory recursively and reads every file. Paths may have up to 4095 bytes.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read. Xattrs that cannot be listed are shown as `ERR=` and the error number.
    pub fn of_directory(root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref();
        let mut listing = Self::default();
        let mut groups: BTreeMap<(u64, u64), Vec<Vec<u8>>> = BTreeMap::new();
        let mut directories = vec![root.to_path_buf()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory).map_err(Error::io("list", &directory))? {
                let path = entry.map_err(Error::io("list", &directory))?.path();
                let metadata = fs::symlink_metadata(&path).map_err(Error::io("look at", &path))?;
                let relative =
                    path.strip_prefix(root).expect("it was found below the root").as_os_str().as_bytes().to_vec();
                if metadata.is_dir() {
                    directories.push(path.clone());
                } else if metadata.nlink() > 1 {
                    groups.entry((metadata.dev(), metadata.ino())).or_default().push(relative.clone());
                }
                listing.rows.insert(relative, row(&path, &metadata)?);
            }
        }
        groups.values_mut().for_each(|paths| paths.sort());
        listing.set_links(groups.values());
        Ok(listing)
    }
}

fn row(path: &Path, metadata: &Metadata) -> Result<Row> {
    let kind = metadata.file_type();
    let (kind, device) = if kind.is_dir() {
        ('d', false)
    } else if kind.is_file() {
        ('f', false)
    } else if kind.is_symlink() {
        ('l', false)
    } else if kind.is_char_device() {
        ('c', true)
    } else if kind.is_block_device() {
        ('b', true)
    } else if kind.is_fifo() {
        ('p', false)
    } else {
        ('s', false)
    };
    let numbers = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
    let target = || {
        fs::read_link(path).map_err(Error::io("read the link", path)).map(|target| target.into_os_string().into_vec())
    };
    Ok(Row {
        kind,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        size: (kind == 'f').then_some(metadata.len()),
        device: device.then_some(numbers),
        link: None,
        target: if kind == 'l' { Some(target()?) } else { None },
        xattrs: xattrs(path),
        sha256: if kind == 'f' { Some(half_digest(path)?) } else { None },
    })
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    match xattr::read_all(path) {
        Err(errno) => BTreeMap::from([(b"ERR".to_vec(), errno.raw_os_error().to_string().into_bytes())]),
        Ok(all) => all.into_iter().filter(|(name, _)| !xattr::is_overlay(name)).collect(),
    }
}

fn half_digest(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer).map_err(Error::io("read", path))? {
            0 => return Ok(hasher.finish().hex()[..32].into()),
            count => hasher.update(&buffer[..count]),
        }
    }
}
