//! Requests to the device-mapper (linux/dm-ioctl.h).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// The size of `struct dm_ioctl`, with which each request begins, in bytes.
pub const DEVICE_MAPPER_HEADER: usize = 312;

/// The device number of `/dev/mapper/control` (`MAPPER_CTRL_MINOR` in linux/miscdevice.h).
const CONTROL: (u32, u32) = (10, 236);
/// The place of the field `data_size`.
const DATA_SIZE: std::ops::Range<usize> = 12..16;
/// `_IOWR(0xfd, 0, struct dm_ioctl)`.
const REQUEST: u32 = 3 << 30 | (DEVICE_MAPPER_HEADER as u32) << 16 | 0xfd << 8;

/// Sends a request to the device-mapper: a `struct dm_ioctl` and its data. The answer replaces the request. `data_size` is
/// set to the length of the request.
///
/// # Errors
/// - `InvalidInput` if `control` is not `/dev/mapper/control`, or the request is shorter than its header.
/// - The errors of the device-mapper.
pub fn call_device_mapper(control: &File, command: u8, request: &mut [u8]) -> io::Result<()> {
    let metadata = control.metadata()?;
    let number = (libc::major(metadata.rdev()) as u32, libc::minor(metadata.rdev()) as u32);
    let is_control = metadata.file_type().is_char_device() && number == CONTROL;
    let length = u32::try_from(request.len()).ok().filter(|_| request.len() >= DEVICE_MAPPER_HEADER);
    let (true, Some(length)) = (is_control, length) else { return Err(io::ErrorKind::InvalidInput.into()) };
    request[DATA_SIZE].copy_from_slice(&length.to_ne_bytes());
    let number = REQUEST | u32::from(command);
    // JUSTIFICATION: rustix has no request of the device-mapper.
    // SAFETY: the file is the control device of the device-mapper, which reads and writes at most `data_size` bytes from
    // the pointer (`copy_params` and `ctl_ioctl` in drivers/md/dm-ioctl.c). That is the length of the slice.
    let status = unsafe { libc::ioctl(control.as_raw_fd(), number as _, request.as_mut_ptr()) };
    if status >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_and_short_requests_are_refused() {
        for path in ["/dev/null", "/proc/self/exe"] {
            let file = File::open(path).unwrap();
            let error = call_device_mapper(&file, 0, &mut [0; DEVICE_MAPPER_HEADER]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path}");
        }
    }

    #[test]
    fn the_number_of_the_first_request_is_that_of_the_header() {
        // DM_VERSION, as dmsetup uses it.
        assert_eq!(REQUEST, 0xc138_fd00);
    }
}
