//! Checks of the files and directories on the command line. They come before an image is fetched, so that a wrong path
//! costs no pull.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::{Access, AtFlags, CWD, OFlags, accessat};

use crate::exit::Advised;
use crate::signals::CleanupGuard;

/// Fails if no file can be written at `path`.
pub(crate) fn check_file(path: &Path) -> anyhow::Result<()> {
    refuse_terminal(path)?;
    check_writable(path, |path| {
        let metadata = path.metadata()?;
        match metadata.is_dir() {
            true => Err(io::ErrorKind::IsADirectory.into()),
            // A device or a pipe is opened for writing. A regular file is replaced by a new file in its directory.
            false if !metadata.is_file() => check_access(path, Access::WRITE_OK),
            false => check_access(parent(&path.canonicalize()?), Access::WRITE_OK | Access::EXEC_OK),
        }
    })
}

/// Fails if no directory can be created or written at `path`.
pub(crate) fn check_directory(path: &Path) -> anyhow::Result<()> {
    check_writable(path, |path| match path.metadata()?.is_dir() {
        true => check_access(path, Access::WRITE_OK | Access::EXEC_OK),
        false => Err(io::ErrorKind::NotADirectory.into()),
    })
}

/// Fails if `path` is a file, a symbolic link or a disk, whose contents an output would replace. Pipes, terminals and
/// other devices that are written as a stream are not replaced, also not behind a link.
pub(crate) fn check_new(path: &Path) -> anyhow::Result<()> {
    let Ok(own) = path.symlink_metadata() else { return Ok(()) };
    let what = match path.metadata() {
        Ok(target) if target.is_dir() => return Ok(()),
        Ok(target) if !target.is_file() && !target.file_type().is_block_device() => return Ok(()),
        _ if own.is_symlink() => "a symbolic link",
        Ok(target) if target.is_file() => "a file",
        _ => "a disk",
    };
    let message = format!("{}: {what} of this name exists", path.display());
    Err(Advised::new(message, "--force replaces its contents").into())
}

/// Fails if `path` is a terminal, such as `/dev/stdout` without a redirection: it shows archives and images as nonsense.
pub(crate) fn refuse_terminal(path: &Path) -> anyhow::Result<()> {
    let is_device = path.metadata().is_ok_and(|metadata| metadata.file_type().is_char_device());
    let open = || fs::File::options().write(true).custom_flags(terminal_flags()).open(path);
    if is_device && open().is_ok_and(|file| file.is_terminal()) {
        let message = format!("{} is a terminal, which shows such data as nonsense", path.display());
        return Err(Advised::usage(message, "name a file, or pipe it to another program").into());
    }
    Ok(())
}

/// The terminal does not become that of this process, and its open does not wait.
fn terminal_flags() -> i32 {
    (OFlags::NOCTTY | OFlags::NONBLOCK).bits().cast_signed()
}

/// Fails if a command would read `what` from a terminal, on which no one types such data.
pub(crate) fn refuse_terminal_input(what: &str) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() {
        return Ok(());
    }
    let message = format!("standard input is a terminal, which has no {what}");
    Err(Advised::usage(message, "redirect standard input (`<FILE`), pipe to it, or name a file").into())
}

/// Returns whether `path` is a directory with entries.
pub(crate) fn is_full_directory(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some())
}

/// Fails if no directory can be created or written at `path`, or if it is not empty.
pub(crate) fn check_empty_directory(path: &Path) -> anyhow::Result<()> {
    check_directory(path)?;
    if is_full_directory(path) {
        return Err(vmroot::Error::from(vmroot::export::Error::TargetNotEmpty(path.to_owned())).into());
    }
    Ok(())
}

/// Fails if `path` cannot be created in its parent directory. If it exists, `existing` checks it.
fn check_writable(path: &Path, existing: impl FnOnce(&Path) -> io::Result<()>) -> anyhow::Result<()> {
    let checked = match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = parent(path);
            match directory.metadata() {
                Ok(metadata) if !metadata.is_dir() => {
                    let text = format!("{} is not a directory", directory.display());
                    Err(io::Error::new(io::ErrorKind::NotADirectory, text))
                }
                Ok(_) => check_access(directory, Access::WRITE_OK | Access::EXEC_OK),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let text = format!("there is no directory {}", directory.display());
                    Err(io::Error::new(io::ErrorKind::NotFound, text))
                }
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
        Ok(_) => existing(path),
    };
    checked.with_context(|| format!("cannot write {}", path.display()))
}

/// A directory for results and its parents that were created with it. When this is dropped, those that are empty are
/// removed.
#[derive(Default)]
pub(crate) struct NewDirectory(Vec<(PathBuf, CleanupGuard)>);

impl NewDirectory {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        let mut missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
        missing.reverse();
        let mut made = Self(Vec::new());
        for directory in missing {
            // A directory that another process has created meanwhile is not removed later.
            match fs::create_dir(directory) {
                Ok(()) => made.0.push((directory.to_owned(), CleanupGuard::new(directory))),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(made)
    }

    /// Keeps the directories.
    pub(crate) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for NewDirectory {
    fn drop(&mut self) {
        for (directory, _) in self.0.iter().rev() {
            // The error is ignored: a directory that is not empty stays.
            let _ = fs::remove_dir(directory);
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Fails if this process does not have `access` to a file, as its effective user and groups.
pub(crate) fn check_access(path: &Path, access: Access) -> io::Result<()> {
    Ok(accessat(CWD, path, access, AtFlags::EACCESS)?)
}
