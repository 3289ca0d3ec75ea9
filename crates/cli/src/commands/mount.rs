//! `mount`: mounts a root.

mod active;
mod detached;
mod log;
pub(crate) mod place;

use std::path::Path;

use anyhow::Context as _;
use vmroot::kernel_mount::MountAt;

use crate::args::MountArguments;
use crate::context::Context;
use crate::exit::Advised;
use crate::mounts::VmrootMount;
use crate::{output, signals};
use active::ActiveMount;
use log::Log;

/// Mounts a root and waits until it is unmounted. With `--detach`, returns once the mount is ready.
pub(crate) fn mount(context: &Context, image: &str, directory: &Path, options: &MountArguments) -> anyhow::Result<()> {
    // Every path begins there, so a mount would hide every file.
    if directory.canonicalize().is_ok_and(|directory| directory == Path::new("/")) {
        let message = format!("{}: a mount here would hide all files of this machine", directory.display());
        return Err(Advised::new(message, "name another directory; --mkdir creates it").into());
    }
    if options.detach && !detached::is_background_process() {
        let resolved = place::resolve(directory)?;
        detached::start()?;
        return print(context, &resolved);
    }
    if detached::is_background_process() {
        detached::start_session();
    }
    let place = place::prepare(context, image, directory, options)?;
    let resolved = place::resolve(directory)?;
    let directory = &*resolved;
    let (mount, record) = ActiveMount::new(context, image, directory, options)?;
    place.keep();
    let written = MountAt::find(directory).map_err(Into::into).and_then(|at| match at {
        Some(at) => record.write(context, &at),
        None => Ok(()),
    });
    if let Err(error) = written {
        output::print_note(&format!("`vmroot mounts` will show less of this mount: {error:#}"));
    }
    if detached::is_background_process() && !mount.needs_process() {
        if let Some(log) = &options.log {
            let log = log.display();
            output::print_note(&format!("note: {log} is not written: the kernel serves this mount, without messages"));
        }
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
        print(context, directory)?;
        mount.wait()?;
        return signals::check_time();
    }
    let log = Log::create(options.log.as_deref(), context.scratch())?;
    // The command ends now, and the mount stays.
    signals::end_timeout();
    detached::report_ready(Some(&log))?;
    if let Err(error) = mount.wait() {
        output::print_error(&vmroot::with_causes(&error));
    }
    log.remove_if_empty();
    Ok(())
}

/// With `--json`, prints the mount on a directory as `mounts` does.
fn print(context: &Context, directory: &Path) -> anyhow::Result<()> {
    if !context.json() {
        return Ok(());
    }
    let mount = VmrootMount::at(context, directory)?;
    let mount = mount.with_context(|| format!("{}: the mount has ended already", directory.display()))?;
    Ok(output::print_json(&mount.to_json())?)
}
