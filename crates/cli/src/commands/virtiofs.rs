//! `virtiofs`.

use std::sync::Arc;

use vmroot::virtiofs::{LockWait, VirtioFs, VirtioFsOptions, check_socket};

use crate::args::VirtiofsArguments;
use crate::context::Context;
use crate::signals;

/// Serves one VMM. Says nothing: that the socket is there says that it is ready.
pub(crate) fn serve(context: &Context, image: &str, options: &VirtiofsArguments) -> anyhow::Result<()> {
    // A refusal costs no pull.
    check_socket(&options.socket).map_err(vmroot::Error::from)?;
    options.top.check()?;
    options.init.check()?;
    let opened = context.root_with(image, |config| options.init.add_to(options.top.top(), config))?;
    let defaults = VirtioFsOptions::default();
    let device_options = VirtioFsOptions {
        queues: options.queues.map_or(defaults.queues, usize::from),
        threads: options.threads.map_or(defaults.threads, usize::from),
    };
    // A signal before there is a device to stop.
    context.cancel_on_interrupt()?;
    let cancel = context.cancel();
    let going_on = || cancel.control_flow();
    let wait = LockWait { limit: options.lock_timeout, going_on: &going_on };
    let device = VirtioFs::bind_within(Arc::new(opened.root), &options.socket, &device_options, &wait)
        .map_err(vmroot::Error::from)?;
    let stopper = device.stopper();
    signals::on_signal(move |_| stopper.stop())?;
    Ok(device.serve().map_err(vmroot::Error::from)?)
}
