//! Ending a server from another thread.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fd::OwnedFd;
use rustix::io::{Errno, retry_on_intr, write};

/// The pause after a connection that could not be accepted, usually because too many files are open.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// A handle that ends a server from any thread, such as one that waits for signals.
#[derive(Debug, Clone)]
pub struct Stopper {
    event: Arc<OwnedFd>,
}

/// The reason why a wait ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    ByClient,
    ByStopper,
}

impl Stopper {
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self { event: Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?) })
    }

    /// Ends the server now, or as soon as it serves. Its clients are disconnected.
    pub fn stop(&self) {
        // The write fails only if the counter is full, that is, already set.
        let _ = write(&*self.event, &1u64.to_ne_bytes());
    }

    /// Waits until `listener` has a connection or the stopper is used. The stopper takes precedence.
    pub(crate) fn wait(&self, listener: impl AsFd) -> Result<Woken, Errno> {
        let mut waiting = [PollFd::new(&*self.event, PollFlags::IN), PollFd::new(&listener, PollFlags::IN)];
        retry_on_intr(|| poll(&mut waiting, None))?;
        Ok(if waiting[0].revents().is_empty() { Woken::ByClient } else { Woken::ByStopper })
    }
}
