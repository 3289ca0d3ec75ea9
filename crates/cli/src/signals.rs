//! Handling SIGINT, SIGTERM and SIGHUP: the first signal cancels the work, the second ends the process.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use vmroot::{Cancel, ErrorKind};

use crate::failure::Failure;
use crate::remedy::{self, Failed};
use crate::{display, prompt};

/// The handlers of signals, and the number of signals so far. All handlers share one thread and one count, so that a
/// handler that is added after a signal is still called for it.
static HANDLERS: Mutex<Handlers> = Mutex::new(Handlers { count: 0, handlers: Vec::new() });

/// New directories that are removed at exit: see [`CleanupGuard`].
static NEW_DIRECTORIES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// The signals that end this program.
const SIGNALS: [i32; 3] = [SIGHUP, SIGINT, SIGTERM];

/// The time for cancelled work to end by itself.
const GRACE_PERIOD: Duration = Duration::from_millis(400);

/// Whether the time of [`cancel_after`] is over.
static TIMED_OUT: AtomicBool = AtomicBool::new(false);

/// Whether [`end_timeout`] was called.
static HAS_NO_TIMEOUT: AtomicBool = AtomicBool::new(false);

/// Whether [`end_by_itself`] was called.
static ENDS_BY_ITSELF: AtomicBool = AtomicBool::new(false);

/// The message after a timeout.
pub(crate) const TIMED_OUT_MESSAGE: &str = "the time of --command-timeout is over";

/// The name of the command, for the message after a signal.
static VERB: OnceLock<String> = OnceLock::new();

/// The exit code after a timeout, as with timeout(1).
pub(crate) const TIMEOUT: u8 = 124;

/// The exit code after a signal, as a shell reports it for SIGINT.
pub(crate) const CANCELLED: u8 = 130;

struct Handlers {
    count: u32,
    handlers: Vec<Box<dyn FnMut(u32) + Send>>,
}

/// Cancels the work on the first signal, and exits on the second. Data that was fetched is kept.
pub(crate) fn cancel_on_interrupt(cancel: Cancel) -> anyhow::Result<()> {
    on_signal(move |count| match count {
        1 => cancel.cancel(),
        _ => exit(),
    })
}

/// Calls `handler` for each of [`SIGNALS`] with the number of signals so far, 1 for the first. It is called on the
/// signals thread, or at once if there was a signal before.
pub(crate) fn on_signal(mut handler: impl FnMut(u32) + Send + 'static) -> anyhow::Result<()> {
    let mut handlers = lock(&HANDLERS);
    if handlers.handlers.is_empty() {
        start_thread()?;
    }
    if handlers.count > 0 {
        handler(handlers.count);
    }
    handlers.handlers.push(Box::new(handler));
    Ok(())
}

/// Ends the process a short time after the first signal, even if a system call blocks: a write to a pipe that is not
/// read, an open of a pipe without a writer, an fsync. Only for work that is incomplete in temporary files and in
/// directories with a [`CleanupGuard`] alone.
pub(crate) fn exit_after_grace_period() -> anyhow::Result<()> {
    on_signal(|count| {
        if count == 1 {
            // A separate thread, because the signals thread waits for the second signal.
            thread::spawn(|| {
                thread::sleep(GRACE_PERIOD);
                if !ENDS_BY_ITSELF.load(Ordering::SeqCst) {
                    exit()
                }
            });
        }
    })
}

/// Declares that the command ends its work itself from now on: it unmounts, or stops a guest. There is no exit after a grace
/// period any more.
pub(crate) fn end_by_itself() {
    ENDS_BY_ITSELF.store(true, Ordering::SeqCst);
}

/// Ends the work after a time as a signal does, but with another exit code.
pub(crate) fn cancel_after(time: Duration) {
    thread::spawn(move || {
        thread::sleep(time);
        if !HAS_NO_TIMEOUT.load(Ordering::SeqCst) {
            TIMED_OUT.store(true, Ordering::SeqCst);
            handle_signal();
        }
    });
}

/// Ends the effect of [`cancel_after`]: what goes on in the background is not part of the command.
pub(crate) fn end_timeout() {
    HAS_NO_TIMEOUT.store(true, Ordering::SeqCst);
}

/// Fails if the time of [`cancel_after`] is over, for work that ends without an error then.
pub(crate) fn check_time() -> anyhow::Result<()> {
    if has_timed_out() {
        anyhow::bail!(TIMED_OUT_MESSAGE);
    }
    Ok(())
}

/// Returns the exit code after a signal or a timeout, if there was one.
pub(crate) fn exit_code() -> Option<u8> {
    match TIMED_OUT.load(Ordering::SeqCst) {
        true => Some(TIMEOUT),
        false => was_signalled().then_some(CANCELLED),
    }
}

/// Returns whether the time of [`cancel_after`] is over.
pub(crate) fn has_timed_out() -> bool {
    TIMED_OUT.load(Ordering::SeqCst)
}

/// Sets the name of the command, for the message after a signal.
pub(crate) fn set_verb(name: &str) {
    VERB.get_or_init(|| name.to_owned());
}

/// Returns the report of work whose end is not waited for.
fn failure() -> Failure {
    if has_timed_out() {
        return Failure::new(ErrorKind::TimedOut, TIMED_OUT_MESSAGE, TIMEOUT);
    }
    let verb = VERB.get().map_or("", String::as_str);
    let hint = remedy::remedy(&[], ErrorKind::Cancelled, &Failed { verb, context: None, images: &[] });
    Failure { hint, ..Failure::new(ErrorKind::Cancelled, "cancelled", CANCELLED) }
}

fn exit() -> ! {
    // Kept until the end, so that no thread creates another file.
    let _none = vmroot::output::remove_temporary_files();
    for path in lock(&NEW_DIRECTORIES).drain(..).rev() {
        // The error is ignored: a directory that is not empty stays.
        let _ = std::fs::remove_dir(&path);
    }
    prompt::restore();
    if display::close_unless_blocked() {
        failure().print();
    }
    std::process::exit(if has_timed_out() { TIMEOUT } else { CANCELLED }.into())
}

/// Returns whether there was a signal.
pub(crate) fn was_signalled() -> bool {
    lock(&HANDLERS).count > 0
}

/// Registers a new directory, which is removed if it is empty when a signal ends the process before this is dropped.
pub(crate) struct CleanupGuard(PathBuf);

impl CleanupGuard {
    pub(crate) fn new(path: &Path) -> Self {
        lock(&NEW_DIRECTORIES).push(path.to_owned());
        Self(path.to_owned())
    }
}

impl Drop for CleanupGuard {
    fn drop(&mut self) {
        lock(&NEW_DIRECTORIES).retain(|path| *path != self.0);
    }
}

fn start_thread() -> anyhow::Result<()> {
    let ignored = ignored_signals();
    let mut signals = Signals::new(SIGNALS.into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0))?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        for _ in signals.forever() {
            handle_signal();
        }
    })?;
    Ok(())
}

/// Counts a signal, and calls the handlers.
fn handle_signal() {
    let mut handlers = lock(&HANDLERS);
    handlers.count += 1;
    let count = handlers.count;
    handlers.handlers.iter_mut().for_each(|handler| handler(count));
}

/// Returns the signals that this process inherited as ignored, as a bit mask: SIGHUP from nohup(1), SIGINT from a shell
/// that starts it in the background. They stay ignored, as POSIX requires of utilities. This is called before the
/// process changes its signal handling.
fn ignored_signals() -> u64 {
    // Without /proc, no signal is taken as ignored.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
