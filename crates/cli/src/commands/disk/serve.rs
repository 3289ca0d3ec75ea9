//! `disk serve`: serves a root as a disk that is never written.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use vmroot::MountOptions;
use vmroot::disk_serve::{Device, NbdServer, Stopper, Trace, VhostUserOptions, VhostUserServer, mount_file};
use vmroot::fuse::Unmounted;
use vmroot::output::{Error as FileError, OutputFile};
use vmroot::virtiofs::{LockWait, check_socket};

use crate::args::DiskServeArguments;
use crate::commands::mount::place;
use crate::context::{Context, OpenedRoot};
use crate::{output, signals};

/// Serves the disk until a signal, without output. It is ready as soon as its socket, or its file, exists.
pub(crate) fn serve(context: &Context, image: &str, options: &DiskServeArguments) -> anyhow::Result<()> {
    // Checked before the pull, so that invalid options do not cause one.
    if let Some(directory) = &options.fuse {
        place::check_mountpoint(directory)?;
        place::check_nothing_hidden(directory)?;
    } else {
        check_socket(options.place()).map_err(vmroot::Error::from)?;
    }
    options.top.check()?;
    options.init.check()?;
    raise_file_limit();
    let OpenedRoot { root, _files, image: _used, .. } =
        context.for_guest().root_with(image, |config| options.init.add_to(options.top.top(), config))?;
    let create = |path| OutputFile::create(path).map(|file| (path, file));
    let record = options.record.as_deref().map(create).transpose().map_err(vmroot::Error::from)?;
    let mut device = Device::of_root(&root).map_err(vmroot::Error::from)?;
    // The device has its own descriptors of the files.
    drop(root);
    if record.is_some() {
        device = device.recording();
    }
    let device = Arc::new(device);
    if let Some(path) = &options.prefetch {
        prefetch(&device, path)?;
    }
    // Signals end the wait for the lock, and then the server, which removes its socket.
    signals::end_by_itself();
    let cancel = context.cancel();
    let check_cancelled = || cancel.control_flow();
    let wait = LockWait { limit: options.lock_timeout, check_cancelled: &check_cancelled };
    if let Some(directory) = &options.fuse {
        serve_file(image, &device, directory, options)?;
    } else if let Some(socket) = &options.nbd {
        let server = NbdServer::bind(Arc::clone(&device), socket, &wait).map_err(vmroot::Error::from)?;
        stop_on_signal(server.stopper())?;
        server.serve().map_err(vmroot::Error::from)?;
    } else {
        let defaults = VhostUserOptions::default();
        let device_options = VhostUserOptions { queues: options.queues.map_or(defaults.queues, usize::from) };
        let server = VhostUserServer::bind(Arc::clone(&device), options.place(), &device_options, &wait);
        let server = server.map_err(vmroot::Error::from)?;
        stop_on_signal(server.stopper())?;
        server.serve().map_err(vmroot::Error::from)?;
    }
    if let (Some((path, file)), Some(trace)) = (record, device.trace()) {
        let written = file.write_with(|output| trace.write(output).map_err(FileError::on("write", path)));
        written.map_err(vmroot::Error::from)?;
    }
    signals::check_time()
}

/// Raises the limit of open files to the largest that this process may set. A disk has files for each layer, and for each
/// VMM.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    // An error only means that fewer clients are served at once.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Starts to read the blocks of a trace.
fn prefetch(device: &Arc<Device>, path: &Path) -> anyhow::Result<()> {
    let trace = Trace::open(path, device).map_err(vmroot::Error::from)?;
    let device = Arc::clone(device);
    thread::Builder::new()
        .name("prefetch".to_owned())
        .spawn(move || device.prefetch(&trace, signals::was_signalled))?;
    Ok(())
}

fn stop_on_signal(stopper: Stopper) -> anyhow::Result<()> {
    signals::on_signal(move |_| stopper.stop())
}

/// Serves the disk as a file until it is unmounted.
fn serve_file(image: &str, device: &Arc<Device>, directory: &Path, options: &DiskServeArguments) -> anyhow::Result<()> {
    let source = format!("vmroot:{image}");
    let mount_options = MountOptions { allow_other: options.allow_other, source, ..MountOptions::default() };
    let mount = mount_file(Arc::clone(device), directory, &mount_options).map_err(vmroot::Error::from)?;
    let (unmounter, mountpoint) = (mount.unmounter(), directory.display().to_string());
    signals::on_signal(move |_| match unmounter.unmount() {
        Ok(Unmounted::Gone) => {}
        Ok(Unmounted::Busy) => output::print_note(&format!("{mountpoint}: in use; the mount ends with its last user")),
        Err(error) => output::print_error(&vmroot::with_causes(&vmroot::Error::from(error))),
    })?;
    Ok(mount.wait().map_err(vmroot::Error::from)?)
}
