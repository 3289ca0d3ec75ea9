//! Waiting for the device that the root is on: a driver finds it some time after its module was loaded.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// How long something may take to appear.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// The first pause between two looks; each is twice the one before, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_micros(500);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Asks `attempt` again and again until it gives something or `patience` is at its end.
pub(crate) fn retry<T>(patience: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + patience;
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

/// Waits until there is a block device `path`.
///
/// # Errors
/// [`Error::NoDevice`].
pub(crate) fn wait(path: &Path, patience: Duration) -> Result<()> {
    let is_there = || fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_block_device());
    let lack = || if path.exists() { "what is there is no block device" } else { "the kernel found no such device" };
    retry(patience, || is_there().then_some(())).ok_or_else(|| Error::NoDevice {
        device: path.to_owned(),
        seconds: patience.as_secs(),
        lack: lack(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_asked_once_more_at_the_end_of_patience() {
        let mut asked = 0;
        let outcome: Option<()> = retry(Duration::ZERO, || {
            asked += 1;
            None
        });
        assert_eq!((outcome, asked), (None, 1));
        assert_eq!(retry(PATIENCE, || Some(3)), Some(3));
    }

    #[test]
    fn a_device_that_does_not_come_is_named() {
        let error = wait(Path::new("/dev/nonexistent"), Duration::ZERO).unwrap_err().to_string();
        assert_eq!(error, "no /dev/nonexistent after 0 s: the kernel found no such device");
        assert!(wait(Path::new("/dev/null"), Duration::ZERO).unwrap_err().to_string().contains("no block device"));
    }
}
