//! Namespaces of processes and mounts (namespaces(7)).

use std::io;

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Puts all further children of this thread into a new PID namespace. The first one is its init: the namespace ends with it.
/// This process stays where it is, and can start no more threads.
///
/// # Errors
/// The error of unshare(2), for example `PermissionDenied` for other users than root.
pub fn enter_pid_namespace() -> io::Result<()> {
    // JUSTIFICATION: rustix has the call only as an unsafe function, because of its flag for file descriptors.
    // SAFETY: the flag is not that one. The call changes no memory and no file descriptors.
    Ok(unsafe { unshare_unsafe(UnshareFlags::NEWPID) }?)
}

/// Gives this thread its own mounts, which begin as copies of the present ones.
///
/// # Errors
/// The error of unshare(2), for example `PermissionDenied` for other users than root.
pub fn enter_mount_namespace() -> io::Result<()> {
    // JUSTIFICATION: as above.
    // SAFETY: as above. The thread stops sharing its working directory with others, which is what it needs.
    Ok(unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use super::*;

    #[test]
    fn only_this_thread_gets_its_own_mounts() {
        let namespace = || fs::read_link("/proc/thread-self/ns/mnt").unwrap();
        let own = thread::spawn(move || {
            let entered = enter_mount_namespace();
            entered.map(|()| namespace())
        });
        match own.join().unwrap() {
            Ok(own) => assert_ne!(own, namespace()),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
    }

    #[test]
    fn children_of_the_thread_are_in_another_pid_namespace() {
        let entered = thread::spawn(|| {
            enter_pid_namespace()?;
            let own = fs::read_link("/proc/thread-self/ns/pid")?;
            let output = std::process::Command::new("sh").args(["-c", "echo $$"]).output()?;
            Ok::<_, io::Error>((own, String::from_utf8_lossy(&output.stdout).into_owned()))
        });
        match entered.join().unwrap() {
            Ok((own, pid)) => {
                assert_eq!(own, fs::read_link("/proc/self/ns/pid").unwrap());
                assert_eq!(pid, "1\n");
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
    }
}
