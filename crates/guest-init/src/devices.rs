//! Waits for the root's devices: a driver finds them some time after its module was loaded.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// The maximum time to wait for a device.
pub(crate) const DEVICE_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause between two attempts. Each further pause is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_micros(500);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Repeats `attempt` until it returns a value or `timeout` has passed. There is always a last attempt after the
/// timeout.
pub(crate) fn retry<T>(timeout: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + timeout;
    let mut pause = FIRST_PAUSE;
    loop {
        let late = Instant::now() >= end;
        match attempt() {
            None if !late => {}
            outcome => return outcome,
        }
        thread::sleep(pause);
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Waits for the block device `path`.
///
/// # Errors
/// [`Error::NoDevice`] if it does not appear in time.
pub(crate) fn wait(path: &Path, timeout: Duration) -> Result<()> {
    let is_there = || fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_block_device());
    let lack = || if path.exists() { "the file is not a block device" } else { "the kernel found no such device" };
    retry(timeout, || is_there().then_some(())).ok_or_else(|| Error::NoDevice {
        device: path.to_owned(),
        seconds: timeout.as_secs(),
        lack: lack(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_last_attempt_after_the_timeout() {
        let mut attempts = 0;
        let outcome: Option<()> = retry(Duration::ZERO, || {
            attempts += 1;
            None
        });
        assert_eq!((outcome, attempts), (None, 1));
        assert_eq!(retry(DEVICE_TIMEOUT, || Some(3)), Some(3));
    }

    #[test]
    fn a_missing_device_is_named() {
        let error = wait(Path::new("/dev/nonexistent"), Duration::ZERO).unwrap_err().to_string();
        assert_eq!(error, "no /dev/nonexistent after 0 s: the kernel found no such device");
        assert!(wait(Path::new("/dev/null"), Duration::ZERO).unwrap_err().to_string().contains("not a block device"));
    }
}
