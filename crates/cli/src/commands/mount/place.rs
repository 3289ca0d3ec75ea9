//! The mountpoint, before anything is fetched.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context as _;
use rustix::io::Errno;
use vmroot::kernel_mount::{MountAt, Owner, check_overlay};

use crate::args::MountArguments;
use crate::exit::Advised;
use crate::paths::NewDirectory;

/// Checks the options and the mountpoint of a mount, and creates the mountpoint with `--mkdir`. A new directory is
/// removed unless the result is kept.
pub(super) fn prepare(image: &str, directory: &Path, options: &MountArguments) -> anyhow::Result<NewDirectory> {
    if Path::new(image).is_dir() && !directory.exists() && !options.mkdir {
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
    if options.upper.is_some() {
        check_overlay(directory).map_err(vmroot::Error::from)?;
    }
    Ok(new)
}

/// Fails if the mountpoint is not a directory.
fn check_mountpoint(directory: &Path) -> anyhow::Result<()> {
    let named = || directory.display().to_string();
    match directory.metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(io::Error::from(io::ErrorKind::NotADirectory)).with_context(named),
        // The server of a mount there has ended. `check_nothing_hidden` names the mount.
        Err(error) if error.raw_os_error() == Some(Errno::NOTCONN.raw_os_error()) => Ok(()),
        Err(error) => Err(error).with_context(named),
    }
}

/// Fails if a mount would hide another mount, or files.
///
/// This is the last check before the mount. An image that was pulled for it stays in the cache.
pub(super) fn check_nothing_hidden(directory: &Path) -> anyhow::Result<()> {
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
