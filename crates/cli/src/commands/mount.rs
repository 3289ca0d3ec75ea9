//! `mount` and `umount`.

mod detached;
mod log;
mod standing;

use std::io;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use vmroot::kernel_mount::MountAt;

use crate::args::MountArguments;
use crate::context::Context;
use crate::exit::Silent;
use crate::{output, signals};
use log::Log;
use standing::Standing;

/// Mounts, and stays until the mount is gone; or, detached, returns when it answers.
pub(crate) fn mount(context: &Context, image: &str, directory: &Path, options: &MountArguments) -> anyhow::Result<()> {
    // Every path of the machine begins there, so a mount would hide all of them.
    if directory.canonicalize().is_ok_and(|directory| directory == Path::new("/")) {
        bail!("{}: a mount here would hide all files of this machine; name another directory", directory.display());
    }
    if options.detach && !detached::is_serving() {
        return detached::start();
    }
    if detached::is_serving() {
        detached::leave_session();
    }
    let standing = Standing::new(context, image, directory, options)?;
    if detached::is_serving() && !standing.needs_process() {
        return detached::say_ready(None);
    }
    let unmounter = standing.unmounter();
    let place = directory.display().to_string();
    signals::on_signal(move |_| match unmounter() {
        Ok(true) => {}
        Ok(false) => output::note(&format!("{place}: in use; it is gone when the last user is")),
        Err(error) => output::error(&vmroot::with_causes(&error)),
    })?;
    if !detached::is_serving() {
        return Ok(standing.wait()?);
    }
    let log = Log::create(options.log.as_deref(), context.cache())?;
    detached::say_ready(Some(&log))?;
    if let Err(error) = standing.wait() {
        output::error(&vmroot::with_causes(&error));
    }
    log.remove_if_empty();
    Ok(())
}

/// Takes a mount of ours away: by umount(2) where we may, by `fusermount3` where only it may.
///
/// What is there is looked at first. Between that and umount(2), which knows only paths, another mount could take the place:
/// that takes a privileged user, and a moment of microseconds. To hold on to the mount that was seen is no way out, for the
/// kernel would then call it busy.
pub(crate) fn unmount(directory: &Path) -> anyhow::Result<()> {
    let named = || directory.display().to_string();
    let Some(mount) = MountAt::find(directory).with_context(named)? else {
        bail!("{}: nothing is mounted there", directory.display());
    };
    let place = &mount.mountpoint;
    if !mount.is_ours() {
        let (form, source) = (mount.form.display(), mount.source.display());
        bail!("{}: not a mount of vmroot's: {form}, {source}; umount(8) takes it away", place.display());
    }
    match rustix::mount::unmount(place, UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => {
            let mut command = Command::new("fusermount3");
            let status = match command.args(["-u", "--"]).arg(place).status() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    bail!("only root may unmount without fusermount3, which is not installed (package fuse3)")
                }
                status => status.context("starting fusermount3")?,
            };
            // It has said what is wrong.
            if status.success() { Ok(()) } else { Err(Silent(1).into()) }
        }
        Err(error) => Err(io::Error::from(error)).with_context(named),
    }
}
