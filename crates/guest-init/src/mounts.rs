//! What programs expect to be mounted.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use crate::console;
use crate::temporary;

/// A file system of the kernel's own and its place.
struct Place {
    target: &'static str,
    fstype: &'static str,
    flags: MountFlags,
    data: &'static CStr,
}

const SAFE: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// What this program itself needs; in this order.
const FIRST: [Place; 3] = [
    Place { target: "/proc", fstype: "proc", flags: SAFE, data: c"" },
    Place { target: "/sys", fstype: "sysfs", flags: SAFE, data: c"" },
    Place { target: "/dev", fstype: "devtmpfs", flags: MountFlags::NOSUID, data: c"mode=0755" },
];

/// What the command may need.
const THEN: [Place; 3] = [
    Place {
        target: "/dev/pts",
        fstype: "devpts",
        flags: MountFlags::NOSUID.union(MountFlags::NOEXEC),
        // 5 is the group tty, on every distribution.
        data: c"gid=5,mode=0620,ptmxmode=0666",
    },
    Place {
        target: "/dev/shm",
        fstype: "tmpfs",
        flags: MountFlags::NOSUID.union(MountFlags::NODEV),
        data: c"mode=1777",
    },
    Place { target: "/sys/fs/cgroup", fstype: "cgroup2", flags: SAFE, data: c"" },
];

/// Links in `/dev` that programs use and devtmpfs has not.
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// Mounts proc, sys and dev.
pub(crate) fn first() {
    FIRST.iter().for_each(Place::mount);
}

/// Mounts the rest, and the temporary places.
pub(crate) fn then() {
    THEN.iter().for_each(Place::mount);
    for (link, to) in DEVICE_LINKS {
        // A devtmpfs that is not there, or has the link already, is as it should be.
        let _ = symlink(to, link);
    }
    temporary::cover(Path::new("/run"), c"mode=0755");
    temporary::cover(Path::new("/tmp"), c"mode=1777");
}

impl Place {
    /// An image may lack the directory, and a root that cannot be written to keeps lacking it: that is not an error.
    fn mount(&self) {
        let target = Path::new(self.target);
        if let Err(error) = make_directory(target) {
            return console::note(&format!("no {}: {error}", self.target));
        }
        if is_mount_point(target) {
            return;
        }
        match mount(self.fstype, target, self.fstype, self.flags, self.data) {
            // Busy: the very same file system is there.
            Ok(()) | Err(Errno::BUSY) => {}
            Err(error) => console::note(&format!("no {} at {}: {error}", self.fstype, self.target)),
        }
    }
}

/// Makes a mount point unless it is there.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        // A read-only root says so even of what exists.
        Err(_) if fs::metadata(path).is_ok_and(|metadata| metadata.is_dir()) => Ok(()),
        made => made,
    }
}

/// Whether something is mounted there: a directory has the device of the one above it otherwise.
pub(crate) fn is_mount_point(path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    path.parent().is_some_and(|parent| device(parent) != device(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_there_is_fine_and_a_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let (new, file) = (directory.path().join("new"), directory.path().join("file"));
        make_directory(&new).unwrap();
        make_directory(&new).unwrap();
        fs::write(&file, "").unwrap();
        assert!(make_directory(&file).is_err());
    }

    #[test]
    fn proc_is_a_mount_point_and_a_new_directory_is_none() {
        assert!(is_mount_point(Path::new("/proc")));
        assert!(!is_mount_point(tempfile::tempdir().unwrap().path().join("x").parent().unwrap()));
    }
}
