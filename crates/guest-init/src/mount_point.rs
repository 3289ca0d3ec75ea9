//! Mount points.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Creates a mount point unless it exists.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        // A read-only root causes this error even if the directory exists.
        Err(_) if fs::metadata(path).is_ok_and(|metadata| metadata.is_dir()) => Ok(()),
        made => made,
    }
}

/// Returns whether `path` is a mount point: its device differs from its parent's.
pub(crate) fn is_mount_point(path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    path.parent().is_some_and(|parent| device(parent) != device(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_directory_is_accepted_and_a_file_is_not() {
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
