//! The place of a copy on this machine.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use vmroot_output::directory_of;

use super::source::Source;
use crate::{Error, Result};

/// The most symbolic links at the end of a destination (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// A directory, and the name of the copy in it.
pub(super) struct Place {
    /// The directory, which exists.
    pub(super) directory: PathBuf,
    /// The name of the copy. `None` if the entries of the source are copied into the directory.
    pub(super) name: Option<Vec<u8>>,
    is_new: bool,
}

impl Place {
    /// Finds the place for a source. The table of [`copy_out`](super::copy_out) has the rules.
    pub(super) fn find(source: &Source, destination: &Path) -> Result<Self> {
        let failed = vmroot_output::Error::on::<io::Error>;
        let path = follow_links(destination).map_err(failed("copy to", destination))?;
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => Ok(Self::in_directory(source, path)),
            Ok(metadata) => Self::onto_file(source, destination, &path, &metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::new(source, destination, &path),
            Err(error) => Err(failed("copy to", destination)(error).into()),
        }
    }

    fn in_directory(source: &Source, directory: PathBuf) -> Self {
        let name = (!source.is_entries_only).then(|| source.name.clone());
        let is_new = name.as_ref().is_some_and(|name| is_missing(&directory.join(OsStr::from_bytes(name))));
        Self { directory, name, is_new }
    }

    fn onto_file(source: &Source, destination: &Path, path: &Path, metadata: &Metadata) -> Result<Self> {
        if source.is_directory() {
            return Err(Error::DirectoryOntoFile(destination.to_owned()));
        }
        if !metadata.is_file() {
            return Err(Error::OntoDevice(destination.to_owned()));
        }
        let name = path.file_name().map(|name| name.as_bytes().to_vec());
        Ok(Self { directory: directory_of(path).to_owned(), name, is_new: false })
    }

    fn new(source: &Source, destination: &Path, path: &Path) -> Result<Self> {
        let directory = directory_of(path).to_owned();
        let failed = |path: &Path, errno: Errno| vmroot_output::Error::on("copy to", path)(errno).into();
        if !directory.is_dir() {
            return Err(failed(&directory, if directory.exists() { Errno::NOTDIR } else { Errno::NOENT }));
        }
        let requires_directory = destination.as_os_str().as_bytes().ends_with(b"/");
        match path.file_name() {
            Some(name) if source.is_directory() || !requires_directory => {
                Ok(Self { directory, name: Some(name.as_bytes().to_vec()), is_new: true })
            }
            _ => Err(failed(destination, Errno::NOENT)),
        }
    }

    /// Returns the path of a copy that did not exist before.
    pub(super) fn new_path(&self) -> Option<PathBuf> {
        let name = self.name.as_ref().filter(|_| self.is_new)?;
        Some(self.directory.join(OsStr::from_bytes(name)))
    }
}

/// Follows symbolic links at the end of a path, also to a path that does not exist.
fn follow_links(path: &Path) -> io::Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = directory_of(&path).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(Errno::LOOP.into())
}

fn is_missing(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}
