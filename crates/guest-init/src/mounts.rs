//! The file systems that programs expect.

use std::ffi::CStr;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use crate::mount_point::{is_mount_point, make_directory};
use crate::{console, temporary};

/// A file system of the kernel and its mount point.
struct KernelMount {
    target: &'static str,
    fstype: &'static str,
    flags: MountFlags,
    data: &'static CStr,
}

const SAFE: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// The mounts that this program needs itself, in order.
const ESSENTIAL: [KernelMount; 3] = [
    KernelMount { target: "/proc", fstype: "proc", flags: SAFE, data: c"" },
    KernelMount { target: "/sys", fstype: "sysfs", flags: SAFE, data: c"" },
    KernelMount { target: "/dev", fstype: "devtmpfs", flags: MountFlags::NOSUID, data: c"mode=0755" },
];

/// The other mounts, for the command.
const FURTHER: [KernelMount; 3] = [
    KernelMount {
        target: "/dev/pts",
        fstype: "devpts",
        flags: MountFlags::NOSUID.union(MountFlags::NOEXEC),
        // 5 is the group tty on all distributions.
        data: c"gid=5,mode=0620,ptmxmode=0666",
    },
    KernelMount {
        target: "/dev/shm",
        fstype: "tmpfs",
        flags: MountFlags::NOSUID.union(MountFlags::NODEV),
        data: c"mode=1777",
    },
    KernelMount { target: "/sys/fs/cgroup", fstype: "cgroup2", flags: SAFE, data: c"" },
];

/// Symlinks in `/dev` that programs use and devtmpfs lacks.
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// Mounts proc, sys and dev.
pub(crate) fn mount_essential() {
    ESSENTIAL.iter().for_each(KernelMount::mount);
}

/// Mounts the other file systems, and makes `/run` and `/tmp` writable.
pub(crate) fn mount_further() {
    FURTHER.iter().for_each(KernelMount::mount);
    for (link, to) in DEVICE_LINKS {
        // Failure is harmless: the link exists already, or there is no devtmpfs.
        let _ = symlink(to, link);
    }
    temporary::make_writable(Path::new("/run"), c"mode=0755");
    temporary::make_writable(Path::new("/tmp"), c"mode=1777");
}

impl KernelMount {
    /// Mounts the file system. An image may lack the directory, and a read-only root cannot get it: that is not an
    /// error.
    fn mount(&self) {
        let target = Path::new(self.target);
        if let Err(error) = make_directory(target) {
            return console::note(&format!("no {}: {error}", self.target));
        }
        if is_mount_point(target) {
            return;
        }
        match mount(self.fstype, target, self.fstype, self.flags, self.data) {
            // Busy means that the same file system is mounted already.
            Ok(()) | Err(Errno::BUSY) => {}
            Err(error) => console::note(&format!("no {} at {}: {error}", self.fstype, self.target)),
        }
    }
}
