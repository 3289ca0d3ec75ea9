//! The shutdown: ends all processes, writes all data to disk, reports the exit code, and powers off.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, wait};
use rustix::system::{RebootCommand, reboot};

use crate::{Error, console, devices, overlay};

/// The maximum time for processes to end after SIGTERM.
const TERM_TIMEOUT: Duration = Duration::from_secs(2);
/// The maximum time for processes to end after SIGKILL.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// File systems without persistent data.
const KERNEL_FILE_SYSTEMS: [&str; 9] =
    ["cgroup2", "devpts", "devtmpfs", "mqueue", "proc", "ramfs", "rootfs", "sysfs", "tmpfs"];

/// Held by the thread that ends the guest. Others wait until the machine is off.
static ENDING: Mutex<()> = Mutex::new(());

/// Reports an error, and ends the guest like [`end`], with the exit code of the error.
pub(crate) fn end_after(error: &Error, restart: bool) -> ! {
    let _ending = ENDING.lock();
    end_processes();
    // After the last byte of the command, so that the line is one of its own.
    console::error(error);
    power_off(error.exit_code(), restart)
}

/// Ends all processes, reports `code`, and powers off or restarts the machine.
pub(crate) fn end(code: i32, restart: bool) -> ! {
    let _ending = ENDING.lock();
    end_processes();
    power_off(code, restart)
}

fn power_off(code: i32, restart: bool) -> ! {
    rustix::fs::sync();
    detach();
    console::exit_code(code);
    console::drain();
    if !restart {
        let _ = reboot(RebootCommand::PowerOff);
    }
    // If powering off fails, restart. If that fails too, wait for the VMM.
    let _ = reboot(RebootCommand::Restart);
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

fn end_processes() {
    for (signal, timeout) in [(Signal::TERM, TERM_TIMEOUT), (Signal::KILL, KILL_TIMEOUT)] {
        // -1, which kill(2) gets for the process group 1, stands for all processes except the caller.
        if kill_process_group(Pid::INIT, signal).is_err() {
            return;
        }
        let all_ended = || loop {
            match wait(WaitOptions::NOHANG) {
                Err(Errno::CHILD) => return Some(()),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                _ => return None,
            }
        };
        if devices::retry(timeout, all_ended).is_some() {
            return;
        }
    }
}

/// Unmounts disks and shares, and makes the root read-only, so that its file system is clean. The disk below an overlay
/// comes last: the overlay uses it, so it is made read-only, too.
fn detach() {
    let text = fs::read("/proc/mounts").unwrap_or_default();
    let mounted = mounted(&text);
    let (root, upper) = (Path::new("/"), Path::new(overlay::DISK));
    for (target, _) in mounted.iter().rev().filter(|(target, _)| target != root && target != upper) {
        let _ = unmount(target, UnmountFlags::NOFOLLOW);
    }
    for place in [root, upper] {
        let writable = statvfs(place).is_ok_and(|place| !place.f_flag.contains(StatVfsMountFlags::RDONLY));
        if writable && mounted.iter().any(|(target, _)| target == place) {
            let _ = mount_remount(place, MountFlags::RDONLY, c"");
        }
    }
}

/// Returns the mount points and types in `/proc/mounts`, in order, without those of the kernel's own file systems.
fn mounted(text: &[u8]) -> Vec<(PathBuf, String)> {
    let text = String::from_utf8_lossy(text);
    let mount = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        Some((PathBuf::from(unescaped(fields.next()?)), fields.next()?.to_owned()))
    };
    text.lines().filter_map(mount).filter(|(_, fstype)| !KERNEL_FILE_SYSTEMS.contains(&fstype.as_str())).collect()
}

/// Decodes spaces, tabs, newlines, number signs and backslashes, which are written as three octal digits.
fn unescaped(field: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\043", "#"), ("\\134", "\\")];
    escapes.iter().fold(field.to_owned(), |field, (escape, meant)| field.replace(escape, meant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_with_data_are_listed() {
        let text = b"/dev/vda / ext4 rw 0 0\nproc /proc proc rw 0 0\n/dev/vdb /a\\040b xfs rw 0 0\nbroken\n";
        assert_eq!(mounted(text), [("/".into(), "ext4".to_owned()), ("/a b".into(), "xfs".to_owned())]);
    }
}
