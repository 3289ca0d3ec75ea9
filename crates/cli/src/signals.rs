//! Ctrl-C and kill: the first asks the work to end, the second ends the process.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use vmroot::Cancel;

/// Who hears of signals, and how many there were. One listener for all: with one each, a signal between the start of a
/// mount and its own listener would be heard by the first alone, and lost.
static LISTENERS: Mutex<Listeners> = Mutex::new(Listeners { count: 0, acts: Vec::new() });

struct Listeners {
    count: u32,
    acts: Vec<Box<dyn FnMut(u32) + Send>>,
}

/// Cancels the work on the first SIGINT or SIGTERM; what was fetched is kept. On the second the process ends at once.
pub(crate) fn cancel_on_interrupt(cancel: Cancel) -> anyhow::Result<()> {
    on_signal(move |count| match count {
        1 => cancel.cancel(),
        _ => std::process::exit(130),
    })
}

/// Calls a function, on a thread of its own, with 1 for the first SIGINT or SIGTERM, 2 for the second, and so on; at once
/// when there was one since this process listens.
pub(crate) fn on_signal(mut act: impl FnMut(u32) + Send + 'static) -> anyhow::Result<()> {
    let mut listeners = listeners();
    if listeners.acts.is_empty() {
        listen()?;
    }
    if listeners.count > 0 {
        act(listeners.count);
    }
    listeners.acts.push(Box::new(act));
    Ok(())
}

fn listen() -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        for _ in signals.forever() {
            let mut listeners = listeners();
            listeners.count += 1;
            let count = listeners.count;
            listeners.acts.iter_mut().for_each(|act| act(count));
        }
    })?;
    Ok(())
}

fn listeners() -> MutexGuard<'static, Listeners> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}
