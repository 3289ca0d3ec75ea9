//! Reading that Ctrl-C ends, also while there is nothing to read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use vmroot::Cancel;

/// How long a read waits before it looks whether the work was cancelled.
const GLANCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// A file, a pipe or a terminal that is read until the work is cancelled.
pub(crate) struct Interruptible {
    pub(crate) source: File,
    pub(crate) cancel: Cancel,
}

/// Opens a file for an [`Interruptible`], without the wait for a writer that a named pipe has.
pub(crate) fn open_at_once(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)
}

impl Read for Interruptible {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.cancel.is_cancelled() {
                return Err(io::Error::other("cancelled"));
            }
            match poll(&mut [PollFd::new(&self.source, PollFlags::IN)], Some(&GLANCE)) {
                Ok(0) | Err(Errno::INTR) => continue,
                ready => ready?,
            };
            match self.source.read(buffer) {
                // Another has read it first, or nobody writes to the pipe any more than a moment ago.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}
