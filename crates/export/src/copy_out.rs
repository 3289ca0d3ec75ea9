//! Copying a file or a tree of a root, with the rules of `docker cp` for names.

mod place;
mod source;

use std::fs;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::Path;

use vmroot_container_fs::{ContainerFs, InodeKind};
use vmroot_output::{Hook, Report};

use self::place::Place;
use self::source::Source;
use crate::directory::{Entries, merge_into};
use crate::tar::write_tar_below;
use crate::{DirectoryOptions, Error, Result, TarOptions};

/// Options of [`copy_out`].
#[derive(Debug, Default, Clone, Copy)]
pub struct CopyOutOptions<'a> {
    /// Copy the target of a symbolic link that the path names. If false, the link is copied. Links inside a tree are
    /// always copied as links.
    pub follow_link: bool,
    /// Give the copies the owners and groups of the root. If false, they belong to the calling user, and a program is
    /// setuid or setgid only if that is its owner and group in the root as well.
    pub keep_owners: bool,
    /// The number of threads that write files. `None` is one for each core.
    pub threads: Option<NonZeroUsize>,
    /// Fail at the first attribute or entry that the system refuses.
    pub strict: bool,
    /// Receives progress. `Break` cancels the copy.
    pub hook: Option<Hook<'a>>,
}

/// Copies `path` of the root to `destination`.
///
/// | `path` is | `destination` is | result |
/// |---|---|---|
/// | a file | missing | a file of this name |
/// | a file | a file | the file is replaced |
/// | a file | a directory | a file in it, with the name of `path` |
/// | a directory | missing | a directory of this name |
/// | a directory | a file | [`Error::DirectoryOntoFile`] |
/// | a directory | a directory | a directory in it, with the name of `path` |
/// | `DIRECTORY/.` or `/` | a directory | the entries of `DIRECTORY`, in it |
///
/// A symbolic link, a device, a named pipe or a socket counts as a file. A slash or `/.` at the end of `path` follows a
/// symbolic link to a directory. A slash at the end of `destination` requires a directory.
///
/// The directory that `destination` is in must exist. Symbolic links in `destination` are followed. Below it no link is:
/// a link of the same name is replaced by a file, and is an error for a directory. Directories of both trees are merged,
/// and get the attributes of the root; files are replaced, each when it is complete. A file never replaces a directory,
/// nor a directory a file. This is checked before anything is written.
///
/// Modes, times, hard links, xattrs and holes are kept, and the rest is as for
/// [`export_directory`](crate::export_directory). After an error, a destination that did not exist is removed. In a
/// directory that existed, entries that are already copied stay.
///
/// # Errors
/// - [`Error::FileOntoDirectory`], [`Error::DirectoryOntoFile`], [`Error::OntoDevice`]: a destination that is not
///   replaced. Nothing was written.
/// - [`Error::Incomplete`]: the system refused something, and `strict` is set or nothing else was to be copied.
/// - [`Error::Io`]: the directory of the destination is missing, or an entry cannot be written.
/// - [`Error::Root`]: `path` does not exist in the root or cannot be read.
/// - [`Error::Cancelled`]: the hook returned `Break`.
pub fn copy_out(fs: &ContainerFs, path: &[u8], destination: &Path, options: &CopyOutOptions<'_>) -> Result<Report> {
    let source = Source::find(fs, path, options.follow_link)?;
    let place = Place::find(&source, destination)?;
    let CopyOutOptions { keep_owners, threads, hook, .. } = *options;
    // Without a device, nothing of it is left.
    let is_device = !matches!(source.kind, InodeKind::Directory | InodeKind::Regular | InodeKind::Symlink);
    let strict = options.strict || is_device;
    let entries = match &place.name {
        Some(name) => Entries::Named(source.ino, name),
        None => Entries::Of(source.ino),
    };
    let options = DirectoryOptions { threads, strict, hook, ..DirectoryOptions::default() };
    let copied = merge_into(fs, &entries, &place.directory, keep_owners, &options);
    if let (Err(error), Some(new)) = (&copied, place.new_path()) {
        remove_incomplete(error, &new)?;
    }
    copied
}

/// Writes `path` of the root as a tar, as `docker cp IMAGE:PATH -` does.
///
/// The paths in the tar begin with the last name of `path`; with that of its target, if `follow_link` is set and it is a
/// symbolic link. For `DIRECTORY/.` and for `/` they are relative to the directory, which is `./`.
///
/// # Errors
/// - [`Error::Root`]: `path` does not exist in the root or cannot be read.
/// - The errors of [`write_tar`](crate::write_tar).
pub fn write_path(
    fs: &ContainerFs,
    path: &[u8],
    follow_link: bool,
    writer: &mut dyn Write,
    options: &TarOptions<'_>,
) -> Result<Report> {
    let source = Source::find(fs, path, follow_link)?;
    let name = match source.is_entries_only {
        true => &[][..],
        false if follow_link => source.name_of_target(),
        false => &source.name,
    };
    write_tar_below(fs, source.ino, name, writer, options)
}

/// Removes what was written under a name that did not exist before.
fn remove_incomplete(error: &Error, path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        // It was not created.
        Err(_) => Ok(()),
    };
    match error {
        // The result of a cancelled copy is only that nothing is left.
        Error::Cancelled => Ok(removed.map_err(vmroot_output::Error::on("remove the incomplete copy", path))?),
        _ => Ok(()),
    }
}
