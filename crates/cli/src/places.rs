//! Files and directories that were named, looked at before an image is fetched for them: a refusal costs no pull.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::signals::Unfinished;

/// Refuses a path that no file can be written to.
pub(crate) fn check_file(path: &Path) -> anyhow::Result<()> {
    check_new(path, |path| {
        let metadata = path.metadata()?;
        match metadata.is_dir() {
            true => Err(io::ErrorKind::IsADirectory.into()),
            // A device or a pipe is written to itself, and a file is replaced by another in its directory.
            false if !metadata.is_file() => may(path, Access::WRITE_OK),
            false => may(parent(&path.canonicalize()?), Access::WRITE_OK | Access::EXEC_OK),
        }
    })
}

/// Refuses a path that can be no directory of an export.
pub(crate) fn check_directory(path: &Path) -> anyhow::Result<()> {
    check_new(path, |path| match path.metadata()?.is_dir() {
        true => may(path, Access::WRITE_OK | Access::EXEC_OK),
        false => Err(io::ErrorKind::NotADirectory.into()),
    })
}

/// Refuses one that would not begin empty, too.
pub(crate) fn check_empty_directory(path: &Path) -> anyhow::Result<()> {
    check_directory(path)?;
    if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(vmroot::Error::from(vmroot::export::Error::TargetNotEmpty(path.to_owned())).into());
    }
    Ok(())
}

/// Refuses a path without a directory to make it in; what is there already is for `existing` to judge.
fn check_new(path: &Path, existing: impl FnOnce(&Path) -> io::Result<()>) -> anyhow::Result<()> {
    let checked = match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = parent(path);
            match directory.metadata() {
                Ok(metadata) if !metadata.is_dir() => Err(io::ErrorKind::NotADirectory.into()),
                Ok(_) => may(directory, Access::WRITE_OK | Access::EXEC_OK),
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
        Ok(_) => existing(path),
    };
    checked.with_context(|| format!("cannot write {}", path.display()))
}

/// A directory for results, with those of its parents that were missing. Dropped, what was made of them is removed if it is
/// empty.
pub(crate) struct NewDirectory(Vec<(PathBuf, Unfinished)>);

impl NewDirectory {
    pub(crate) fn make(path: &Path) -> io::Result<Self> {
        let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        let mut missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
        missing.reverse();
        let mut made = Self(Vec::new());
        for directory in missing {
            // Another process may have been quicker; then it is not ours to remove.
            match fs::create_dir(directory) {
                Ok(()) => made.0.push((directory.to_owned(), Unfinished::new(directory))),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(made)
    }

    /// Lets them stay.
    pub(crate) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for NewDirectory {
    fn drop(&mut self) {
        for (directory, _) in self.0.iter().rev() {
            // One that is not empty stays.
            let _ = fs::remove_dir(directory);
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether this process may do something with a file.
pub(crate) fn may(path: &Path, access: Access) -> io::Result<()> {
    Ok(accessat(CWD, path, access, AtFlags::EACCESS)?)
}
