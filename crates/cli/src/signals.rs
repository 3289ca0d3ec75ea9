//! Ctrl-C and kill: the first asks the work to end, the second ends the process.

use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use vmroot::Cancel;

/// Cancels the work on the first SIGINT or SIGTERM; what was fetched is kept. On the second the process ends at once.
pub(crate) fn cancel_on_interrupt(cancel: Cancel) -> anyhow::Result<()> {
    on_signal(move |count| match count {
        1 => cancel.cancel(),
        _ => std::process::exit(130),
    })
}

/// Calls a function, on a thread of its own, with 1 for the first SIGINT or SIGTERM, 2 for the second, and so on.
pub(crate) fn on_signal(mut act: impl FnMut(u32) + Send + 'static) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        for (count, _) in (1..).zip(signals.forever()) {
            act(count);
        }
    })?;
    Ok(())
}
