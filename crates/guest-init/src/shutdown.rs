//! The end: nothing runs, everything is on the disk, the console has the exit code, and the machine is off.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, wait};
use rustix::system::{RebootCommand, reboot};

use crate::{console, devices};

/// How long processes that the command left behind may take to end when asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How long they may take when they are not asked.
const KILLED: Duration = Duration::from_secs(1);

/// File systems that hold nothing to be kept.
const OF_THE_KERNEL: [&str; 9] =
    ["cgroup2", "devpts", "devtmpfs", "mqueue", "proc", "ramfs", "rootfs", "sysfs", "tmpfs"];

/// Ends everything, says `code`, and powers off, or restarts the machine.
pub(crate) fn end(code: i32, restart: bool) -> ! {
    end_processes();
    rustix::fs::sync();
    detach();
    console::exit_code(code);
    console::drain();
    if !restart {
        let _ = reboot(RebootCommand::PowerOff);
    }
    // A machine that cannot be turned off is restarted; one that cannot be restarted either, waits for its VMM.
    let _ = reboot(RebootCommand::Restart);
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

fn end_processes() {
    for (signal, patience) in [(Signal::TERM, GRACE), (Signal::KILL, KILLED)] {
        // The group of process 1 is no group to kill(2): -1 means everybody but the caller.
        if kill_process_group(Pid::INIT, signal).is_err() {
            return;
        }
        let nobody = || loop {
            match wait(WaitOptions::NOHANG) {
                Err(Errno::CHILD) => return Some(()),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                _ => return None,
            }
        };
        if devices::retry(patience, nobody).is_some() {
            return;
        }
    }
}

/// Unmounts what was mounted on a disk or from the host, and makes the root read-only, so that it is clean.
fn detach() {
    let text = fs::read("/proc/mounts").unwrap_or_default();
    for (target, _) in mounted(&text).into_iter().rev().filter(|(target, _)| target != Path::new("/")) {
        let _ = unmount(&target, UnmountFlags::NOFOLLOW);
    }
    let writable = statvfs("/").is_ok_and(|root| !root.f_flag.contains(StatVfsMountFlags::RDONLY));
    if writable && mounted(&text).iter().any(|(target, _)| target == Path::new("/")) {
        let _ = mount_remount("/", MountFlags::RDONLY, c"");
    }
}

/// Mount points and types of `/proc/mounts` in their order, without those of the kernel's own.
fn mounted(text: &[u8]) -> Vec<(PathBuf, String)> {
    let text = String::from_utf8_lossy(text);
    let mount = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        Some((PathBuf::from(unescaped(fields.next()?)), fields.next()?.to_owned()))
    };
    text.lines().filter_map(mount).filter(|(_, fstype)| !OF_THE_KERNEL.contains(&fstype.as_str())).collect()
}

/// Blanks, tabs, newlines and backslashes are written as three octal digits.
fn unescaped(field: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\043", "#"), ("\\134", "\\")];
    escapes.iter().fold(field.to_owned(), |field, (escape, meant)| field.replace(escape, meant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_data_is_unmounted() {
        let text = b"/dev/vda / ext4 rw 0 0\nproc /proc proc rw 0 0\n/dev/vdb /a\\040b xfs rw 0 0\nbroken\n";
        assert_eq!(mounted(text), [("/".into(), "ext4".to_owned()), ("/a b".into(), "xfs".to_owned())]);
    }
}
