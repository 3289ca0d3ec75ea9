//! Loop devices: files as block devices (loop(4)).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The device that gives the numbers of free loop devices, and its device number (`LOOP_CTRL_MINOR` of
/// linux/miscdevice.h).
const CONTROL: &str = "/dev/loop-control";
const CONTROL_NUMBER: (u32, u32) = (10, 237);
/// The major number of loop devices (`LOOP_MAJOR` of linux/major.h).
const MAJOR: u32 = 7;

// linux/loop.h
const LOOP_CTL_GET_FREE: u32 = 0x4c82;
const LOOP_CONFIGURE: u32 = 0x4c0a;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// The size of `struct loop_config` in bytes.
const CONFIG: usize = 304;
/// The place of `info.lo_flags` in it: `fd` and `block_size`, and then 52 bytes of `struct loop_info64`.
const FLAGS: std::ops::Range<usize> = 60..64;

/// The attempts to find a device that no other process takes meanwhile.
const ATTEMPTS: usize = 16;

/// A loop device. It is free again once it is neither open nor mounted. Until then it keeps its file open, and with it a
/// lock of flock(2) on the open file.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    _device: File,
}

impl LoopDevice {
    /// Makes a block device of an open file, as root.
    ///
    /// # Errors
    /// - `NotFound` if the kernel has no loop devices.
    /// - `PermissionDenied` for other users than root.
    /// - The errors of ioctl(2).
    pub fn attach(file: &File, read_only: bool) -> io::Result<Self> {
        let control = File::options().read(true).write(true).open(CONTROL)?;
        check_device(&control, |number| number == CONTROL_NUMBER)?;
        for _ in 0..ATTEMPTS {
            // JUSTIFICATION: rustix has no requests of loop devices.
            // SAFETY: the file is the control device, whose request takes no argument.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
            if number < 0 {
                return Err(io::Error::last_os_error());
            }
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = File::options().read(true).write(!read_only).open(&path)?;
            match configure(&device, file, read_only) {
                Ok(()) => return Ok(Self { path, _device: device }),
                // Another process has taken it.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::from_raw_os_error(libc::EBUSY))
    }

    /// Returns the path of the device.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn configure(device: &File, file: &File, read_only: bool) -> io::Result<()> {
    check_device(device, |(major, _)| major == MAJOR)?;
    let mut config = [0_u8; CONFIG];
    let descriptor = file.as_fd().as_raw_fd() as u32;
    config[..4].copy_from_slice(&descriptor.to_ne_bytes());
    let flags = LO_FLAGS_AUTOCLEAR | if read_only { LO_FLAGS_READ_ONLY } else { 0 };
    config[FLAGS].copy_from_slice(&flags.to_ne_bytes());
    // JUSTIFICATION: as above.
    // SAFETY: the file is a loop device. Its request reads a `struct loop_config`, which has the size of the array.
    let status = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, config.as_ptr()) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Fails if a file is another device than the expected one, whose requests would have another meaning.
fn check_device(file: &File, is_expected: impl Fn((u32, u32)) -> bool) -> io::Result<()> {
    let metadata = file.metadata()?;
    let kind = metadata.file_type();
    let number = (libc::major(metadata.rdev()) as u32, libc::minor(metadata.rdev()) as u32);
    match (kind.is_block_device() || kind.is_char_device()) && is_expected(number) {
        true => Ok(()),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;

    use super::*;

    #[test]
    fn a_device_has_the_bytes_of_its_file_and_keeps_its_lock() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("disk");
        fs::write(&path, [7; 4096]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        file.try_lock().unwrap();
        let device = match LoopDevice::attach(&file, false) {
            Ok(device) => device,
            // Without privilege, or in a container.
            Err(_) => return,
        };
        drop(file);
        let mut bytes = Vec::new();
        File::open(device.path()).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, [7; 4096]);
        let again = File::open(&path).unwrap();
        assert!(again.try_lock().is_err(), "the lock ended with the file, and not with the device");
        drop(device);
        // The kernel frees the device a little later.
        let is_free = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            again.try_lock().is_ok()
        });
        assert!(is_free);
    }

    #[test]
    fn other_files_are_refused() {
        let null = File::options().read(true).write(true).open("/dev/null").unwrap();
        assert_eq!(configure(&null, &null, false).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
