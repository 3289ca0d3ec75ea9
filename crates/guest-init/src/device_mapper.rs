//! Devices of the device-mapper (linux/dm-ioctl.h, Documentation/admin-guide/device-mapper).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use vmroot_sys::{DEVICE_MAPPER_HEADER, call_device_mapper};

use crate::{Error, Result, devices};

/// The device that takes requests. devtmpfs has it once the driver is loaded.
const CONTROL: &str = "/dev/mapper/control";

// Numbers of requests.
const DEVICE_CREATE: u8 = 3;
const DEVICE_SUSPEND: u8 = 6;
const TABLE_LOAD: u8 = 9;

/// The version of the interface that is used: 4.0.0.
const VERSION: u32 = 4;
/// `DM_READONLY_FLAG`.
const READ_ONLY: u32 = 1;
/// The longest name in bytes, without its terminator.
const MAX_NAME: usize = 127;
/// The size of `struct dm_target_spec` in bytes.
const TARGET: usize = 40;

/// A range of sectors of a device, and the driver that maps it.
pub(crate) struct Target {
    /// The length in sectors of 512 bytes.
    pub(crate) sectors: u64,
    /// The name of the driver, such as `linear`; at most 15 bytes.
    pub(crate) driver: &'static str,
    /// The driver's parameters.
    pub(crate) parameters: String,
}

/// Makes a read-only device of targets, in their order. Returns its path.
///
/// # Errors
/// [`Error::DeviceMapper`] if the kernel refuses a request, [`Error::NoDevice`] if the device does not appear.
pub(crate) fn make_device(name: &'static str, targets: &[Target]) -> Result<PathBuf> {
    let failed = |what| move |source: io::Error| Error::DeviceMapper { what, name, source };
    devices::retry(devices::DEVICE_TIMEOUT, || Path::new(CONTROL).exists().then_some(()));
    let control = File::options().read(true).write(true).open(CONTROL).map_err(failed("find the device-mapper"))?;
    let mut request = header(name, 0, 0);
    call_device_mapper(&control, DEVICE_CREATE, &mut request).map_err(failed("make a device"))?;
    let path = PathBuf::from(format!("/dev/dm-{}", minor(&request)));
    let mut request = header(name, READ_ONLY, targets.len() as u32);
    request.extend(table(targets));
    call_device_mapper(&control, TABLE_LOAD, &mut request).map_err(failed("load the table"))?;
    // Without a flag, this resumes the device, which activates its table.
    call_device_mapper(&control, DEVICE_SUSPEND, &mut header(name, 0, 0)).map_err(failed("activate the table"))?;
    devices::wait(&path, devices::DEVICE_TIMEOUT)?;
    Ok(path)
}

/// Returns a `struct dm_ioctl`.
fn header(name: &str, flags: u32, targets: u32) -> Vec<u8> {
    let mut bytes = vec![0; DEVICE_MAPPER_HEADER];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &VERSION.to_ne_bytes());
    put(16, &(DEVICE_MAPPER_HEADER as u32).to_ne_bytes()); // data_start
    put(20, &targets.to_ne_bytes());
    put(28, &flags.to_ne_bytes());
    put(48, &name.as_bytes()[..name.len().min(MAX_NAME)]);
    bytes
}

/// Returns the `struct dm_target_spec` of each target, followed by its parameters.
fn table(targets: &[Target]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut start = 0_u64;
    for Target { sectors, driver, parameters } in targets {
        // The next target is aligned to 8 bytes, after the terminator of the parameters.
        let next = (TARGET + parameters.len() + 1).next_multiple_of(8);
        let end = bytes.len() + next;
        bytes.extend(start.to_ne_bytes());
        bytes.extend(sectors.to_ne_bytes());
        bytes.extend(0_i32.to_ne_bytes()); // status
        bytes.extend((next as u32).to_ne_bytes());
        let mut name = [0; 16];
        name.iter_mut().zip(driver.bytes()).for_each(|(to, from)| *to = from);
        bytes.extend(name);
        bytes.extend(parameters.as_bytes());
        bytes.resize(end, 0);
        start += sectors;
    }
    bytes
}

/// Returns the minor number in an answer, from a device number as `huge_encode_dev` makes it (linux/kdev_t.h).
fn minor(answer: &[u8]) -> u64 {
    let number = answer.get(40..48).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes);
    number & 0xff | number >> 12 & 0xf_ff00
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_follow_each_other() {
        let target =
            |sectors, parameters: &str| Target { sectors, driver: "linear", parameters: parameters.to_owned() };
        let bytes = table(&[target(8, "/dev/vda 0"), target(16, "/dev/vdb 0")]);
        let next = u32::from_ne_bytes(bytes[20..24].try_into().unwrap()) as usize;
        assert_eq!(next, 56);
        assert_eq!(bytes.len(), 2 * next);
        assert_eq!(&bytes[40..51], b"/dev/vda 0\0");
        assert_eq!(&bytes[next..next + 16], [8_u64.to_ne_bytes(), 16_u64.to_ne_bytes()].as_flattened());
        assert_eq!(&bytes[next + 24..next + 32], b"linear\0\0");
    }

    #[test]
    fn minor_numbers_have_twenty_bits() {
        let mut answer = [0; 48];
        answer[40..].copy_from_slice(&(0x12_u64 << 20 | 254 << 8 | 0x34).to_ne_bytes());
        assert_eq!(minor(&answer), 0x1234);
    }
}
