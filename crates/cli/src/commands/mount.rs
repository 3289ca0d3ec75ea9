//! `mount` and `umount`.

mod active;
mod detached;
mod log;

use std::io;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use vmroot::kernel_mount::MountAt;

use crate::args::MountArguments;
use crate::context::Context;
use crate::exit::AlreadyReported;
use crate::{output, signals};
use active::ActiveMount;
use log::Log;

/// Mounts a root and waits until it is unmounted. With `--detach`, returns once the mount is ready.
pub(crate) fn mount(context: &Context, image: &str, directory: &Path, options: &MountArguments) -> anyhow::Result<()> {
    // Every path begins there, so a mount would hide every file.
    if directory.canonicalize().is_ok_and(|directory| directory == Path::new("/")) {
        bail!("{}: a mount here would hide all files of this machine; name another directory", directory.display());
    }
    if options.detach && !detached::is_background_process() {
        return detached::start();
    }
    if detached::is_background_process() {
        detached::start_session();
    }
    let mount = ActiveMount::new(context, image, directory, options)?;
    if detached::is_background_process() && !mount.needs_process() {
        return detached::report_ready(None);
    }
    let unmounter = mount.unmounter();
    let mountpoint = directory.display().to_string();
    signals::on_signal(move |_| match unmounter() {
        Ok(true) => {}
        Ok(false) => output::print_note(&format!("{mountpoint}: in use; the mount ends with its last user")),
        Err(error) => output::print_error(&vmroot::with_causes(&error)),
    })?;
    if !detached::is_background_process() {
        return Ok(mount.wait()?);
    }
    let log = Log::create(options.log.as_deref(), context.scratch())?;
    detached::report_ready(Some(&log))?;
    if let Err(error) = mount.wait() {
        output::print_error(&vmroot::with_causes(&error));
    }
    log.remove_if_empty();
    Ok(())
}

/// Unmounts a mount of vmroot, with umount(2) or, without the permission for it, with `fusermount3`.
///
/// The mount is checked first. In the microseconds before umount(2), which takes a path, a privileged user could
/// replace it by another mount. Holding a descriptor of the checked mount would not help: the kernel would report it as
/// busy.
pub(crate) fn unmount(directory: &Path) -> anyhow::Result<()> {
    let named = || directory.display().to_string();
    let Some(mount) = MountAt::find(directory).with_context(named)? else {
        bail!("{}: nothing is mounted there", directory.display());
    };
    let mountpoint = &mount.mountpoint;
    if !mount.is_ours() {
        let (form, source) = (mount.form.display(), mount.source.display());
        bail!("{}: not a mount of vmroot, but {form}, {source}; umount(8) unmounts it", mountpoint.display());
    }
    match rustix::mount::unmount(mountpoint, UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => {
            let mut command = Command::new("fusermount3");
            let status = match command.args(["-u", "--"]).arg(mountpoint).status() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    bail!("only root may unmount without fusermount3, which is not installed (package fuse3)")
                }
                status => status.context("starting fusermount3")?,
            };
            // fusermount3 has printed its error.
            if status.success() { Ok(()) } else { Err(AlreadyReported(1).into()) }
        }
        Err(error) => Err(io::Error::from(error)).with_context(named),
    }
}
