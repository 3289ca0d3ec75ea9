//! Ctrl-C, kill and the end of the terminal: the first signal asks the work to end, the second ends the process.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use vmroot::Cancel;

/// Who hears of signals, and how many there were. One listener for all: with one each, a signal between the start of a
/// mount and its own listener would be heard by the first alone, and lost.
static LISTENERS: Mutex<Listeners> = Mutex::new(Listeners { count: 0, acts: Vec::new() });

/// Temporary names of files that are being written: see [`end_soon`].
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// The signals that ask this program to end.
const SIGNALS: [i32; 3] = [SIGHUP, SIGINT, SIGTERM];

/// How long cancelled work may take to end by itself.
const PATIENCE: Duration = Duration::from_millis(400);

/// The exit code of a process that was told to end: what a shell reports of one that SIGINT has ended.
pub(crate) const CANCELLED: u8 = 130;

struct Listeners {
    count: u32,
    acts: Vec<Box<dyn FnMut(u32) + Send>>,
}

/// Cancels the work on the first signal; what was fetched is kept. On the second the process ends at once.
pub(crate) fn cancel_on_interrupt(cancel: Cancel) -> anyhow::Result<()> {
    on_signal(move |count| match count {
        1 => cancel.cancel(),
        _ => end(),
    })
}

/// Calls a function, on a thread of its own, with 1 for the first of [`SIGNALS`], 2 for the second, and so on; at once
/// when there was one since this process listens.
pub(crate) fn on_signal(mut act: impl FnMut(u32) + Send + 'static) -> anyhow::Result<()> {
    let mut listeners = lock(&LISTENERS);
    if listeners.acts.is_empty() {
        listen()?;
    }
    if listeners.count > 0 {
        act(listeners.count);
    }
    listeners.acts.push(Box::new(act));
    Ok(())
}

/// Has the process end soon after a signal, also when a system call keeps it: a write to a pipe that nobody reads, an open
/// of a pipe that nobody writes, an fsync. For work that leaves nothing but [`Unfinished`] files when it is cut off.
pub(crate) fn end_soon() -> anyhow::Result<()> {
    on_signal(|count| {
        if count == 1 {
            // Not on the thread that hears of the second signal.
            thread::spawn(|| {
                thread::sleep(PATIENCE);
                end()
            });
        }
    })
}

fn end() -> ! {
    for path in lock(&UNFINISHED).drain(..).rev() {
        // There is nobody to tell.
        let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
    }
    std::process::exit(CANCELLED.into())
}

/// Whether there was a signal.
pub(crate) fn was_told_to_end() -> bool {
    lock(&LISTENERS).count > 0
}

/// The temporary name of a file that is being written, or an empty directory for one, until this is dropped.
pub(crate) struct Unfinished(PathBuf);

impl Unfinished {
    pub(crate) fn new(path: &Path) -> Self {
        lock(&UNFINISHED).push(path.to_owned());
        Self(path.to_owned())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        lock(&UNFINISHED).retain(|path| *path != self.0);
    }
}

fn listen() -> anyhow::Result<()> {
    let ignored = ignored();
    let mut signals = Signals::new(SIGNALS.into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0))?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        for _ in signals.forever() {
            let mut listeners = lock(&LISTENERS);
            listeners.count += 1;
            let count = listeners.count;
            listeners.acts.iter_mut().for_each(|act| act(count));
        }
    })?;
    Ok(())
}

/// The signals that this process was started to ignore, as bits of a number: SIGHUP by nohup(1), SIGINT by a shell that
/// runs it in the background. They stay ignored, as POSIX asks of every utility. Before [`listen`], nothing in this process
/// has changed them.
fn ignored() -> u64 {
    // Without /proc nothing is known of them, and most processes ignore none.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
