//! Reading a file or a pipe until Ctrl-C, even while no data arrives.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use vmroot::Cancel;

/// The interval at which a waiting read checks for cancellation.
const POLL_INTERVAL: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// A reader of a file, a pipe or a terminal that fails once the work is cancelled.
pub(crate) struct CancellableReader {
    pub(crate) source: File,
    pub(crate) cancel: Cancel,
}

/// Opens a file for a [`CancellableReader`]. The open of a named pipe does not wait for a writer.
pub(crate) fn open_nonblocking(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)
}

impl Read for CancellableReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.cancel.is_cancelled() {
                return Err(io::Error::other("cancelled"));
            }
            match poll(&mut [PollFd::new(&self.source, PollFlags::IN)], Some(&POLL_INTERVAL)) {
                Ok(0) | Err(Errno::INTR) => continue,
                ready => ready?,
            };
            match self.source.read(buffer) {
                // Another process has read the data first, or the pipe has no writer yet.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}
