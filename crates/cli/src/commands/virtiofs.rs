//! `virtiofs`: serves a root to a VMM.

use std::sync::Arc;

use vmroot::virtiofs::{LockWait, VirtioFs, VirtioFsOptions, check_socket};

use crate::args::VirtiofsArguments;
use crate::context::Context;
use crate::signals;

/// Serves one VMM, without output. The device is ready as soon as the socket exists.
pub(crate) fn serve(context: &Context, image: &str, options: &VirtiofsArguments) -> anyhow::Result<()> {
    // Checked before the pull, so that invalid options do not cause one.
    check_socket(&options.socket).map_err(vmroot::Error::from)?;
    options.top.check()?;
    options.init.check()?;
    let opened = context.for_guest().root_with(image, |config| options.init.add_to(options.top.top(), config))?;
    let defaults = VirtioFsOptions::default();
    let device_options = VirtioFsOptions {
        queues: options.queues.map_or(defaults.queues, usize::from),
        threads: options.threads.map_or(defaults.threads, usize::from),
    };
    // Signals end the wait for the lock, and then the device, which removes its socket.
    signals::end_by_itself();
    let cancel = context.cancel();
    let check_cancelled = || cancel.control_flow();
    let wait = LockWait { limit: options.lock_timeout, check_cancelled: &check_cancelled };
    let device = VirtioFs::bind_with_wait(Arc::new(opened.root), &options.socket, &device_options, &wait)
        .map_err(vmroot::Error::from)?;
    let stopper = device.stopper();
    signals::on_signal(move |_| stopper.stop())?;
    device.serve().map_err(vmroot::Error::from)?;
    signals::check_time()
}
