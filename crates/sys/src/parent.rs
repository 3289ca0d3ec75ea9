//! Child processes that end with their parent.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes the kernel kill the child process when the thread that started it ends, for any reason.
///
/// This has no effect on a program that gains privileges or changes its user when it is executed.
pub fn end_with_parent(command: &mut Command) {
    let set_signal = || {
        // JUSTIFICATION: rustix has the call, but nothing safe runs between fork and exec.
        // SAFETY: prctl(2) with this operation takes a signal's number and touches no memory.
        let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // JUSTIFICATION: there is no other way to run code in the child, which must set the signal itself.
    // SAFETY: the closure makes one system call and reads errno, both of which are permitted after a fork.
    unsafe { command.pre_exec(set_signal) };
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::thread;

    use super::*;

    #[test]
    fn a_child_ends_with_the_thread_that_started_it() {
        let mut child = thread::spawn(|| {
            let mut sleep = Command::new("sleep");
            sleep.arg("60");
            end_with_parent(&mut sleep);
            sleep.spawn().unwrap()
        })
        .join()
        .unwrap();
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGKILL));
    }
}
