//! Locks by fcntl(2).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Takes a shared lock on the whole of an open file, and waits until it is free.
///
/// It is an open file description lock (fcntl_locking(2)). So it ends when the last descriptor of this opening is
/// closed, and does not end when the process closes another opening of the file. It excludes exclusive locks of both
/// kinds, those of open file descriptions and those of processes. The file must be open for reading.
///
/// # Errors
/// The error of fcntl(2).
pub fn lock_shared(file: &File) -> io::Result<()> {
    // JUSTIFICATION: a struct with padding that differs by architecture has no other portable constructor.
    // SAFETY: the struct has integers only, for which zeros are valid.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_RDLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    loop {
        // JUSTIFICATION: rustix has only locks of processes, which end when any opening of the file is closed.
        // SAFETY: the descriptor is open, and the lock outlives the call.
        let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLKW, &raw const lock) };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use rustix::fs::{FlockOperation, fcntl_lock};

    use super::*;

    #[test]
    fn excludes_writers_and_admits_readers() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let open = || File::options().read(true).write(true).open(named.path()).unwrap();
        let first = open();
        lock_shared(&first).unwrap();
        lock_shared(&open()).unwrap();
        // A lock of the process, as containers/storage takes it.
        assert!(fcntl_lock(open(), FlockOperation::NonBlockingLockExclusive).is_err());
        drop(first);
        let writer = open();
        fcntl_lock(&writer, FlockOperation::NonBlockingLockExclusive).unwrap();

        let (sender, receiver) = mpsc::channel();
        let reader = open();
        let waiting = thread::spawn(move || {
            lock_shared(&reader).unwrap();
            sender.send(()).unwrap();
        });
        assert!(receiver.recv_timeout(Duration::from_millis(50)).is_err(), "the writer excludes readers");
        fcntl_lock(&writer, FlockOperation::Unlock).unwrap();
        receiver.recv().unwrap();
        waiting.join().unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let file = File::options().write(true).open(named.path()).unwrap();
        assert_eq!(lock_shared(&file).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
}
