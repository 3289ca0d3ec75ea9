//! `umount`: unmounts what vmroot mounted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::process::getuid;
use serde_json::json;
use vmroot::fuse::unmount_as_user;
use vmroot::kernel_mount::{MountAt, Owner};

use crate::args::UmountArguments;
use crate::context::Context;
use crate::exit::Advised;
use crate::mounts::Records;
use crate::output;

/// Unmounts each directory, up to the first error.
pub(crate) fn unmount(context: &Context, options: &UmountArguments) -> anyhow::Result<()> {
    let mut unmounted = Vec::new();
    let result = options.directories.iter().try_for_each(|directory| {
        let mountpoint = unmount_one(context, directory, options)?;
        unmounted.push(json!({"directory": mountpoint.to_string_lossy(), "removed": options.rmdir}));
        Ok(())
    });
    // After an error, the directories before it are unmounted too.
    if context.json() && (result.is_ok() || !unmounted.is_empty()) {
        output::print_json(&unmounted.into())?;
    }
    result
}

/// Unmounts a mount of vmroot, with umount(2) or, without the permission for it, with `fusermount3`, and returns its
/// mountpoint.
///
/// The mount is checked first. In the microseconds before umount(2), which takes a path, a privileged user could
/// replace it by another mount. Holding a descriptor of the checked mount would not help: the kernel would report it as
/// busy.
fn unmount_one(context: &Context, directory: &Path, options: &UmountArguments) -> anyhow::Result<PathBuf> {
    let named = || directory.display().to_string();
    let Some(mount) = MountAt::find(directory).with_context(named)? else {
        return Err(not_mounted(context, directory));
    };
    let place = mount.mountpoint.display();
    let (form, source) = (mount.form.display(), mount.source.display());
    match mount.owner() {
        Owner::Vmroot => {}
        Owner::Bind { original } => {
            let of = original.map_or_else(
                || format!("a directory of {source}"),
                |original| format!("vmroot's mount on {}", original.display()),
            );
            let message = format!("{place}: not a mount of vmroot, but a bind mount of {of}");
            return Err(Advised::new(message, format!("`umount {place}` unmounts it")).into());
        }
        Owner::Other => {
            let below = below(&mount).map(|image| format!(", over vmroot's mount of {image}")).unwrap_or_default();
            let program = if mount.form.as_encoded_bytes().starts_with(b"fuse") { "fusermount3 -u" } else { "umount" };
            // The source of proc is proc.
            let source = if mount.form == mount.source { String::new() } else { format!(" ({source})") };
            let message = format!("{place}: not a mount of vmroot, but one of type {form}{source}{below}");
            return Err(Advised::new(message, format!("`{program} {place}` unmounts it")).into());
        }
    }
    let flags = if options.lazy { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    match rustix::mount::unmount(&mount.mountpoint, flags | UnmountFlags::NOFOLLOW) {
        Ok(()) => {}
        Err(Errno::PERM) => unmount_without_permission(&mount, options)?,
        Err(Errno::BUSY) => return Err(in_use(&mount)),
        Err(Errno::INVAL) => bail!("{place}: this mount namespace may not unmount what it inherited from another one"),
        Err(error) => return Err(io::Error::from(error)).with_context(named),
    }
    // Removes the mount's record.
    Records::read(context)?;
    if options.rmdir {
        fs::remove_dir(&mount.mountpoint).with_context(|| format!("{place}: unmounted, but not removed"))?;
    }
    Ok(mount.mountpoint)
}

/// Unmounts for a user who may not call umount(2).
fn unmount_without_permission(mount: &MountAt, options: &UmountArguments) -> anyhow::Result<()> {
    let place = mount.mountpoint.display();
    let own = getuid().as_raw();
    match mount.user() {
        None => {
            let message = format!("{place}: only root may unmount a mount by the kernel ({})", mount.form.display());
            Err(Advised::new(message, format!("run `sudo vmroot umount {place}`")))?;
        }
        Some(user) if user != own => {
            let message = format!("{place}: the user with the id {user} mounted it");
            Err(Advised::new(message, "only this user and root may unmount it"))?;
        }
        Some(_) => {}
    }
    match unmount_as_user(&mount.mountpoint, options.lazy) {
        Err(vmroot::fuse::Error::InUse { .. }) => Err(in_use(mount)),
        result => Ok(result.map_err(vmroot::Error::from)?),
    }
}

fn in_use(mount: &MountAt) -> anyhow::Error {
    let place = mount.mountpoint.display();
    let message = format!("{place}: files or working directories of the mount are in use");
    let hint = format!("`fuser -vm {place}` lists their users; --lazy unmounts it now, and it ends with its last user");
    Advised::new(message, hint).into()
}

/// Returns the error for a directory that is no mountpoint.
fn not_mounted(context: &Context, directory: &Path) -> anyhow::Error {
    let place = directory.display();
    let message = format!("{place}: nothing is mounted there");
    let outer = MountAt::containing(directory).ok().flatten().filter(MountAt::is_ours);
    let absolute = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let elsewhere = Records::read(context).ok().and_then(|(records, _)| records.process_elsewhere(&absolute));
    // The exit code is that of a missing file.
    let advised = match (outer, elsewhere) {
        (Some(outer), _) => {
            let outer = outer.mountpoint.display();
            Advised::not_found(
                format!("{message}; it is a part of vmroot's mount on {outer}"),
                format!("`vmroot umount {outer}` unmounts all of it"),
            )
        }
        (None, Some(pid)) => Advised::not_found(
            format!("{message}, but in the mount namespace of process {pid}"),
            format!("`nsenter --target {pid} --mount vmroot umount {place}` unmounts it"),
        ),
        (None, None) => Advised::not_found(message, "`vmroot mounts` lists the mounts of vmroot"),
    };
    advised.into()
}

/// Returns the image of vmroot's mount that a mount covers.
fn below(mount: &MountAt) -> Option<String> {
    let table = MountAt::all().ok()?;
    let ours = table.iter().rev().filter(|other| other.is_ours());
    let covered = ours.into_iter().find(|other| other.mountpoint == mount.mountpoint && *other != mount)?;
    Some(covered.image()?.to_string_lossy().into_owned())
}
