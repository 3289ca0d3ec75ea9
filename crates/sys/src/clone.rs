//! Shares the blocks of one file with another.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// Makes `length` bytes of `target` from `target_offset` share the blocks of `source` from `source_offset`
/// (`FICLONERANGE`, ioctl_ficlonerange(2)).
///
/// Offsets and length are in bytes and must be multiples of the file system's block size; the length may also end at
/// the end of `source`. No data is read or written. A later write to one file does not change the other.
///
/// # Errors
/// `EOPNOTSUPP`, `EXDEV`, `EINVAL` or `ENOTTY` if the file system does not support this for these files. The caller
/// should copy the bytes then.
pub fn clone_range(
    source: &File,
    source_offset: u64,
    length: u64,
    target: &File,
    target_offset: u64,
) -> io::Result<()> {
    let range = libc::file_clone_range {
        src_fd: i64::from(source.as_raw_fd()),
        src_offset: source_offset,
        src_length: length,
        dest_offset: target_offset,
    };
    let target: RawFd = target.as_raw_fd();
    // JUSTIFICATION: rustix has FICLONE for whole files only.
    // SAFETY: both descriptors stay open while the files are borrowed, and the kernel reads one `file_clone_range` from
    // the pointer, which refers to the one on this stack.
    let status = unsafe { libc::ioctl(target, libc::FICLONERANGE, &raw const range) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn shares_the_bytes_or_returns_unsupported() {
        let mut source = tempfile::tempfile().unwrap();
        source.write_all(&[7; 8192]).unwrap();
        let target = tempfile::tempfile().unwrap();
        match clone_range(&source, 4096, 4096, &target, 0) {
            Ok(()) => {
                let mut bytes = [0; 4096];
                target.read_exact_at(&mut bytes, 0).unwrap();
                assert_eq!(bytes, [7; 4096]);
            }
            Err(error) => {
                let refusals = [libc::EOPNOTSUPP, libc::EXDEV, libc::EINVAL, libc::ENOTTY];
                assert!(refusals.contains(&error.raw_os_error().unwrap()), "{error}");
                assert_eq!(target.metadata().unwrap().len(), 0);
            }
        }
        let directory = File::open(std::env::temp_dir()).unwrap();
        assert!(clone_range(&source, 0, 4096, &directory, 0).is_err());
        assert!(fs::metadata(std::env::temp_dir()).unwrap().is_dir());
    }
}
