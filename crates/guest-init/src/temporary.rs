//! `/run` and `/tmp`: directories for files that live as long as the guest.
//!
//! Images may have files there nevertheless, such as directories of daemons with their owners. A writable root keeps
//! them as they are. On a read-only root, a tmpfs is mounted over the directory, and the files are copied into it
//! within limits.

use std::ffi::CStr;
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::mount::{MountFlags, mount};

use crate::{console, mount_point};

/// The maximum number of entries that are copied into a tmpfs.
const MAX_KEPT: usize = 4096;
/// The maximum number of bytes that are copied into a tmpfs.
const MAX_KEPT_BYTES: u64 = 16 << 20;

/// Makes `path` a writable directory. `data` are the mount options of a new tmpfs.
pub(crate) fn make_writable(path: &Path, data: &CStr) {
    if let Err(error) = try_make_writable(path, data) {
        console::note(&format!("no tmpfs at {}: {error}", path.display()));
    }
}

fn try_make_writable(path: &Path, data: &CStr) -> io::Result<()> {
    let is_kept = || -> io::Result<bool> {
        let read_only = statvfs(path)?.f_flag.contains(StatVfsMountFlags::RDONLY);
        Ok(!read_only && fs::read_dir(path)?.next().is_some())
    };
    if path.is_dir() && is_kept()? { Ok(()) } else { cover(path, data) }
}

/// Mounts a tmpfs with the entries of a directory over it, unless another file system is mounted there. `data` are its mount
/// options.
pub(crate) fn cover(path: &Path, data: &CStr) -> io::Result<()> {
    let made = fs::symlink_metadata(path).is_err();
    mount_point::make_directory(path)?;
    if mount_point::is_mount_point(path) {
        return Ok(());
    }
    let covered = File::open(path)?;
    mount("tmpfs", path, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, data)?;
    if made {
        return Ok(());
    }
    // The covered directory can only be reached by this path.
    let covered = PathBuf::from(format!("/proc/self/fd/{}", covered.as_raw_fd()));
    copy_owner_and_mode(&fs::metadata(&covered)?, path)?;
    BoundedCopy { entries: MAX_KEPT, bytes: MAX_KEPT_BYTES }.tree(&covered, path)
}

/// The entries and bytes that may still be copied.
struct BoundedCopy {
    entries: usize,
    bytes: u64,
}

impl BoundedCopy {
    fn tree(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let mut pending = vec![(from.to_owned(), to.to_owned())];
        while let Some((from, to)) = pending.pop() {
            for entry in fs::read_dir(&from)? {
                let entry = entry?;
                let Some(entries) = self.entries.checked_sub(1) else {
                    console::note(&format!("more than {MAX_KEPT} entries beneath {}", from.display()));
                    return Ok(());
                };
                self.entries = entries;
                let to = to.join(entry.file_name());
                if self.entry(&entry.path(), &to)? {
                    pending.push((entry.path(), to));
                }
            }
        }
        Ok(())
    }

    /// Copies one entry, and returns whether it is a directory. Devices, sockets and fifos are skipped.
    fn entry(&mut self, from: &Path, to: &Path) -> io::Result<bool> {
        let metadata = fs::symlink_metadata(from)?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            fs::create_dir(to)?;
            copy_owner_and_mode(&metadata, to)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(from)?, to)?;
            lchown(to, Some(metadata.uid()), Some(metadata.gid()))?;
        } else if kind.is_file() {
            let Some(bytes) = self.bytes.checked_sub(metadata.len()) else {
                console::note(&format!("{} is too large to be copied", to.display()));
                return Ok(false);
            };
            self.bytes = bytes;
            fs::copy(from, to)?;
            copy_owner_and_mode(&metadata, to)?;
        }
        Ok(kind.is_dir())
    }
}

/// Copies the owner and then the mode, because a change of owner clears the set-id bits.
fn copy_owner_and_mode(metadata: &Metadata, path: &Path) -> io::Result<()> {
    chown(path, Some(metadata.uid()), Some(metadata.gid()))?;
    fs::set_permissions(path, Permissions::from_mode(metadata.mode() & 0o7777))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let from = directory.path().join("from");
        fs::create_dir_all(from.join("daemon/deep")).unwrap();
        fs::set_permissions(from.join("daemon"), Permissions::from_mode(0o1770)).unwrap();
        fs::write(from.join("daemon/deep/file"), "text").unwrap();
        symlink("daemon", from.join("link")).unwrap();
        fs::create_dir(directory.path().join("to")).unwrap();
        directory
    }

    #[test]
    fn directories_links_and_files_are_copied_with_their_modes() {
        let directory = tree();
        let to = directory.path().join("to");
        BoundedCopy { entries: 4, bytes: 4 }.tree(&directory.path().join("from"), &to).unwrap();
        assert_eq!(fs::metadata(to.join("daemon")).unwrap().mode() & 0o7777, 0o1770);
        assert_eq!(fs::read_to_string(to.join("link/deep/file")).unwrap(), "text");
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("daemon"));
    }

    #[test]
    fn entries_beyond_the_limits_are_left_out() {
        let directory = tree();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        BoundedCopy { entries: 4, bytes: 3 }.tree(&from, &to).unwrap();
        assert!(to.join("daemon/deep").exists() && !to.join("daemon/deep/file").exists());
        let none = directory.path().join("none");
        fs::create_dir(&none).unwrap();
        BoundedCopy { entries: 0, bytes: 3 }.tree(&from, &none).unwrap();
        assert_eq!(fs::read_dir(&none).unwrap().count(), 0);
    }
}
