//! The end of a process that still writes. This is a program of its own, because the call affects all threads.

use std::fs;
use std::path::Path;

use vmroot_output::{TemporaryDirectory, TemporaryFile, remove_temporary_files};

fn names(directory: &Path) -> Vec<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn temporary_files_are_removed_and_published_ones_kept() {
    let directory = tempfile::tempdir().unwrap();
    let create = || TemporaryFile::create_in(directory.path(), 0o600).unwrap();
    create().publish(&directory.path().join("published"), None).unwrap();
    let unfinished = [create(), create()];
    let inner = TemporaryDirectory::create_in(directory.path()).unwrap();
    let inside = TemporaryFile::create_in(inner.path(), 0o600).unwrap();
    fs::write(inner.path().join("file"), "x").unwrap();
    assert_eq!(names(directory.path()).len(), 4);
    let none = remove_temporary_files();
    assert_eq!(names(directory.path()), ["published"]);
    drop(none);
    drop((unfinished, inside, inner));
    create().publish(&directory.path().join("published"), None).unwrap();
    assert_eq!(names(directory.path()), ["published"]);
}
