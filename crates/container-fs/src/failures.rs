//! Telling of contents files that cannot be read.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::Contents;

/// Tells, in the log, why contents files cannot be read: a guest sees only `EIO`.
///
/// A bad file fails again and again. So each is told of once for each cause, and then when the number of failures has
/// another digit.
#[derive(Debug, Default)]
pub struct ReadFailures {
    counts: Mutex<HashMap<(PathBuf, Cause), u64>>,
}

/// What the system says: a number, or the kind of an error that has none, such as the end of a short file.
type Cause = (Option<i32>, io::ErrorKind);

impl ReadFailures {
    /// Tells of bytes at an offset of a contents file that cannot be read.
    pub fn tell(&self, contents: &Contents, offset: u64, cause: &io::Error) {
        let path = contents.path.display();
        match self.count(contents.path.clone(), cause) {
            1 => tracing::error!("{path}: cannot be read at byte {offset}: {cause}; readers get EIO"),
            count if is_power_of_ten(count) => {
                tracing::error!("{path}: {count} reads have failed so, the last at byte {offset}: {cause}");
            }
            _ => {}
        }
    }

    fn count(&self, path: PathBuf, cause: &io::Error) -> u64 {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry((path, (cause.raw_os_error(), cause.kind()))).or_default();
        *count += 1;
        *count
    }
}

fn is_power_of_ten(count: u64) -> bool {
    10_u64.pow(count.ilog10()) == count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_causes_are_counted_apart() {
        let failures = ReadFailures::default();
        let (bad, short) = (io::Error::from_raw_os_error(5), io::Error::from(io::ErrorKind::UnexpectedEof));
        let counts = [("a", &bad), ("a", &bad), ("a", &short), ("b", &bad), ("a", &bad)];
        assert_eq!(counts.map(|(path, cause)| failures.count(path.into(), cause)), [1, 2, 1, 1, 3]);
    }

    #[test]
    fn a_file_that_fails_for_ever_is_told_of_now_and_then() {
        let told: Vec<u64> = (1..=12_345).filter(|count| is_power_of_ten(*count)).collect();
        assert_eq!(told, [1, 10, 100, 1000, 10_000]);
    }
}
