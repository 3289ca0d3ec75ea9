//! `mount` and `umount`.

mod detached;
mod standing;

use std::io;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::args::MountArguments;
use crate::context::Context;
use crate::exit::Silent;
use crate::{output, signals};
use standing::Standing;

/// Mounts, and stays until the mount is gone; or, detached, returns when it answers.
pub(crate) fn mount(context: &Context, image: &str, directory: &Path, options: &MountArguments) -> anyhow::Result<()> {
    if options.detach && !detached::is_serving() {
        return detached::start();
    }
    let standing = Standing::new(context, image, directory, options)?;
    if detached::is_serving() && !standing.needs_process() {
        return detached::say_ready();
    }
    let unmounter = standing.unmounter();
    let place = directory.display().to_string();
    signals::on_signal(move |_| match unmounter() {
        Ok(true) => {}
        Ok(false) => output::note(&format!("{place}: in use; it is gone when the last user is")),
        Err(error) => output::error(&error.to_string()),
    })?;
    if detached::is_serving() {
        detached::say_ready()?;
    }
    Ok(standing.wait()?)
}

/// Takes a mount away: by umount(2) where we may, by `fusermount3` where only it may.
pub(crate) fn unmount(directory: &Path) -> anyhow::Result<()> {
    let failed = || directory.display().to_string();
    match rustix::mount::unmount(directory, UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => {
            let mut command = Command::new("fusermount3");
            let status = command.args(["-u", "--"]).arg(directory).status().context("starting fusermount3")?;
            // It has said what is wrong.
            if status.success() { Ok(()) } else { Err(Silent(1).into()) }
        }
        Err(error) => Err(io::Error::from(error)).with_context(failed),
    }
}
