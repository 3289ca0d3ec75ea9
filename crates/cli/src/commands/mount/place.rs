//! The mountpoint, before anything is fetched.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context as _, bail};
use rustix::io::Errno;
use vmroot::kernel_mount::{MountAt, Owner, check_overlay};

use crate::args::MountArguments;
use crate::paths::NewDirectory;

/// Checks the options and the mountpoint of a mount, and creates the mountpoint with `--mkdir`. A new directory is
/// removed unless the result is kept.
pub(super) fn prepare(directory: &Path, options: &MountArguments) -> anyhow::Result<NewDirectory> {
    options.top.check()?;
    options.init.check()?;
    let named = || directory.display().to_string();
    let new = match options.mkdir {
        true => NewDirectory::create(directory).with_context(named)?,
        false => NewDirectory::default(),
    };
    check_mountpoint(directory, options)?;
    if options.upper.is_some() {
        check_overlay(directory).map_err(vmroot::Error::from)?;
    }
    Ok(new)
}

/// Fails if a root cannot be mounted on a directory, or if that would hide something and `--force` is not set.
fn check_mountpoint(directory: &Path, options: &MountArguments) -> anyhow::Result<()> {
    let named = || directory.display().to_string();
    let found = match MountAt::find(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !options.mkdir => {
            return Err(error).with_context(|| format!("{}: --mkdir creates it", directory.display()));
        }
        found => found.with_context(named)?,
    };
    match (found, directory.metadata()) {
        (Some(mount), _) if !options.force => {
            bail!("{}: {} is mounted there; --force mounts over it", directory.display(), describe(&mount))
        }
        // The server of a mount there has ended. The new mount covers it.
        (Some(_), Err(error)) if error.raw_os_error() == Some(Errno::NOTCONN.raw_os_error()) => Ok(()),
        (_, metadata) => {
            if !metadata.with_context(named)?.is_dir() {
                return Err(io::Error::from(io::ErrorKind::NotADirectory)).with_context(named);
            }
            // A directory that this user may not list counts as empty.
            let is_empty = || fs::read_dir(directory).map_or(true, |mut entries| entries.next().is_none());
            if !options.force && !is_empty() {
                bail!(
                    "{}: not empty; --force mounts over it, and hides its files until it is unmounted",
                    directory.display()
                );
            }
            Ok(())
        }
    }
}

/// Describes a mount in an error.
fn describe(mount: &MountAt) -> String {
    match (mount.owner(), mount.image()) {
        (Owner::Vmroot, Some(image)) => format!("vmroot's mount of {}", image.display()),
        _ => format!("a file system of type {}, {},", mount.form.display(), mount.source.display()),
    }
}
