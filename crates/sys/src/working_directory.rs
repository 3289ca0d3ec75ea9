//! Threads with a working directory of their own.

use std::io;
use std::path::Path;
use std::thread;

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Calls a function on a new thread whose working directory is `directory`. Other threads keep theirs.
///
/// For system calls that take a relative path and keep its text, such as the source of a mount.
///
/// # Errors
/// - The thread cannot be started, or may not have a working directory of its own (unshare(2)).
/// - `directory` cannot be entered.
pub fn call_in_directory<T: Send>(directory: &Path, call: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let run = || {
            // JUSTIFICATION: the working directory belongs to the process otherwise, and all its threads would see the
            // change. rustix marks the whole call as unsafe for the flag that separates tables of descriptors.
            // SAFETY: this flag separates the working directory, the root directory and the umask of this thread, which
            // ends below. Descriptors stay shared.
            unsafe { unshare_unsafe(UnshareFlags::FS) }?;
            std::env::set_current_dir(directory)?;
            Ok(call())
        };
        match thread::Builder::new().name("directory".to_owned()).spawn_scoped(scope, run)?.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_the_new_thread_changes_its_directory() {
        let before = std::env::current_dir().unwrap();
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "content").unwrap();
        let read = call_in_directory(directory.path(), || fs::read_to_string("file")).unwrap();
        assert_eq!(read.unwrap(), "content");
        assert_eq!(std::env::current_dir().unwrap(), before);
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let error = call_in_directory(&directory.path().join("missing"), || ()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
