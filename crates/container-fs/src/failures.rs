//! Logging failed reads of contents files.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::Contents;

/// The failed reads of contents files, which are counted and logged. The guest only gets `EIO`, without the cause.
///
/// For each file and cause, the log has the first failure, and then each failure whose count is a power of ten. This
/// limits the output for a file that fails repeatedly.
#[derive(Debug, Default)]
pub struct ReadFailures {
    counts: Mutex<HashMap<(PathBuf, Cause), u64>>,
}

/// The error number of the system, if there is one, and the kind of the error. The end of a short file has no number.
type Cause = (Option<i32>, io::ErrorKind);

impl ReadFailures {
    /// Counts a failed read of a contents file, and logs it if its count is a power of ten. `offset` is in bytes.
    pub fn report(&self, contents: &Contents, offset: u64, cause: &io::Error) {
        let path = contents.path.display();
        match self.count(contents.path.clone(), cause) {
            1 => {
                let place = contents
                    .shared
                    .as_ref()
                    .map_or_else(String::new, |directory| format!(" (of the shared cache {})", directory.display()));
                tracing::error!("{path}{place}: cannot be read at byte {offset}: {cause}; readers get EIO");
            }
            count if is_power_of_ten(count) => {
                tracing::error!("{path}: {count} reads have failed, the last at byte {offset}: {cause}");
            }
            _ => {}
        }
    }

    /// Counts a failure, and returns the number of failures of this file and cause.
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
    fn each_file_and_cause_has_its_own_count() {
        let failures = ReadFailures::default();
        let (bad, short) = (io::Error::from_raw_os_error(5), io::Error::from(io::ErrorKind::UnexpectedEof));
        let counts = [("a", &bad), ("a", &bad), ("a", &short), ("b", &bad), ("a", &bad)];
        assert_eq!(counts.map(|(path, cause)| failures.count(path.into(), cause)), [1, 2, 1, 1, 3]);
    }

    #[test]
    fn repeated_failures_are_logged_at_powers_of_ten() {
        let logged: Vec<u64> = (1..=12_345).filter(|count| is_power_of_ten(*count)).collect();
        assert_eq!(logged, [1, 10, 100, 1000, 10_000]);
    }
}
