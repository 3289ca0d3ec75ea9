//! The mountpoint, before anything is fetched.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::io::Errno;
use vmroot::ImageName;
use vmroot::kernel_mount::{MountAt, Owner, check_overlay};

use crate::args::MountArguments;
use crate::context::Context;
use crate::disk_files;
use crate::exit::Advised;
use crate::paths::NewDirectory;

/// Checks the options and the mountpoint of a mount, and creates the mountpoint with `--mkdir`. A new directory is
/// removed unless the result is kept.
pub(super) fn prepare(
    context: &Context,
    image: &str,
    directory: &Path,
    options: &MountArguments,
) -> anyhow::Result<NewDirectory> {
    if !options.mkdir && are_exchanged(context, image, directory) {
        let message = format!("{image} is a directory, and is named where the image belongs");
        return Err(Advised::usage(message, "the order is `vmroot mount IMAGE DIRECTORY`").into());
    }
    options.top.check()?;
    options.init.check()?;
    let named = || directory.display().to_string();
    let new = match options.mkdir {
        true => NewDirectory::create(directory).with_context(named)?,
        false => NewDirectory::default(),
    };
    check_mountpoint(directory)?;
    if let Some(upper) = &options.upper {
        if options.work.is_none() {
            check_disk(upper, options)?;
        }
        check_overlay(directory).map_err(vmroot::Error::from)?;
        if let Some(work) = &options.work {
            check_layers(upper, work)?;
        }
    }
    Ok(new)
}

/// Returns whether the image and the directory were named in the other order: the first is a directory and no image of
/// the cache, and the second does not exist and looks like an image.
fn are_exchanged(context: &Context, image: &str, directory: &Path) -> bool {
    let is_missing = directory.metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    if !is_missing || !Path::new(image).is_dir() {
        return false;
    }
    let Ok(client) = context.client() else { return false };
    let is_here = |name: &str| {
        client.find(name, context.requested_platform()).map_or_else(|error| error.is_for_other_platforms(), |_| true)
    };
    let looks_like_image = |name: &str| ImageName::has_transport(name) || name.contains(':') || is_here(name);
    !is_here(image) && directory.to_str().is_some_and(looks_like_image)
}

/// A mountpoint that does not exist.
#[derive(Debug)]
pub(crate) struct NoMountpoint {
    path: PathBuf,
    source: io::Error,
}

impl fmt::Display for NoMountpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

impl std::error::Error for NoMountpoint {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Returns the path by which a mountpoint is found after the mount, too: `.` and `sub/..` would then be below the mount.
pub(super) fn resolve(directory: &Path) -> io::Result<PathBuf> {
    // The server of a mount there may have ended, or the directory is created later.
    let of_parent = || Some(directory.parent()?.canonicalize().ok()?.join(directory.file_name()?));
    match directory.canonicalize().ok().or_else(of_parent) {
        Some(path) => Ok(path),
        None => std::path::absolute(directory),
    }
}

/// Fails for directories of a writable view that overlayfs refuses with no more than an error number.
fn check_layers(upper: &Path, work: &Path) -> anyhow::Result<()> {
    let place = |path: &Path| {
        let found = std::path::absolute(path).and_then(|path| existing_part(&path));
        found.with_context(|| path.display().to_string())
    };
    let ((upper_at, upper_device), (work_at, work_device)) = (place(upper)?, place(work)?);
    let (upper, work) = (upper.display(), work.display());
    let hint = "name a directory beside that of --upper, such as a new one in the same directory";
    if upper_at.starts_with(&work_at) || work_at.starts_with(&upper_at) {
        let message = format!("--work {work} and --upper {upper}: one of the two directories contains the other");
        return Err(Advised::usage(message, hint).into());
    }
    if upper_device != work_device {
        return Err(
            Advised::usage(format!("--work {work} is on another file system than --upper {upper}"), hint).into()
        );
    }
    Ok(())
}

/// Fails for a disk of a writable view that is a directory, or that is missing and has no size.
fn check_disk(upper: &Path, options: &MountArguments) -> anyhow::Result<()> {
    if upper.is_dir() {
        let message = format!("--upper {}: a directory needs --work, too", upper.display());
        return Err(Advised::usage(message, "--work names an empty directory on the same file system").into());
    }
    if disk_files::open_upper(upper)?.is_none() && options.upper_size.is_none() {
        let message = format!("--upper {}: no such disk", upper.display());
        let hint = "--upper-size makes one of this size; with --work, --upper is a directory";
        return Err(Advised::not_found(message, hint).into());
    }
    Ok(())
}

/// Returns the absolute path of a directory that may be missing, with the links of its existing part resolved.
pub(super) fn resolve_missing(path: &Path) -> io::Result<PathBuf> {
    Ok(existing_part(&std::path::absolute(path)?)?.0)
}

/// Returns a path with the links of its existing part resolved, and the device of that part.
fn existing_part(path: &Path) -> io::Result<(PathBuf, u64)> {
    for existing in path.ancestors() {
        match existing.canonicalize() {
            Ok(resolved) => {
                let rest = path.strip_prefix(existing).expect("it is an ancestor");
                let device = resolved.metadata()?.dev();
                // A join with an empty path would end in a slash.
                let whole = if rest.as_os_str().is_empty() { resolved } else { resolved.join(rest) };
                return Ok((whole, device));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Fails if the mountpoint is not a directory.
pub(crate) fn check_mountpoint(directory: &Path) -> anyhow::Result<()> {
    let named = || directory.display().to_string();
    match directory.metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(io::Error::from(io::ErrorKind::NotADirectory)).with_context(named),
        // The server of a mount there has ended. `check_nothing_hidden` names the mount.
        Err(error) if error.raw_os_error() == Some(Errno::NOTCONN.raw_os_error()) => Ok(()),
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            Err(NoMountpoint { path: directory.to_owned(), source }.into())
        }
        Err(error) => Err(error).with_context(named),
    }
}

/// Fails if a mount would hide another mount, or files.
///
/// This is the last check before the mount. An image that was pulled for it stays in the cache.
pub(crate) fn check_nothing_hidden(directory: &Path) -> anyhow::Result<()> {
    let place = directory.display();
    if let Some(mount) = MountAt::find(directory).with_context(|| place.to_string())? {
        let message = format!("{place}: {} is mounted there", describe(&mount));
        return Err(Advised::new(message, "--force mounts over it").into());
    }
    // A directory that this user may not list counts as empty.
    if fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some()) {
        let hint = "--force mounts over it, and hides its files until it is unmounted";
        return Err(Advised::new(format!("{place}: not empty"), hint).into());
    }
    Ok(())
}

/// Describes a mount in an error.
fn describe(mount: &MountAt) -> String {
    match (mount.owner(), mount.image()) {
        (Owner::Vmroot, Some(image)) => format!("vmroot's mount of {}", image.display()),
        _ => format!("a file system of type {} ({})", mount.form.display(), mount.source.display()),
    }
}
