//! Starts writing dirty pages to disk before a sync waits for them.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Starts writing `len` bytes of `file` from `offset` to disk, without waiting for them.
///
/// Most pages are clean by the time of the fsync(2) at the end of a long file, so it takes little time. This does not
/// make the data durable; only fsync(2) does.
///
/// # Errors
/// The errors of sync_file_range(2), and `InvalidInput` if offset or length do not fit its signed 64-bit arguments.
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
    fn accepts_any_range_of_a_file_and_rejects_pipes() {
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
