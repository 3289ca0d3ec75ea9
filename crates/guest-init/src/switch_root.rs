//! Switches from an initramfs to the root, and frees the initramfs's memory.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FsWord, statfs};
use rustix::mount::{UnmountFlags, mount_move, unmount};
use rustix::process::{chdir, chroot};

use crate::{Error, Result};

/// The file systems that are emptied: removing their files frees memory (linux/magic.h).
const IN_MEMORY: [FsWord; 2] = [0x8584_58f6, 0x0102_1994]; // ramfs, tmpfs

/// Mounts that are moved to the new root.
const MOVED: [&str; 3] = ["proc", "sys", "dev"];

/// Makes the mount point `root` the root directory.
///
/// # Errors
/// [`Error::Io`] if a step fails, with the directory concerned.
pub(crate) fn switch(root: &Path) -> Result<()> {
    for name in MOVED {
        let (from, to) = (Path::new("/").join(name), root.join(name));
        // A root may lack the directory. Its init then creates it, if possible, and mounts the file system again.
        if mount_move(&from, &to).is_err() {
            let _ = unmount(&from, UnmountFlags::DETACH);
        }
    }
    let failed = |source| Error::Io { path: root.to_owned(), source };
    if statfs("/").is_ok_and(|stat| IN_MEMORY.contains(&stat.f_type)) {
        empty(Path::new("/")).map_err(failed)?;
    }
    let enter = || {
        chdir(root)?;
        mount_move(".", "/")?;
        chroot(".")?;
        chdir("/")
    };
    enter().map_err(|error| failed(error.into()))
}

/// Removes everything below `top` on its own file system. Errors for single files are ignored, because they are not
/// used any more.
fn empty(top: &Path) -> io::Result<()> {
    let device = fs::metadata(top)?.dev();
    let mut directories: Vec<PathBuf> = vec![top.to_owned()];
    let mut at = 0;
    while let Some(directory) = directories.get(at).cloned() {
        at += 1;
        for entry in fs::read_dir(&directory)?.flatten() {
            match entry.path().symlink_metadata() {
                Ok(metadata) if metadata.dev() != device => {}
                Ok(metadata) if metadata.is_dir() => directories.push(entry.path()),
                _ => drop(fs::remove_file(entry.path())),
            }
        }
    }
    // Deeper directories come later in the list.
    directories.iter().skip(1).rev().for_each(|directory| drop(fs::remove_dir(directory)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_below_is_removed_and_links_are_not_followed() {
        let (top, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(other.path().join("kept"), "").unwrap();
        fs::create_dir_all(top.path().join("a/b/c")).unwrap();
        fs::write(top.path().join("a/b/file"), "").unwrap();
        std::os::unix::fs::symlink(other.path(), top.path().join("a/link")).unwrap();
        empty(top.path()).unwrap();
        assert_eq!(fs::read_dir(top.path()).unwrap().count(), 0);
        assert!(other.path().join("kept").exists());
    }
}
