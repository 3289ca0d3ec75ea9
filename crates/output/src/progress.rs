//! How far an export is, and the caller's word on going on.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How far an export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes of file contents that are written, holes included.
    pub bytes: u64,
    /// Bytes that will be written in the end.
    pub total_bytes: u64,
}

/// Hears of progress every few megabytes, from any thread, and stops the export by `ControlFlow::Break`.
pub type Hook<'a> = &'a (dyn Fn(Progress) -> ControlFlow<()> + Sync);

/// The caller asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

/// Counts for all threads of an export.
pub struct Meter<'a> {
    hook: Option<Hook<'a>>,
    bytes: AtomicU64,
    total_bytes: u64,
    stopped: AtomicBool,
}

impl<'a> Meter<'a> {
    /// Counts up to `total_bytes`.
    pub fn new(hook: Option<Hook<'a>>, total_bytes: u64) -> Self {
        Self { hook, bytes: AtomicU64::new(0), total_bytes, stopped: AtomicBool::new(false) }
    }

    /// Counts bytes and says whether to go on.
    pub fn advance(&self, bytes: u64) -> ControlFlow<()> {
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if self.stopped.load(Ordering::Relaxed) {
            return ControlFlow::Break(());
        }
        self.hook.map_or(ControlFlow::Continue(()), |hook| hook(Progress { bytes, total_bytes: self.total_bytes }))
    }

    /// Counts bytes.
    ///
    /// # Errors
    /// [`Cancelled`] when the output is to stop.
    pub fn count(&self, bytes: u64) -> Result<(), Cancelled> {
        if self.advance(bytes).is_break() { Err(Cancelled) } else { Ok(()) }
    }

    /// Lets no thread go on.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// One thread's count, which the meter hears of now and then.
pub struct Counter<'m> {
    meter: &'m Meter<'m>,
    unreported: u64,
}

/// A meter is not told of less.
const REPORTED: u64 = 4 << 20;

impl<'m> Counter<'m> {
    /// Nothing is counted yet.
    pub fn new(meter: &'m Meter<'m>) -> Self {
        Self { meter, unreported: 0 }
    }

    /// Counts bytes and says whether to go on.
    pub fn add(&mut self, bytes: u64) -> ControlFlow<()> {
        self.unreported += bytes;
        if self.unreported < REPORTED { ControlFlow::Continue(()) } else { self.report() }
    }

    /// Tells the meter what it has not heard of.
    pub fn report(&mut self) -> ControlFlow<()> {
        self.meter.advance(std::mem::take(&mut self.unreported))
    }
}
