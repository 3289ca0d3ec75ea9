//! Cancellation by the caller.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Cancelled, WriteProgress};

/// The longest delay before work that polls a [`Cancel`] stops.
pub const CANCEL_LATENCY: Duration = Duration::from_millis(50);

/// A cancellation flag. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    flag: Arc<AtomicBool>,
    /// Also cancels this flag.
    parent: Option<Arc<Cancel>>,
}

impl Cancel {
    /// Returns a flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a flag that is also set when this one is. Setting the child does not set this one.
    pub fn child(&self) -> Self {
        Self { flag: Arc::default(), parent: Some(Arc::new(self.clone())) }
    }

    /// Sets the flag. It cannot be cleared.
    pub fn cancel(&self) {
        self.flag.store(true, Ordering::SeqCst);
    }

    /// Returns true if the flag is set.
    pub fn is_cancelled(&self) -> bool {
        self.flag.load(Ordering::SeqCst) || self.parent.as_ref().is_some_and(|parent| parent.is_cancelled())
    }

    /// Returns `Break` if the flag is set, for functions that take a callback.
    pub fn control_flow(&self) -> ControlFlow<()> {
        if self.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Returns a callback for [`Hook::new`](crate::Hook::new) that cancels an export once the flag is set.
    ///
    /// ```
    /// use vmroot_output::{Cancel, Hook, WriteProgress};
    ///
    /// let cancel = Cancel::new();
    /// let callback = cancel.as_hook();
    /// let hook = Hook::new(&callback);
    /// assert!(hook.call(WriteProgress::default()).is_continue());
    /// cancel.cancel();
    /// assert!(hook.call(WriteProgress::default()).is_break());
    /// ```
    pub fn as_hook(&self) -> impl Fn(WriteProgress) -> ControlFlow<()> + Sync + '_ {
        |_| self.control_flow()
    }

    /// Returns an error if the flag is set.
    ///
    /// # Errors
    /// [`Cancelled`]: the flag is set.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() { Err(Cancelled) } else { Ok(()) }
    }

    /// Returns a reader whose reads fail once the flag is set, with [`Cancelled`] as the cause.
    pub fn reader<R: Read>(&self, inner: R) -> CancellableReader<R> {
        CancellableReader { inner, cancel: self.clone() }
    }

    /// Sleeps for `duration`, or until the flag is set.
    ///
    /// # Errors
    /// [`Cancelled`]: the flag was set.
    pub fn sleep(&self, duration: Duration) -> Result<(), Cancelled> {
        let started = Instant::now();
        loop {
            self.check()?;
            let left = duration.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(CANCEL_LATENCY));
        }
    }
}

/// Wraps a flag that is set elsewhere, for example by a signal handler.
impl From<Arc<AtomicBool>> for Cancel {
    fn from(flag: Arc<AtomicBool>) -> Self {
        Self { flag, parent: None }
    }
}

/// A reader whose reads fail once the work is cancelled. Created by [`Cancel::reader`].
#[derive(Debug)]
pub struct CancellableReader<R> {
    inner: R,
    cancel: Cancel,
}

impl<R: Read> Read for CancellableReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check().map_err(io::Error::other)?;
        self.inner.read(buffer)
    }
}
