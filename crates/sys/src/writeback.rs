//! Starting the write of dirty pages to disk before anybody waits for it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Asks the kernel to start writing `len` bytes of `file` from `offset` to disk, and does not wait for them.
///
/// It makes the fsync(2) at the end of a long file short, since most pages are clean by then. It is no promise of
/// durability: only fsync(2) is.
///
/// # Errors
/// What sync_file_range(2) says; `InvalidInput` where offset or length do not fit its signed 64-bit arguments.
pub fn start_writeback(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let signed = |value: u64| i64::try_from(value).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let (offset, len) = (signed(offset)?, signed(len)?);
    // JUSTIFICATION: neither std nor rustix has sync_file_range(2).
    // SAFETY: the descriptor is open for as long as `file` is borrowed, and the call takes no pointers.
    let status = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn takes_any_range_of_a_file_and_no_range_of_a_pipe() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 10_000]).unwrap();
        start_writeback(&file, 0, 10_000).unwrap();
        start_writeback(&file, 4096, 1 << 40).unwrap();
        assert_eq!(start_writeback(&file, u64::MAX, 1).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let (pipe, _writer) = io::pipe().unwrap();
        let pipe = File::from(std::os::fd::OwnedFd::from(pipe));
        assert_eq!(start_writeback(&pipe, 0, 1).unwrap_err().raw_os_error(), Some(libc::ESPIPE));
    }
}
