//! Progress of an export, and stopping it.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The progress of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteProgress {
    /// Bytes of file contents written so far, holes included.
    pub bytes: u64,
    /// Bytes to write in total.
    pub total_bytes: u64,
}

/// A progress callback, called every few megabytes from any thread. `Break` cancels the export.
#[derive(Clone, Copy)]
pub struct Hook<'a>(&'a (dyn Fn(WriteProgress) -> ControlFlow<()> + Sync));

impl<'a> Hook<'a> {
    /// Wraps a callback.
    pub fn new(callback: &'a (dyn Fn(WriteProgress) -> ControlFlow<()> + Sync)) -> Self {
        Self(callback)
    }

    /// Calls the callback.
    pub fn call(self, progress: WriteProgress) -> ControlFlow<()> {
        (self.0)(progress)
    }
}

impl fmt::Debug for Hook<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// The caller cancelled the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

/// A byte counter that the threads of an export share.
#[derive(Debug)]
pub struct Meter<'a> {
    hook: Option<Hook<'a>>,
    bytes: AtomicU64,
    total_bytes: u64,
    stopped: AtomicBool,
}

impl<'a> Meter<'a> {
    /// Creates a counter. `total_bytes` is passed to `hook` with every call.
    pub fn new(hook: Option<Hook<'a>>, total_bytes: u64) -> Self {
        Self { hook, bytes: AtomicU64::new(0), total_bytes, stopped: AtomicBool::new(false) }
    }

    /// Adds bytes and calls the hook. Returns `Break` if the export is to stop.
    pub fn advance(&self, bytes: u64) -> ControlFlow<()> {
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if self.stopped.load(Ordering::Relaxed) {
            return ControlFlow::Break(());
        }
        self.hook
            .map_or(ControlFlow::Continue(()), |hook| hook.call(WriteProgress { bytes, total_bytes: self.total_bytes }))
    }

    /// Adds bytes and calls the hook.
    ///
    /// # Errors
    /// [`Cancelled`]: the export is to stop.
    pub fn count(&self, bytes: u64) -> Result<(), Cancelled> {
        if self.advance(bytes).is_break() { Err(Cancelled) } else { Ok(()) }
    }

    /// Stops all threads: further calls of [`Self::advance`] return `Break`.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// The byte counter of one thread. It updates its [`Meter`] every few megabytes.
#[derive(Debug)]
pub struct Counter<'m> {
    meter: &'m Meter<'m>,
    unreported: u64,
}

/// The number of bytes between two updates of the meter.
const UPDATE_INTERVAL: u64 = 4 << 20;

impl<'m> Counter<'m> {
    /// Creates a counter at zero.
    pub fn new(meter: &'m Meter<'m>) -> Self {
        Self { meter, unreported: 0 }
    }

    /// Adds bytes. Returns `Break` if the export is to stop.
    pub fn add(&mut self, bytes: u64) -> ControlFlow<()> {
        self.unreported += bytes;
        if self.unreported < UPDATE_INTERVAL { ControlFlow::Continue(()) } else { self.update() }
    }

    /// Updates the meter.
    ///
    /// # Errors
    /// [`Cancelled`]: the export is to stop.
    pub fn report(&mut self) -> Result<(), Cancelled> {
        if self.update().is_break() { Err(Cancelled) } else { Ok(()) }
    }

    fn update(&mut self) -> ControlFlow<()> {
        self.meter.advance(std::mem::take(&mut self.unreported))
    }
}
